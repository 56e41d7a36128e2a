"""PostgreSQL: one server for Prefect, for the ledger and for the sample service's environments."""

import shutil
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

from blocks.errors import BackstopError
from blocks.surroundings import BARE
from deployments.stack.component import Component
from deployments.stack.databases import create_databases, is_answering
from deployments.stack.layout import Layout
from deployments.stack.postgres_home import PostgresHome
from deployments.stack.processes import end_in_folder
from deployments.stack.state import write_private

_INITDB_TIMEOUT = 120

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "150",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "jit": "off",
    "password_encryption": "scram-sha-256",
    # No statement is ever logged, a failing one included: it may carry a secret.
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",  # the detail of an error quotes rows
}


def postgres(layout: Layout, say: Callable[[str], None]) -> Component:
    home = PostgresHome(layout.state)
    port = layout.ports["postgres"]
    settings = [f"--{name}={value}" for name, value in {**SETTINGS, "port": str(port)}.items()]
    return Component(
        name="postgres",
        argv=(str(home.programs / "postgres"), "-D", str(home.data), *settings),
        environment=BARE,
        user=home.user,
        folder=Path("/"),
        is_ready=lambda began: is_answering(layout),
        before_start=partial(_prepare, layout, home, say),
        after_start=partial(create_databases, layout),
        address=f"127.0.0.1:{port}",
        stop_signal=signal.SIGINT,  # "fast": sessions are ended, nothing is lost
        grace=30,
    )


def _prepare(layout: Layout, home: PostgresHome, say: Callable[[str], None]) -> None:
    home.prepare(say)
    if not (home.data / "PG_VERSION").is_file():
        if home.user:
            say(f"runs as user '{home.user}' with its data in {home.data}: it does not run as root")
        _initialize(layout, home)
    # No server of ours runs on this data: what still works in its folder was left by one that
    # was killed, and its pid file may name a process that is somebody else's by now.
    end_in_folder(home.data)
    (home.data / "postmaster.pid").unlink(missing_ok=True)


def _initialize(layout: Layout, home: PostgresHome) -> None:
    partial_data, password = home.folder / "data.partial", home.folder / "password"
    shutil.rmtree(partial_data, ignore_errors=True)
    partial_data.mkdir(mode=0o700)
    home.give(partial_data)
    write_private(password, layout.credentials.postgres_password)
    home.give(password)
    command = [str(home.programs / "initdb"), "-D", str(partial_data)]
    command += ["--username=postgres", f"--pwfile={password}"]
    command += ["--auth=scram-sha-256", "--encoding=UTF8", "--no-locale"]
    try:
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            timeout=_INITDB_TIMEOUT,
            cwd="/",
            env=BARE,
            user=home.user,
            extra_groups=[] if home.user else None,
        )
    except subprocess.CalledProcessError as error:
        raise BackstopError(f"initdb made no data folder: {error.stderr.decode(errors='replace').strip()}") from None
    finally:
        password.unlink()
    partial_data.rename(home.data)
