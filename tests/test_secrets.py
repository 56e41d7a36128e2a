"""After deploys good, bad and refused, a backup, its proof, a drill, a rotation: no secret stands but where it must."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from secrets import token_urlsafe
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from blocks.platforms.sandbox import SandboxPlatform
from deployments.apply import ROOT
from deployments.stack.postgres_home import PostgresHome
from deployments.stack.state import write_private
from tests.blocks.platforms.waiting import eventually
from tests.flows.backup_under_way import backup_under_way
from tests.flows.records import Records
from tests.flows.shop_database import ShopDatabase
from tests.prefect_server import prefect_api
from tests.running_stack import RunningStack
from tests.secret_search import dump_database, find_in_files, find_secrets, watched_command_lines

KEEPERS = {
    "secrets.json": "where the stack keeps all of them",
    "prefect-login": "what a person logs in with",
    "redis/redis.conf": "where Redis reads its password",
    "sandbox/shop-staging/state.json": "the platform's variables, which it gives to the releases",
    "sandbox/shop-production/state.json": "the same",
}
"""The only files that hold secrets, and why. All others are searched."""

REFERRED = ("_TOKEN", "_PASSWORD", "_SECRET", "_AUTH_STRING", "_IDENTITY")


PROVIDED = token_urlsafe(24)
STAGING = ROOT / "deployments" / "environments" / "shop-staging.yaml"


@pytest.fixture(scope="module")
def every_kind(shared_stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Staging has a secret of each kind."""
    shared_stack.mend()
    folder = tmp_path_factory.mktemp("every-kind")
    write_private(folder / "token", shared_stack.layout.credentials.staging.sandbox_token)
    write_private(folder / "provided", PROVIDED)
    means = {"means": "nothing", "sinks": [{"type": "platform"}]}
    staging = yaml.safe_load(STAGING.read_text())
    staging["secrets"]["rotated"] |= {
        "job": {"type": "generated", "variable": "JOB_TOKEN", **means},
        "vendor": {"type": "provided", "variable": "VENDOR_KEY", "value": f"file:{folder}/provided", **means},
    }
    (folder / "shop-staging.yaml").write_text(yaml.safe_dump(staging))
    url = shared_stack.layout.control_url("staging")
    platform = SandboxPlatform(url=url, token=f"file:{folder}/token")
    first = {"JOB_TOKEN": token_urlsafe(24), "VENDOR_KEY": token_urlsafe(24)}
    platform.set_variables({**platform.read_variables(), **first})
    shared_stack.run("apply", str(folder / "shop-staging.yaml"))
    yield
    shared_stack.mend()
    shared_stack.run("apply", str(STAGING))


@pytest.fixture(scope="module")
def command_lines(shared_stack: RunningStack, every_kind: None) -> set[str]:
    """Nine runs have ended; the command line of every process that was seen meanwhile.

    Of PostgreSQL's programs their variables, too: they are the run's, not the worker's.
    """
    shared_stack.mend()
    with watched_command_lines() as seen:
        for procedure, parameters, ending in (
            ("deploy", {"version": "v1.1.0"}, "Done"),
            ("deploy", {"version": "v1.6.0"}, "Rolled back"),
            ("deploy", {"version": "v0.0.404"}, "Refused"),
            ("health-check", {}, "Done"),
            ("back-up-database", {}, "Done"),
            ("verify-backup", {}, "Done"),
            ("dr-drill", {}, "Done"),
            ("rotate-secrets", {}, "Done"),
        ):
            run = shared_stack.run_as_ci(procedure, "shop-staging", **parameters)
            assert run["ending"] == ending, run
        records = Records(shared_stack)
        with backup_under_way(ShopDatabase(shared_stack), records) as run_id:  # pg_dump is over in a moment otherwise
            for wanted in ("bin/pg_dump", "PGPASSFILE="):
                eventually(lambda wanted=wanted: any(wanted in line for line in list(seen)))
        assert records.wait_for_ending(run_id)["ending"] == "Done"
    return seen


@pytest.fixture
def secrets(stack: RunningStack, command_lines: set[str]) -> dict[str, str]:
    """Name → value of everything that is secret in this stack, after the runs, and of what was rotated."""
    rotated = {f"rotated {number}": value for number, value in enumerate(_rotated(stack), 1)}
    assert PROVIDED in rotated.values()
    assert len(rotated) >= 10, "of each kind one of before and one of now"
    return {**dict(_leaves(stack.layout.credentials.model_dump())), **rotated}


def test_every_value_that_an_environment_refers_to_is_searched_for(
    stack: RunningStack, secrets: dict[str, str]
) -> None:
    referred = [value for name, value in stack.surroundings.items() if name.endswith(REFERRED)]
    passwords = [urlsplit(value).password for name, value in stack.surroundings.items() if name.endswith("_URL")]
    values = [value.removeprefix("backstop:") for value in [*referred, *filter(None, passwords)]]
    assert len(values) >= 13
    assert set(values) <= set(secrets.values())


@pytest.mark.parametrize("database", ["prefect", "backstop"])
def test_no_secret_stands_in_the_databases_of_prefect_and_the_ledger(
    stack: RunningStack, secrets: dict[str, str], database: str
) -> None:
    dump = dump_database(stack, database)
    assert b"v0.0.404" in dump
    assert find_secrets(secrets, database, dump) == []


def test_no_secret_stands_in_the_database_servers_files(stack: RunningStack, secrets: dict[str, str]) -> None:
    assert find_in_files(secrets, PostgresHome(stack.state).data) == []


def test_secrets_stand_in_the_files_that_must_hold_them_and_in_no_other(
    stack: RunningStack, secrets: dict[str, str]
) -> None:
    found = {line.partition(": ")[0] for line in find_in_files(secrets, stack.state.folder)}
    assert found == set(KEEPERS)
    for name in KEEPERS:
        assert stat.filemode((stack.state.folder / name).stat().st_mode) == "-rw-------", name


def test_what_is_searched_are_the_logs_results_and_reports_of_these_runs(
    stack: RunningStack, secrets: dict[str, str]
) -> None:
    folder = stack.state.folder
    assert "v0.0.404" in (folder / "logs" / "worker.log").read_text()
    assert (folder / "logs" / "postgres.log").stat().st_size > 0
    assert list((folder / "evidence" / "reports" / "shop-staging").glob("*.json"))
    assert list((folder / "backups" / "shop-staging").glob("*/proofs/*-full.json"))
    assert list((folder / "backups" / "shop-staging" / "drills").glob("*.html"))
    assert list((folder / "prefect").iterdir())


def test_no_secret_is_in_a_command_line(command_lines: set[str], secrets: dict[str, str]) -> None:
    assert any("prefect" in line for line in command_lines)
    assert any("bin/pg_dump" in line for line in command_lines)
    assert any("PGPASSFILE=" in line for line in command_lines)
    assert find_secrets(secrets, "a command line", "\n".join(command_lines).encode()) == []


def test_prefects_api_gives_no_secret_of_a_block_even_when_asked_for_it(
    stack: RunningStack, secrets: dict[str, str]
) -> None:
    with prefect_api(stack) as api:
        answer = api.post("/block_documents/filter", json={"include_secrets": True}).raise_for_status()
    assert "${SHOP_PRODUCTION_SANDBOX_TOKEN}" in answer.text
    assert find_secrets(secrets, "the blocks", answer.content) == []


def test_a_secret_that_leaked_would_be_found(stack: RunningStack, secrets: dict[str, str], tmp_path: Path) -> None:
    log = (stack.state.folder / "logs" / "worker.log").read_bytes()
    (tmp_path / "worker.log").write_bytes(log + secrets["production.sandbox_token"].encode() + log)
    assert find_in_files(secrets, tmp_path) == ["worker.log: production.sandbox_token (plain)"]


def _rotated(stack: RunningStack) -> set[str]:
    """What staging had before its rotation, and has now: its platform knows all of it."""
    state = json.loads((stack.layout.sandbox("staging") / "state.json").read_text())
    variables = [state["variables"], *(release["variables"] for release in state["releases"].values())]
    logins = {urlsplit(one["DATABASE_URL"]).password or "" for one in variables}
    names = ("SHOP_SESSION_SECRET", "SHOP_DATA_KEYS", "SHOP_DATA_KEY_NEXT", "JOB_TOKEN", "VENDOR_KEY")
    others = {value for one in variables for name in names for value in one.get(name, "").split(",")}
    return {*logins, *filter(None, others)}


def _leaves(tree: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value
