"""Looks for secrets in whatever was written down, also in the dresses that encodings give them."""

import base64
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from deployments.stack.postgres_home import PostgresHome
from tests.running_stack import RunningStack


def disguises(secret: str) -> Iterator[tuple[str, bytes]]:
    """Encoding → how the secret looks in it. Base64 three times: the neighbours on the left shift it."""
    plain = secret.encode()
    yield "plain", plain
    yield "hex", plain.hex().encode()
    yield "HEX", plain.hex().upper().encode()
    if quote(secret, safe="") != secret:
        yield "URL-encoded", quote(secret, safe="").encode()
    for shift in range(3):
        padded = b"\0" * shift + plain
        own = slice((shift * 8 + 5) // 6, len(padded) * 8 // 6)  # the characters that hold bits of the secret alone
        yield f"base64, shifted by {shift}", base64.b64encode(padded)[own]
        yield f"base64url, shifted by {shift}", base64.urlsafe_b64encode(padded)[own]


def find_secrets(secrets: Mapping[str, str], place: str, content: bytes) -> list[str]:
    """A line for each secret that stands in the content; never the secret itself."""
    return [
        f"{place}: {name} ({encoding})"
        for name, secret in secrets.items()
        for encoding, dress in disguises(secret)
        if dress in content
    ]


def find_in_files(secrets: Mapping[str, str], folder: Path) -> list[str]:
    """The same of all files below the folder, and of their names."""
    lines = []
    for path in sorted(folder.rglob("*")):
        place = str(path.relative_to(folder))
        lines += find_secrets(secrets, place, place.encode())
        with suppress(FileNotFoundError):  # servers work in there
            if path.is_file() and not path.is_symlink():
                lines += find_secrets(secrets, place, path.read_bytes())
    return lines


def find_at_stack(secrets: Mapping[str, str], stack: RunningStack) -> list[str]:
    """The same of all that a stack has written down: its files, and Prefect's and Backstop's databases."""
    dumps = {database: dump_database(stack, database) for database in ("prefect", "backstop")}
    found = [line for database, dump in dumps.items() for line in find_secrets(secrets, database, dump)]
    return [*find_in_files(secrets, stack.state.folder), *found]


def dump_database(stack: RunningStack, database: str) -> bytes:
    """Its files hold long values compressed."""
    command = [str(PostgresHome(stack.state).programs / "pg_dump"), "--host=127.0.0.1", f"--username={database}"]
    return subprocess.run(
        [*command, f"--port={stack.layout.ports['postgres']}", database],
        env={"PGPASSWORD": stack.layout.database_passwords[database]},
        check=True,
        capture_output=True,
        timeout=60,
    ).stdout


@contextmanager
def watched_command_lines() -> Iterator[set[str]]:
    """Look again and again while the block runs."""
    seen: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            for process in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    seen.add(_line(process / "cmdline"))
                    if (process / "comm").read_text().startswith("pg_"):
                        seen.add(_line(process / "environ"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def _line(path: Path) -> str:
    return path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
