"""Try the release that runs now on a migrated copy, cut off from every network."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal
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
from blocks.reference import resolve
from blocks.surroundings import BARE
from blocks.trial import Trial
from tasks.archive import Target
from tasks.health import Check, run_checks
from tasks.ledger import current_run
from tasks.traffic import read_main_release

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
        if release is None or environment.trial is None:
            raise Refused("the environment has no part `trial`" if release else "no release runs")
        with _copied(copy, manifest, environment) as url:
            detail = _try(environment, environment.trial, release, url)
    except ReleaseIsBad as error:
        return TrialResult(version=version, outcome="fails", detail=_without_variables(error.message, environment))
    except BackstopError as error:
        return TrialResult(version=version, outcome="not tried", detail=error.message)
    return TrialResult(version=version, outcome="works", detail=detail)


@contextmanager
def _copied(copy: Target, manifest: Manifest, environment: Environment) -> Iterator[str]:
    """The copy's URL as the application's role. Raises Refused where it lies on another machine."""
    socket = read_conninfo(copy.url).get("host", "")
    if not socket.startswith("/") or environment.database is None:
        raise Refused("the copy lies on another machine, which what is cut off from the network cannot reach")
    user = read_conninfo(resolve(environment.database.url)).get("user", "")
    role = user if user in {*manifest.roles, manifest.owner} else manifest.owner
    names = {"trial": sql.Identifier(_DATABASE), "copy": sql.Identifier(copy.database)}
    create = sql.SQL("CREATE DATABASE {trial} TEMPLATE {copy} OWNER {owner}")
    with connect(copy.url, current_run().id) as connection:
        connection.execute(create.format(**names, owner=sql.Identifier(manifest.owner)))
        try:
            yield f"postgresql://{quote(role, safe='')}@/{_DATABASE}?host={quote(socket, safe='')}"
        finally:
            connection.execute(sql.SQL("DROP DATABASE {trial} WITH (FORCE)").format(**names))


def _try(environment: Environment, trial: Trial, release: Release, url: str) -> str:
    """What passed. Raises ReleaseIsBad, or another BackstopError where it could not be tried."""
    with scratch_folder("trial") as checkout, scratch_folder("trial-home") as home:
        environment.source.export(release.commit, checkout)
        folder = checkout / trial.folder
        own = {name: resolve(value) for name, value in trial.variables.items()}
        if trial.preparation:
            answer = run_program(trial.preparation, folder, own, url, LOOK_SECONDS)
            if answer.code != 0:
                raise Refused(f"The checkout could not be made ready: {answer.reason()}.")
        check_program(trial.command, folder)
        variables = {
            **{**BARE, "PATH": program_path(), "HOME": str(home), "TMPDIR": str(home)},
            **{**own, trial.database_variable: url, trial.port_variable: str(_PORT)},
        }
        with cut_off(trial.command, _PORT, variables, str(folder)) as (address, process):
            checks = _checked_once_healthy(environment, address, process, trial.start_seconds)
    failed = [f"{check.name}: {check.detail}" for check in checks if not check.passed]
    if failed:
        raise ReleaseIsBad("; ".join(failed))
    return ", ".join(check.name for check in checks)


def _without_variables(text: str, environment: Environment) -> str:
    """A release that cannot start may quote what it was given."""
    values = [resolve(value) for value in environment.trial.variables.values()] if environment.trial else []
    for value in sorted(filter(None, values), key=len, reverse=True):
        text = text.replace(value, "…")
    return text


def _checked_once_healthy(environment: Environment, address: str, process: Child, seconds: float) -> list[Check]:
    healthy = environment.service.model_copy(update={"smoke": [], "critical": []})
    deadline = time.monotonic() + seconds
    while not all(check.passed for check in run_checks(healthy, address, [])):
        if not process.is_running():
            raise ReleaseIsBad(f"it ended: {process.read_complaint()[-300:]}")
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return run_checks(environment.service, address, [])
