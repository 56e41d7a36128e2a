from collections.abc import Iterator

import pytest

from tests.blocks.stores.servers import S3Server, running_moto, running_swift


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_swift(tmp_path_factory.mktemp("swift")) as server:
        yield server


def give_keys(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.secrets().items():
        monkeypatch.setenv(name, value)
