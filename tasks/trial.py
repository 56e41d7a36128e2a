"""Start a release on a copy of the database, without any network. So the one that runs is tried on a migrated copy."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import quote

from prefect import task
from prefect.cache_policies import NO_CACHE
from psycopg import sql
from pydantic import BaseModel

from blocks.cut_off import cut_off
from blocks.environment import Environment
from blocks.errors import BackstopError, Refused, ReleaseIsBad
from blocks.manifest import Manifest
from blocks.migrations.program import LOOK_SECONDS, check_program, program_path, run_program
from blocks.platforms.interface import Release
from blocks.postgres.child import Child
from blocks.postgres.connection import connect, read_conninfo
from blocks.postgres.scratch import scratch_folder
from blocks.reference import resolve, secrets_in
from blocks.service import Service
from blocks.surroundings import BARE
from blocks.trial import Trial
from tasks.archive import Target
from tasks.health import run_checks
from tasks.ledger import current_run
from tasks.traffic import read_main_release

_SHOWN, _BEGINNING = 400, 60
"""Characters of a message, and how many of them from where it begins: the end says most."""
_TELLING = 8
"""Characters from which on a line of a secret says something by itself."""
_PORT = 8080
"""It has a network of its own: every port is free."""

_DATABASE = "backstop_trial"


class TrialResult(BaseModel):
    version: str
    """Of the release that runs now."""
    outcome: Literal["works", "fails", "not tried"]
    detail: str


# Repeating is safe: every attempt has a database and a process of its own.
@task(name="Try running release", cache_policy=NO_CACHE)
def try_running_release(environment: Environment, copy: Target, manifest: Manifest) -> TrialResult:
    """Start it on a copy of the copy, which it may write to, and run its checks and smoke test."""
    release = read_main_release(environment.platform)
    version = release.version if release else ""
    try:
        if release is None:
            raise Refused("no release runs")
        trial_of(environment)
        with _copied(copy, manifest, environment) as url:
            detail = _try(environment, release, url)
    except ReleaseIsBad as error:
        return TrialResult(version=version, outcome="fails", detail=without_variables(error.message, environment))
    except BackstopError as error:
        return TrialResult(version=version, outcome="not tried", detail=without_variables(error.message, environment))
    return TrialResult(version=version, outcome="works", detail=detail)


class Prepared(NamedTuple):
    """A release's checkout that is ready to be started."""

    trial: Trial
    folder: Path
    variables: dict[str, str]
    """All that it gets, but for the database's address."""


@contextmanager
def prepared(environment: Environment, commit: str, url: str) -> Iterator[Prepared]:
    """The release's files, as the environment's part `trial` wants them; `url`: a database for its preparation.

    Raises Refused where there is no such part, or the checkout cannot be made ready.
    """
    trial = trial_of(environment)
    with scratch_folder("trial") as checkout, scratch_folder("trial-home") as home:
        environment.source.export(commit, checkout)
        folder = checkout / trial.folder
        own = {name: resolve(value) for name, value in trial.variables.items()}
        if trial.preparation:
            answer = run_program(trial.preparation, folder, own, url, LOOK_SECONDS)
            if answer.code != 0:
                raise Refused(f"The checkout could not be made ready: {answer.reason()}.")
        check_program(trial.command, folder)
        bare = {**BARE, "PATH": program_path(), "HOME": str(home), "TMPDIR": str(home)}
        yield Prepared(trial, folder, {**bare, **own, trial.port_variable: str(_PORT)})


@contextmanager
def started(release: Prepared, url: str) -> Iterator[tuple[str, Child]]:
    """The release on the database of that URL, without any network: its address for us, and its process."""
    variables = {**release.variables, release.trial.database_variable: url}
    with cut_off(release.trial.command, _PORT, variables, str(release.folder)) as running:
        yield running


def wait_until_healthy(service: Service, address: str, process: Child, seconds: float) -> None:
    """For so long at most: what it is then, its checks tell. Raises ReleaseIsBad when it ended."""
    healthy = service.model_copy(update={"smoke": [], "critical": []})
    deadline = time.monotonic() + seconds
    while not all(check.passed for check in run_checks(healthy, address, [])):
        if not process.is_running():
            raise ReleaseIsBad(f"it ended: {process.read_complaint()}")
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)


def application_url(environment: Environment, copy: Target, manifest: Manifest) -> str:
    """The copy's URL as the application's role. Raises Refused where it lies on another machine."""
    socket = read_conninfo(copy.url).get("host", "")
    if not socket.startswith("/") or environment.database is None:
        raise Refused("the copy lies on another machine, which what is cut off from the network cannot reach")
    user = read_conninfo(resolve(environment.database.url)).get("user", "")
    role = user if user in {*manifest.roles, manifest.owner} else manifest.owner
    return f"postgresql://{quote(role, safe='')}@/{quote(copy.database, safe='')}?host={quote(socket, safe='')}"


def trial_of(environment: Environment) -> Trial:
    """Raises Refused where the environment has none."""
    if environment.trial is None:
        raise Refused("the environment has no part `trial`")
    return environment.trial


def without_variables(text: str, environment: Environment) -> str:
    """The text in one line, and not all of a long one. A release that cannot start may quote what it was given: each
    secret is struck out whole, alone, and by its lines, before anything is cut off.
    """
    text = " ".join(text.split())
    for secret in sorted(_secrets_of(environment), key=len, reverse=True):
        text = text.replace(secret, "…")
    return text if len(text) <= _SHOWN else f"{text[:_BEGINNING]} … {text[_BEGINNING - _SHOWN :]}"


def _secrets_of(environment: Environment) -> set[str]:
    values = environment.trial.variables.values() if environment.trial else []
    secrets = [secret for value in values for secret in secrets_in(value)]
    lines = {line.strip() for text in (*secrets, *values) for line in text.splitlines()}
    return {" ".join(secret.split()) for secret in secrets} | {line for line in lines if len(line) >= _TELLING}


@contextmanager
def _copied(copy: Target, manifest: Manifest, environment: Environment) -> Iterator[str]:
    """A copy of the copy, as the application's role. Raises Refused where it lies on another machine."""
    url = application_url(environment, copy._replace(database=_DATABASE), manifest)
    names = {"trial": sql.Identifier(_DATABASE), "copy": sql.Identifier(copy.database)}
    create = sql.SQL("CREATE DATABASE {trial} TEMPLATE {copy} OWNER {owner}")
    with connect(copy.url, current_run().id) as connection:
        connection.execute(create.format(**names, owner=sql.Identifier(manifest.owner)))
        try:
            yield url
        finally:
            connection.execute(sql.SQL("DROP DATABASE {trial} WITH (FORCE)").format(**names))


def _try(environment: Environment, release: Release, url: str) -> str:
    """What passed. Raises ReleaseIsBad, or another BackstopError where it could not be tried."""
    service = environment.service
    with prepared(environment, release.commit, url) as checkout, started(checkout, url) as (address, process):
        wait_until_healthy(service, address, process, checkout.trial.start_seconds)
        checks = run_checks(service, address, [])
    failed = [f"{check.name}: {check.detail}" for check in checks if not check.passed]
    if failed:
        raise ReleaseIsBad("; ".join(failed))
    return ", ".join(check.name for check in checks)
