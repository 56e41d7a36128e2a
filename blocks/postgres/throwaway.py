"""A PostgreSQL server for one purpose: on a socket that nobody else can reach, without durability, gone afterwards."""

import fcntl
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg

from blocks.errors import BackstopError, Refused
from blocks.postgres.child import running
from blocks.postgres.programs import Programs

USER = "backstop"
_PREFIX = "backstop-throwaway-"
_OWNERS = ("postgres", "nobody")
_INITDB_SECONDS = 60
_START_SECONDS = 30
_SURROUNDINGS = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "autovacuum": "off",
    "shared_buffers": "128MB",
    "maintenance_work_mem": "256MB",
    "jit": "off",
    "logging_collector": "off",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


@contextmanager
def throwaway_server(programs: Programs) -> Iterator[str]:
    """Its URL, as a superuser of its own. It ends with this process, however that ends."""
    _sweep()
    user = _find_user()
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=_place(), ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with (folder / "in-use").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if user:
                shutil.chown(folder, user)
            _initialize(programs, folder, user)
            settings = [f"--{setting}={value}" for setting, value in _SETTINGS.items()]
            settings.append(f"--unix_socket_directories={folder}")
            command = [programs.path("postgres"), "-D", str(folder / "data"), *settings]
            with running(command, _SURROUNDINGS, user=user) as child:
                url = f"postgresql://{USER}@/postgres?host={quote(str(folder), safe='')}"
                deadline = time.monotonic() + _START_SECONDS
                while not _answers(url):
                    if not child.is_running() or time.monotonic() > deadline:
                        raise BackstopError(f"A throw-away PostgreSQL did not start: {child.read_complaint()}")
                    time.sleep(0.02)
                yield url


def _initialize(programs: Programs, folder: Path, user: str | None) -> None:
    command = [programs.path("initdb"), f"--pgdata={folder / 'data'}", f"--username={USER}", "--auth=trust"]
    command += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
    try:
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            timeout=_INITDB_SECONDS,
            cwd="/",
            env=_SURROUNDINGS,
            user=user,
            extra_groups=[] if user else None,
        )
    except subprocess.CalledProcessError as error:
        complaint = error.stderr.decode(errors="replace").strip()[-300:]
        raise BackstopError(f"A throw-away PostgreSQL could not be made: {complaint}") from None
    except PermissionError:
        raise Refused(
            f"User '{user}', whom PostgreSQL has to run as here, cannot reach {programs.folder}.",
            "Set BACKSTOP_POSTGRES_BIN to programs that it can reach. Nothing was changed.",
        ) from None


def _find_user() -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    for user in _OWNERS:
        if user in known:
            return user
    raise Refused("PostgreSQL does not run as root, and there is no user 'postgres' or 'nobody' to run it as.")


def _place() -> str:
    """This process's own folder for such things may be one that the other user cannot enter."""
    return tempfile.gettempdir() if _find_user() is None else "/tmp"  # noqa: S108 (a folder of our own is made in it)


def _sweep() -> None:
    """Folders whose process was killed: nobody holds their lock any more."""
    for folder in Path(_place()).glob(f"{_PREFIX}*"):
        with suppress(OSError), (folder / "in-use").open("r+") as lock:
            if time.time() - os.fstat(lock.fileno()).st_mtime < _START_SECONDS:
                continue  # its owner may be about to take the lock
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
