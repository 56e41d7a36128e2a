"""`backstop up`: everything is ready, and it is started once."""

import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
import redis

from deployments.shop.releases import RELEASES
from deployments.stack.components import describe_components
from deployments.stack.layout import NAMES
from deployments.stack.postgres_home import PostgresHome
from deployments.stack.surroundings import worker_environment
from tests.running_stack import RunningStack


def test_every_part_runs(stack: RunningStack) -> None:
    status = stack.status()
    assert list(status) == list(NAMES)
    assert {part["state"] for part in status.values()} == {"running"}
    assert all(part["memory_mb"] > 0 and part["since"] and part["address"] for part in status.values())


def test_second_up_changes_nothing(stack: RunningStack) -> None:
    before = stack.pids()
    assert "Already up" in stack.run("up")
    assert stack.pids() == before


@pytest.mark.parametrize("environment", ["PRODUCTION", "STAGING"])
def test_shop_answers_with_its_database_and_cache(stack: RunningStack, environment: str) -> None:
    url = worker_environment(stack.state)[f"SHOP_{environment}_URL"]
    answer = httpx.get(f"{url}/health/detailed", timeout=5)
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Version"] in {release.version for release in RELEASES}


@pytest.mark.parametrize(
    "variable", ["BACKSTOP_LEDGER_URL", "SHOP_PRODUCTION_DATABASE_URL", "SHOP_STAGING_DATABASE_URL"]
)
def test_each_database_belongs_to_its_own_role(stack: RunningStack, variable: str) -> None:
    url = worker_environment(stack.state)[variable]
    with psycopg.connect(url, connect_timeout=5) as connection:
        row = connection.execute(
            "SELECT current_user, current_database(), rolsuper FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
    assert row is not None
    role, database, is_superuser = row
    assert role == database
    assert not is_superuser
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(url, dbname="prefect", connect_timeout=5)


def test_environments_use_different_cache_databases(stack: RunningStack) -> None:
    variables = worker_environment(stack.state)
    staging = redis.Redis.from_url(variables["SHOP_STAGING_REDIS_URL"])
    production = redis.Redis.from_url(variables["SHOP_PRODUCTION_REDIS_URL"])
    with staging, production:
        staging.set("only-in-staging", 1)
        assert production.get("only-in-staging") is None


def test_prefect_asks_for_the_login_and_serves_its_interface(stack: RunningStack) -> None:
    url = worker_environment(stack.state)["PREFECT_API_URL"]
    user, _, password = (stack.folder / "prefect-login").read_text().strip().partition(":")
    assert httpx.get(f"{url}/admin/version", timeout=5).status_code == 401
    assert httpx.get(f"{url}/admin/version", timeout=5, auth=(user, password)).status_code == 200
    interface = httpx.get(url.removesuffix("/api"), timeout=5, follow_redirects=True)
    assert "<title>Prefect Server</title>" in interface.text


def test_no_secret_is_in_a_command_line(stack: RunningStack) -> None:
    secrets = _texts(stack.layout.credentials.model_dump())
    assert len(secrets) == 25
    shown = [word for process in psutil.process_iter() for word in _command_line(process)]
    # A program such as redis-server overwrites its command line, but only after it has begun.
    given = [word for part in describe_components(stack.layout, _ignore) for word in part.argv]
    assert len(given) > 20
    assert [secret for secret in secrets if secret in " ".join(shown + given)] == []


def test_no_secret_is_in_a_log(stack: RunningStack) -> None:
    logs = [path.read_text(errors="replace") for path in (stack.folder / "logs").iterdir()]
    assert [s for s in _texts(stack.layout.credentials.model_dump()) for log in logs if s in log] == []


def test_only_the_user_can_read_the_state(stack: RunningStack) -> None:
    assert stat.S_IMODE(stack.folder.stat().st_mode) == 0o700
    files = [path for path in stack.folder.iterdir() if path.is_file()]
    files += [
        stack.folder / "redis" / "redis.conf",
        stack.folder / "sandbox" / "shop-staging" / "config.json",
    ]
    assert {path.name: oct(path.stat().st_mode & 0o077) for path in files} == {p.name: "0o0" for p in files}
    assert PostgresHome(stack.state).data.stat().st_mode & 0o077 == 0


def test_everything_listens_on_loopback_alone(stack: RunningStack) -> None:
    listening = {
        connection.laddr.ip
        for pid in stack.pids().values()
        for process in _family(pid)
        for connection in _connections(process)
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_worker_runs_flows_without_heartbeats(stack: RunningStack, tmp_path: Path) -> None:
    """The deployment's flow writes what it sees of its surroundings."""
    seen = tmp_path / "seen.txt"
    script = Path(__file__).with_name("run_one_flow.py")
    subprocess.run(
        [sys.executable, str(script), str(seen)],
        env={"PATH": "", **worker_environment(stack.state)},
        check=True,
        timeout=60,
    )
    assert seen.read_text().split() == ["None", stack.layout.front_url("production")]


def _connections(process: psutil.Process) -> list[Any]:
    try:
        return process.net_connections(kind="inet")
    except psutil.NoSuchProcess:  # it has ended meanwhile, as whatever serves one PostgreSQL session does
        return []


def _texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for entry in value.values() for text in _texts(entry)]
    return [str(value)]


def _ignore(part: str, text: str) -> None:
    pass


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
