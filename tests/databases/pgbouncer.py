"""A real pgbouncer in front of a PostgreSQL server: transactions of many clients share few sessions."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.deployments.shop.processes import POSTGRES_USER, free_port, process, wait_until

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")

SETTINGS = """
[databases]
* = host=127.0.0.1 port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {sessions}
max_client_conn = 200
server_login_retry = 0.5
"""


@contextmanager
def running_pgbouncer(server_port: int, users: dict[str, str], sessions: int = 20) -> Iterator[int]:
    """Its port. `users`: role → password, for its clients and for the server behind it."""
    assert PROGRAM
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as name:  # where another OS user may look into it
        folder, port = Path(name), free_port()
        settings = SETTINGS.format(server_port=server_port, port=port, folder=folder, sessions=sessions)
        (folder / "pgbouncer.ini").write_text(settings)
        (folder / "users").write_text("".join(f'"{user}" "{password}"\n' for user, password in users.items()))
        for path in (folder, *folder.iterdir()):
            path.chmod(0o700)
            if POSTGRES_USER:
                shutil.chown(path, POSTGRES_USER)
        user, password = next(iter(users.items()))

        def answers() -> bool:
            assert started.poll() is None, (folder / "output.log").read_text()
            url = f"host=127.0.0.1 port={port} user={user} password={password} dbname=pgbouncer connect_timeout=2"
            try:
                psycopg.connect(url).close()
            except psycopg.OperationalError as error:
                return "not allowed" in str(error)  # to its console
            return True

        with process([PROGRAM, str(folder / "pgbouncer.ini")], folder, {}, user=POSTGRES_USER) as started:
            wait_until(answers, "pgbouncer answers")
            yield port
