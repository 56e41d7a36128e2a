from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.errors import Refused
from blocks.migrations.alembic import AlembicMigrations
from blocks.migrations.interface import Limits, MigrationFailed
from deployments.shop.releases import build_repository
from tests.blocks.migrations.contract import MigrationContract
from tests.blocks.migrations.project import COLUMN, TABLE, Project, Step
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


@pytest.mark.parametrize("postgres", [18], indirect=True)
def test_only_what_has_a_way_down_is_called_reversible(project: AlembicProject) -> None:
    project.add(TABLE, Step("one_way", ["SELECT 1"]))
    path = next(project.versions.glob("0001*"))
    path.write_text(path.read_text().replace("downgrade", "downgrade_later"))
    project.add(COLUMN)
    pending = project.tool.read_status(project.workspace).pending
    assert [one.reversible for one in pending] == [False, False, True]
    assert pending[0].title == "create_users is what it does."


@pytest.mark.parametrize("postgres", [18], indirect=True)
def test_one_that_asks_the_database_cannot_be_shown(project: AlembicProject) -> None:
    ids = project.add(TABLE)
    path = next(project.versions.glob("0001*"))
    path.write_text(path.read_text().replace("op.execute(", "op.get_bind().exec_driver_sql("))
    assert project.tool.read_sql(project.workspace, ids) is None
    project.apply()
    assert project.pending() == []


@pytest.mark.parametrize("postgres", [18], indirect=True)
def test_branches_are_read_and_not_left(project: AlembicProject) -> None:
    ids = project.add(TABLE, COLUMN, Step("other", ["CREATE TABLE other (id int)"], ["DROP TABLE other"]))
    path = next(project.versions.glob("0003*"))
    path.write_text(path.read_text().replace("down_revision = '0002'", "down_revision = '0001'"))
    project.apply()
    assert sorted(project.applied()) == ids
    with pytest.raises(Refused, match="several branches"):
        project.revert("0001")
    merge = Step("merge", ["SELECT 1"], ["SELECT 1"])
    project.add(merge)
    path = next(project.versions.glob("0004*"))
    path.write_text(path.read_text().replace("down_revision = '0003'", "down_revision = ('0002', '0003')"))
    project.apply()
    assert project.applied()[-1] == "0004"
    project.tool.mark_rolled_back(project.workspace, "0004")
    assert project.pending() == ["0004"]


@pytest.mark.parametrize("postgres", [18], indirect=True)
def test_a_database_that_is_ahead_of_the_checkout_is_refused(project: AlembicProject) -> None:
    project.add(TABLE, COLUMN)
    project.apply()
    next(project.versions.glob("0002*")).unlink()
    with pytest.raises(Refused, match="revision 0002, which this release does not have"):
        project.applied()


@pytest.mark.parametrize("postgres", [18], indirect=True)
def test_limits_beside_options_of_the_url(project: AlembicProject) -> None:
    project.add(TABLE)
    project.apply()
    project.add(COLUMN)
    workspace = project.workspace._replace(url=f"{project.url}?options=-c%20search_path%3Dpublic")
    with project.users_locked(), pytest.raises(MigrationFailed) as failed:
        project.tool.apply(workspace, Limits(lock_seconds=0.3))
    assert failed.value.is_lock_timeout


@pytest.mark.parametrize("postgres", [18], indirect=True)
def test_the_sample_service(project: AlembicProject, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    build_repository(folder)
    workspace = project.workspace._replace(folder=folder)
    project.tool.apply(workspace, Limits())
    status = project.tool.read_status(workspace)
    assert (status.applied, status.pending) == (["0001", "0002"], [])
    project.tool.revert(workspace, "0001", Limits())
    (pending,) = project.tool.read_status(workspace).pending
    assert (pending.title, pending.reversible) == ("Tasks may have a date on which they are due.", True)
    shown = project.tool.read_sql(workspace, ["0002"])
    assert shown
    assert "ALTER TABLE tasks ADD COLUMN due_on" in shown["0002"]
    with project.connect() as connection, connection.transaction():
        connection.execute("LOCK TABLE tasks")
        with pytest.raises(MigrationFailed) as failed:
            project.tool.apply(workspace, Limits(lock_seconds=0.3))
    assert failed.value.is_lock_timeout
    assert failed.value.migration == "0002"
