import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from blocks.postgres.connection import libpq_environment
from blocks.postgres.programs import Programs, find_programs_for
from blocks.postgres.scratch import scratch_folder
from tests.blocks.platforms.waiting import eventually
from tests.blocks.postgres.workshop import Workshop
from tests.deployments.shop.processes import Postgres, running_postgres

MAJOR = 18


@pytest.fixture(scope="session")
def programs() -> Programs:
    return find_programs_for(MAJOR, MAJOR)


@pytest.fixture(scope="session")
def server(programs: Programs) -> Iterator[Postgres]:
    with running_postgres(programs.folder) as server:
        yield server


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for everything that lies on the disk for a while, and for nothing else."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def workshop(server: Postgres, programs: Programs, temporary: Path) -> Iterator[Workshop]:
    """A new database. Afterwards no process, thread or file may be left."""
    threads = set(threading.enumerate())
    database = server.make_database()
    with scratch_folder("test") as folder, libpq_environment(server.url(database), "test") as environment:
        yield Workshop(server, database, programs, folder, environment)
    server.execute(f"DROP DATABASE {database} WITH (FORCE)")
    assert list(temporary.iterdir()) == []
    assert set(threading.enumerate()) <= threads
    eventually(lambda: _programs_left(programs) == [])


def _programs_left(programs: Programs) -> list[str]:
    """Of PostgreSQL's client programs, below this process."""
    below = psutil.Process(os.getpid()).children(recursive=True)
    names = []
    for child in below:
        with suppress(psutil.NoSuchProcess):  # a server's session ended meanwhile
            names.append(child.name())
    return [name for name in names if name in ("pg_dump", "pg_restore")]
