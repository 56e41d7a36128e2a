from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.migrations.alembic import AlembicMigrations
from tests.blocks.migrations.contract import MigrationContract
from tests.blocks.migrations.project import Project, Step
from tests.deployments.shop.processes import Postgres

INI = """
[alembic]
script_location = %(here)s/migrations
"""
ENV = """
import os
import psycopg
from alembic import context
from sqlalchemy import NullPool, create_engine

if context.is_offline_mode():
    context.configure(dialect_name="postgresql", literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    connect = lambda: psycopg.connect(os.environ["DATABASE_URL"])
    with create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool).connect() as connection:
        context.configure(connection=connection, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
"""


class AlembicProject(Project):
    def __init__(self, folder: Path, server: Postgres) -> None:
        super().__init__(folder, server)
        self.tool = AlembicMigrations()
        self.versions = folder / "migrations" / "versions"
        self.versions.mkdir(parents=True)
        (folder / "alembic.ini").write_text(INI)
        (folder / "migrations" / "env.py").write_text(ENV)

    def write(self, step: Step, number: int) -> str:
        lines = [f'"""{step.name} is what it does."""', "from alembic import op", f"revision = '{number:04}'"]
        lines += [f"down_revision = '{number - 1:04}'" if number > 1 else "down_revision = None"]
        for name, statements in (("upgrade", step.up), ("downgrade", step.down)):
            lines += [f"def {name}():"]
            if not step.in_transaction:
                lines += ["  with op.get_context().autocommit_block():"]
            lines += [f"    op.execute({one!r})" for one in statements or []]
            lines += ["    pass"]
        (self.versions / f"{number:04}_{step.name}.py").write_text("\n".join(lines))
        return f"{number:04}"


@pytest.fixture
def project(tmp_path: Path, postgres: Postgres) -> Iterator[AlembicProject]:
    project = AlembicProject(tmp_path, postgres)
    yield project
    project.remove()


@pytest.mark.parametrize("postgres", [18], indirect=True)
class TestAlembic(MigrationContract):
    @pytest.fixture
    def project(self, project: AlembicProject) -> AlembicProject:
        return project
