"""One PostgreSQL, one Redis and one repository of releases for all tests of the sample service."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from deployments.shop.releases import build_repository
from tests.deployments.shop.processes import (
    Postgres,
    Shop,
    running_postgres,
    running_redis,
    running_shop,
)

Checkout = Callable[[str], Path]
"""Version → a folder with its source."""

RunRelease = Callable[[str], AbstractContextManager[Shop]]
"""Version → that release, running on a database of its own."""


@pytest.fixture(scope="package")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="package")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="package")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository") / "shop"
    build_repository(folder)
    return folder


@pytest.fixture(scope="package")
def checkout(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    def check_out(version: str) -> Path:
        folder = tmp_path_factory.mktemp(version)
        command = ["git", "clone", "--quiet", "--branch", version, str(repository), str(folder)]
        subprocess.run(command, check=True, capture_output=True, timeout=30)
        return folder

    return check_out


@pytest.fixture(scope="package")
def run_release(checkout: Checkout, postgres: Postgres, redis_url: str) -> RunRelease:
    def run(version: str) -> AbstractContextManager[Shop]:
        return running_shop(checkout(version), postgres.url(postgres.make_database()), redis_url)

    return run


@pytest.fixture(scope="module")
def shop(run_release: RunRelease) -> Iterator[Shop]:
    """A good release."""
    with run_release("v2.0.0") as running:
        yield running
