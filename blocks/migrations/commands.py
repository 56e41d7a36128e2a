"""Any tool that can be asked by commands, such as the scripts of a package.json."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from blocks.migrations.command_line import Command
from blocks.migrations.stepwise import Patterns, Steps, StepwiseTool
from blocks.migrations.typeorm import PATTERNS


def _must_have_a_group(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    if groups != 1:
        raise ValueError("must have exactly one group, for the migration's id")
    return pattern


Pattern = Annotated[str, AfterValidator(_must_have_a_group)]


class MigrationCommands(StepwiseTool):
    """One command each for showing, applying and reverting. They are started without a shell."""

    _block_type_name = "Migration commands"
    _block_type_slug = "migration-commands"
    _description = "Any migration tool that can be asked by commands, such as npm run migration:show."

    tool: Literal["commands"] = Field(
        "commands", description="Which tool it is: a saved block is read again as what it was."
    )
    show_command: Command = Field(
        default_factory=lambda: ["npm", "run", "--silent", "migration:show"],
        min_length=1,
        description="Lists all migrations, oldest first, one a line; exits with 0.",
    )
    apply_command: Command = Field(
        default_factory=lambda: ["npm", "run", "--silent", "migration:run"],
        min_length=1,
        description="Applies all that is pending; does not exit with 0 when one fails.",
    )
    revert_command: Command = Field(
        default_factory=lambda: ["npm", "run", "--silent", "migration:revert"],
        description="Takes back the newest migration, one each time; empty: there is no way down.",
    )
    mark_command: Command = Field(
        default_factory=list,
        description="Strikes the newest migration from the tool's record and leaves the schema; empty: it cannot.",
    )
    applied_pattern: Pattern = Field(
        PATTERNS.applied, description="Line of an applied migration, as a regular expression; its group is the id."
    )
    pending_pattern: Pattern = Field(
        PATTERNS.pending, description="Line of a pending migration, as a regular expression; its group is the id."
    )
    failed_pattern: Pattern = Field(
        PATTERNS.failed, description="How a failure names its migration, as a regular expression; its group is the id."
    )

    def _steps(self) -> Steps:
        return Steps(self.show_command, self.apply_command, self.revert_command, [], self.mark_command)

    def _patterns(self) -> Patterns:
        return Patterns(self.applied_pattern, self.pending_pattern, self.failed_pattern)
