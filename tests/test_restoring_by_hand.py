"""The commands of docs/restoring-by-hand.md bring a database back, on another server, without Backstop."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.postgres.programs import find_programs_for
from tasks import pieces
from tests.databases.comparison import read_as_text
from tests.databases.practice import Practice, practising, script_of_everything
from tests.deployments.shop.processes import Postgres, running_postgres
from tests.ledger_database import LedgerDatabase

PAGE = Path(__file__).parent.parent / "docs" / "restoring-by-hand.md"
TOOLS = ("bash", "age", "zstd", "tar")

pytestmark = [
    pytest.mark.skipif(
        any(shutil.which(tool) is None for tool in TOOLS), reason=f"not all of {', '.join(TOOLS)} are installed"
    ),
    pytest.mark.parametrize("postgres", [18], indirect=True, ids=["PostgreSQL 18"]),
]


@pytest.fixture
def practice(
    ledger: LedgerDatabase, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Practice]:
    monkeypatch.setenv("BACKSTOP_EVIDENCE", str(tmp_path / "evidence"))
    with practising(ledger, postgres, tmp_path, script_of_everything(postgres)) as practice:
        yield practice


def commands() -> str:
    (block,) = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return str(block)


def restore_by_hand(practice: Practice, backup: Path, server: Postgres) -> subprocess.CompletedProcess[str]:
    """Run what the page shows, in an empty folder."""
    folder = practice.folder / "by-hand"
    folder.mkdir()
    (folder / "pgpass").touch(mode=0o600)
    (folder / "pgpass").write_text(f"*:*:*:*:{server.password}\n")
    surroundings = {
        "PATH": f"{find_programs_for(18, 18).folder}:{os.environ['PATH']}",
        "BACKUP": str(backup),
        "IDENTITY": str(practice.folder / "identity"),
        "DATABASE": "by hand",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(server.port),
        "PGUSER": "owner",
        "PGPASSFILE": str(folder / "pgpass"),
    }
    return subprocess.run(
        ["bash", "-c", commands()],
        cwd=folder,
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_backup_is_restored_with_the_commands_of_the_page(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", 100_000)  # as if 32 GiB had been exceeded
    backup = practice.back_up()
    assert max(len(member.pieces) for member in backup.manifest.members) > 2
    assert practice.verify(backup) == []

    with running_postgres(find_programs_for(18, 18).folder) as other:
        done = restore_by_hand(practice, practice.path(backup, ""), other)

        assert done.returncode == 0, done.stderr
        assert re.sub(r'psql:\S+ ERROR:  role "\w+" already exists\n', "", done.stderr) == ""
        before = read_as_text(practice.server.url(), practice.database, 18)
        assert read_as_text(other.url(), "by hand", 18) == before
        assert len(before) > 40_000


def test_damage_does_not_pass_for_a_restore(practice: Practice) -> None:
    backup = practice.back_up()
    path = practice.path(backup, backup.manifest.members[0].pieces[0].name)
    path.write_bytes(path.read_bytes()[:-1])
    with running_postgres(find_programs_for(18, 18).folder) as other:
        done = restore_by_hand(practice, practice.path(backup, ""), other)
    assert done.returncode != 0
    assert "age: error" in done.stderr
