"""TypeORM, through its command line."""

from typing import Literal

from pydantic import Field

from blocks.migrations.command_line import Command
from blocks.migrations.stepwise import Patterns, Steps, StepwiseTool

PATTERNS = Patterns(
    applied=r"^ ?\[X\] (?:\d+ )?(\S+)$", pending=r"^ ?\[ \] (\S+)$", failed=r'Migration "([^"]+)" failed'
)


class TypeOrmMigrations(StepwiseTool):
    """TypeORM's migrations, with their `down`. Every one of them must have one; an empty one is not noticed.

    A migration's own `transaction = false` counts on the way up only: on the way down TypeORM does not look at it.
    """

    record_table = "migrations"

    _block_type_name = "TypeORM migrations"
    _block_type_slug = "typeorm-migrations"
    _description = "TypeORM: migrations of a Node.js service, with their way down."

    tool: Literal["typeorm"] = Field(
        "typeorm", description="Which tool it is: a saved block is read again as what it was."
    )
    command: Command = Field(
        default_factory=lambda: ["npx", "--no-install", "typeorm"], min_length=1, description="How it is started."
    )
    data_source: str = Field(
        "dist/data-source.js", description="File of the data source, below `folder`; compiled, if it is TypeScript."
    )
    transaction: Literal["each", "all", "none"] = Field(
        "each", description="A transaction for each migration, one for all, or none."
    )

    def _steps(self) -> Steps:
        source, transaction = ["-d", self.data_source], ["-t", self.transaction]
        return Steps(
            show=[*self.command, "migration:show", *source],
            apply=[*self.command, "migration:run", *source, *transaction],
            revert=[*self.command, "migration:revert", *source, *transaction],
            revert_outside=[*self.command, "migration:revert", *source, "-t", "none"],
            mark=[*self.command, "migration:revert", "--fake", *source],
        )

    def _patterns(self) -> Patterns:
        return PATTERNS
