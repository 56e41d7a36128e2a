from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.errors import Refused
from blocks.migrations.interface import MigrationFailed
from blocks.migrations.sql_folder import SqlFolder
from tests.blocks.migrations.contract import MigrationContract
from tests.blocks.migrations.project import COLUMN, INDEX, TABLE, Project, Step
from tests.deployments.shop.processes import Postgres


class SqlFolderProject(Project):
    tells_half_applied = True

    def __init__(self, folder: Path, server: Postgres) -> None:
        super().__init__(folder, server)
        self.tool = SqlFolder(folder="db")
        self.files = folder / "db"
        self.files.mkdir()

    def write(self, step: Step, number: int) -> str:
        head = "" if step.in_transaction else "-- backstop: no-transaction\n"
        name = f"{number:03}_{step.name}"
        (self.files / f"{name}.up.sql").write_text(head + ";\n".join(step.up) + ";\n")
        if step.down:
            (self.files / f"{name}.down.sql").write_text(head + ";\n".join(step.down) + ";\n")
        return name


@pytest.fixture
def project(tmp_path: Path, postgres: Postgres) -> Iterator[SqlFolderProject]:
    project = SqlFolderProject(tmp_path, postgres)
    yield project
    project.remove()


class TestSqlFolder(MigrationContract):
    @pytest.fixture
    def project(self, project: SqlFolderProject) -> SqlFolderProject:
        return project


def test_a_file_that_was_changed_after_it_was_applied(project: SqlFolderProject) -> None:
    project.add(TABLE)
    project.apply()
    (project.files / "001_create_users.up.sql").write_text("SELECT 1;")
    project.add(COLUMN)
    with pytest.raises(Refused, match=r"001_create_users\.up\.sql was changed"):
        project.apply()
    assert "email" not in project.schema()


def test_a_half_applied_one_stops_everything_until_it_is_dealt_with(project: SqlFolderProject) -> None:
    two = Step("two", ["CREATE TABLE a (id int)", "CREATE TABLE b (id nothing)"], [], in_transaction=False)
    first, second = project.add(two, TABLE)
    for _ in range(2):
        with pytest.raises(MigrationFailed) as failed:
            project.apply()
        assert failed.value.migration == first
    assert project.applied() == []
    assert "public.a" in project.schema()
    with pytest.raises(Refused):
        project.tool.mark_rolled_back(project.workspace, second)
    project.execute("DROP TABLE a")
    project.tool.mark_rolled_back(project.workspace, first)
    (project.files / "001_two.up.sql").write_text("CREATE TABLE a (id int)")
    project.apply()
    assert project.applied() == [first, second]


def test_without_a_way_down_nothing_is_reverted(project: SqlFolderProject) -> None:
    project.add(TABLE, Step("one_way", ["CREATE TABLE a (id int)"]), INDEX)
    project.apply()
    with pytest.raises(Refused, match="002_one_way"):
        project.revert("")
    assert len(project.applied()) == 3
    project.revert("002_one_way")
    assert len(project.applied()) == 2


def test_numbers_order_the_files(project: SqlFolderProject) -> None:
    for name in ("10_b.sql", "9_a.sql", "2_c.up.sql"):
        (project.files / name).write_text("SELECT 1;")
    assert project.pending() == ["2_c", "9_a", "10_b"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("users.sql", b"SELECT 1", "is not named as"),
        ("001_x.down.sql", b"SELECT 1", "has no script for the way up"),
        ("001_x.sql", b"BEGIN; SELECT 1; COMMIT;", "ends a transaction itself"),
        ("001_x.sql", b"SELECT 1; /* x */ commit;", "ends a transaction itself"),
        ("001_x.sql", b"SELECT '\xff'", "cannot be read"),
        (
            "001_x.sql",
            b"-- backstop: no-transaction\nCREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END;",
            "BEGIN ATOMIC",
        ),
    ],
)
def test_files_that_are_refused(project: SqlFolderProject, name: str, content: bytes, said: str) -> None:
    (project.files / name).write_bytes(content)
    with pytest.raises(Refused, match=said) as refused:
        project.apply()
    assert name in refused.value.message


def test_the_same_migration_twice(project: SqlFolderProject) -> None:
    for name in ("001_x.sql", "001_x.up.sql"):
        (project.files / name).write_text("SELECT 1")
    with pytest.raises(Refused, match="the same migration"):
        project.pending()


def test_two_at_once(project: SqlFolderProject) -> None:
    project.add(TABLE)
    with project.connect() as connection:
        connection.execute("SELECT pg_advisory_lock(hashtext('backstop_migrations ' || current_database()))")
        with pytest.raises(Refused, match="Somebody else"):
            project.apply()
    project.apply()


@pytest.mark.parametrize("folder", ["/etc", "../elsewhere", "a/../../b"])
def test_a_folder_outside_the_checkout_is_refused(folder: str) -> None:
    with pytest.raises(ValueError, match="inside the checkout"):
        SqlFolder(folder=folder)
