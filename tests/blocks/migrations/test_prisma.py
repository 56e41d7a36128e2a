"""Against a stand-in: Prisma's engine is a download that not every network allows."""

import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from blocks.errors import Refused
from blocks.migrations.interface import Limits, MigrationFailed
from blocks.migrations.prisma import PrismaMigrations
from tests.blocks.migrations.contract import MigrationContract
from tests.blocks.migrations.project import BROKEN, TABLE, Project, Step
from tests.deployments.shop.processes import Postgres

STAND_IN = Path(__file__).with_name("prisma_stand_in.py")


class PrismaProject(Project):
    goes_down = False
    tells_failed = True
    tells_half_applied = True
    marks_newest = False

    def __init__(self, folder: Path, server: Postgres) -> None:
        super().__init__(folder, server)
        self.tool = PrismaMigrations(command=[sys.executable, str(STAND_IN)])
        self.migrations = folder / "prisma" / "migrations"
        self.migrations.mkdir(parents=True)
        (self.migrations / "migration_lock.toml").write_text('provider = "postgresql"\n')

    def write(self, step: Step, number: int) -> str:
        name = f"{20_260_101_000_000 + number}_{step.name}"
        (self.migrations / name).mkdir()
        (self.migrations / name / "migration.sql").write_text(";\n".join(step.up) + ";\n")
        return name


@pytest.fixture
def project(tmp_path: Path, postgres: Postgres) -> Iterator[PrismaProject]:
    project = PrismaProject(tmp_path, postgres)
    yield project
    project.remove()


@pytest.mark.parametrize("postgres", [18], indirect=True)
class TestPrisma(MigrationContract):
    @pytest.fixture
    def project(self, project: PrismaProject) -> PrismaProject:
        return project


@pytest.mark.parametrize("postgres", [18], indirect=True)
def test_after_a_failure_nothing_is_applied_until_it_is_marked_and_then_it_comes_again(project: PrismaProject) -> None:
    first, broken = project.add(TABLE, BROKEN)
    for said in ("P3018", "P3009"):
        with pytest.raises(MigrationFailed, match=said) as failed:
            project.apply()
        assert failed.value.migration == broken
    with pytest.raises(Refused, match="only a failed migration"):
        project.tool.mark_rolled_back(project.workspace, first)
    project.tool.mark_rolled_back(project.workspace, broken)
    assert project.pending() == [broken]
    with pytest.raises(MigrationFailed, match="P3018"):
        project.apply()


@pytest.mark.parametrize("postgres", [18], indirect=True)
def test_what_its_url_says_to_prisma_alone_is_understood(project: PrismaProject) -> None:
    ids = project.add(TABLE)
    url = f"{project.url}?schema=public&connection_limit=1"
    project.tool.apply(project.workspace._replace(url=url), Limits())
    assert project.tool.read_status(project.workspace._replace(url=url)).applied == ids
    other = urlsplit(project.url)._replace(query="schema=other").geturl()
    assert project.tool.read_status(project.workspace._replace(url=other)).applied == []
