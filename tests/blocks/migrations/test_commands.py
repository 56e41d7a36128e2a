from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from blocks.migrations.commands import MigrationCommands
from tests.blocks.migrations.contract import MigrationContract
from tests.blocks.migrations.node import NpmProject
from tests.deployments.shop.processes import Postgres


@pytest.mark.drill  # the same TypeORM behind other commands: test_typeorm.py runs each time
@pytest.mark.parametrize("postgres", [18], indirect=True)
class TestCommands(MigrationContract):
    """The scripts of a package.json, as runbooks name them."""

    @pytest.fixture
    def project(self, tmp_path: Path, postgres: Postgres, node_modules: Path) -> Iterator[NpmProject]:
        project = NpmProject(tmp_path, postgres, node_modules)
        yield project
        project.remove()


@pytest.mark.parametrize("pattern", ["[X] (", "no group", "(two) (groups)"])
def test_a_pattern_that_finds_no_id_is_refused(pattern: str) -> None:
    with pytest.raises(ValidationError):
        MigrationCommands(applied_pattern=pattern)
