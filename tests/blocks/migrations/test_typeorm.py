from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blocks.migrations.contract import MigrationContract
from tests.blocks.migrations.node import TypeOrmProject
from tests.deployments.shop.processes import Postgres


@pytest.mark.parametrize("postgres", [18], indirect=True)
class TestTypeOrm(MigrationContract):
    @pytest.fixture
    def project(self, tmp_path: Path, postgres: Postgres, node_modules: Path) -> Iterator[TypeOrmProject]:
        project = TypeOrmProject(tmp_path, postgres, node_modules)
        yield project
        project.remove()
