"""A PostgreSQL server for one purpose: on a socket that nobody else can reach, without durability, gone afterwards."""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg

from blocks.errors import BackstopError, Refused
from blocks.postgres.child import Child, running
from blocks.postgres.programs import Programs
from blocks.postgres.scratch import scratch_folder
from blocks.surroundings import BARE

USER = "backstop"
_OWNERS = ("postgres", "nobody")
_INITDB_SECONDS = 60
_START_SECONDS = 30
_STOP_SECONDS = 10
_HINT = "Look at this machine's disk and memory, then try again. Of the backup it says nothing."
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
    user = find_server_user()
    with scratch_folder("server", _place(user)) as folder:
        if user:
            shutil.chown(folder, user)
        _initialize(programs, folder, user)
        settings = [f"--{setting}={value}" for setting, value in _SETTINGS.items()]
        settings.append(f"--unix_socket_directories={folder}")
        command = [programs.path("postgres"), "-D", str(folder / "data"), *settings]
        # SIGQUIT: even in dying it takes its processes and its shared memory with it.
        with running(command, BARE, user=user, ended_with=signal.SIGQUIT) as child:
            try:
                url = f"postgresql://{USER}@/postgres?host={quote(str(folder), safe='')}"
                _wait_until_it_answers(child, url)
                yield url
            finally:
                child.signal(signal.SIGQUIT)
                with suppress(subprocess.TimeoutExpired):
                    child.process.wait(_STOP_SECONDS)


def _wait_until_it_answers(child: Child, url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(url):
        if not child.is_running() or time.monotonic() > deadline:
            raise BackstopError(f"A throw-away PostgreSQL did not start: {child.read_complaint()}", _HINT)
        time.sleep(0.02)


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
            env=BARE,
            user=user,
            extra_groups=[] if user else None,
        )
    except subprocess.CalledProcessError as error:
        complaint = error.stderr.decode(errors="replace").strip()[-300:]
        raise BackstopError(f"A throw-away PostgreSQL could not be made: {complaint}", _HINT) from None
    except PermissionError:
        raise Refused(
            f"User '{user}', whom PostgreSQL has to run as here, cannot reach {programs.folder}.",
            "Set BACKSTOP_POSTGRES_BIN to programs that it can reach. Nothing was changed.",
        ) from None


def find_server_user() -> str | None:
    """Whom a server has to run as, because PostgreSQL refuses to run as root; None: the present user."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    for user in _OWNERS:
        if user in known:
            return user
    raise Refused(
        "PostgreSQL does not run as root, and there is no user 'postgres' or 'nobody' to run it as.",
        "Add one, or work as an ordinary user. Nothing was changed.",
    )


def _place(user: str | None) -> str:
    """This process's own folder for such things may be one that the other user cannot enter."""
    return "/tmp" if user else ""  # noqa: S108 (a folder of our own is made in it)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
