"""Everything is lost but the backup store, the escrow and the code: all else is rebuilt from them, Backstop itself too.

open escrow → download → provision → restore → verify data → boot → switch → verify service → clean up
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from psycopg import sql

from blocks import alone
from blocks.cut_off import CannotCutOff, cut_off
from blocks.errors import Refused, RefusedByPlatform
from blocks.escrow import Escrow, lacking, open_escrow
from blocks.migrations.program import program_path
from blocks.postgres.child import running
from blocks.postgres.connection import connect, with_database
from blocks.postgres.scratch import scratch_folder
from blocks.postgres.throwaway import find_server_user
from blocks.rebuilding import FRONT_PORT, Rebuilding, Workplace
from blocks.reference import references_in, resolve
from blocks.sources.git_repository import clone
from blocks.surroundings import BARE, of_git
from tasks.drill import Drill, DrillFailed
from tasks.drill_guard import require_no_live_socket
from tasks.drill_steps import (
    Application,
    Server,
    Stand,
    backup_of,
    cache_of_its_own,
    provisioned,
    steady_state,
    verify_data,
    verify_service,
)
from tasks.ledger import current_run
from tasks.trial import trial_of

ISOLATION = "a network, processes and shared memory of its own, Backstop's included: nothing but files can be reached"
_PLACE = "/tmp"  # noqa: S108 (a folder of our own is made in it; sockets' paths must be short)
_SHOWN, _TELLING = 600, 6
"""Characters that are told of a failure; and from which on a value is struck out of them."""


# Never repeated by itself: its time is what is measured.
@task(name="Drill: total loss", cache_policy=NO_CACHE)
def hold_total_loss(drill: Drill) -> None:
    """The disaster is pretended to be now. Raises BackstopError where recovery fails."""
    drill.before = steady_state("what was backed up", backup_of(drill).manifest.tables)
    drill.strike()
    with Stand(drill) as stand:
        with drill.phase("open escrow"):
            escrow = _open(drill)
            work = Workplace(stand.standing.enter_context(scratch_folder("rebuilt", _PLACE)))
        with drill.phase("download"):
            told = _fetch(drill, escrow, work)
        with drill.phase("provision"):
            server = stand.standing.enter_context(provisioned(drill))
            _leave_only_roles(drill, server)
            cache = stand.standing.enter_context(cache_of_its_own(drill))
            addresses = {
                "application_url": server.url,
                "operating_url": with_database(server.target.url, server.target.database),
            }
            work.tell(told.model_copy(update={**addresses, "cache_url": cache.url if cache else ""}))
            rebuilt = stand.standing.enter_context(_rebuilt(drill, work, escrow))
            rebuilt.carry_out("bring up")
            rebuilt.carry_out("apply")
        with drill.phase("restore"):
            rebuilt.carry_out("restore")
        with drill.phase("verify data"):
            after = verify_data(drill, server)
        with drill.phase("boot"):
            rebuilt.carry_out("boot")
        with drill.phase("switch"):
            rebuilt.carry_out("switch")
        with drill.phase("verify service"):
            drill.after = after.model_copy(update={"passed": verify_service(drill, rebuilt.application)})
        drill.recover()


class Rebuilt:
    """The stack that is being rebuilt, in a world of its own."""

    def __init__(self, drill: Drill, work: Workplace, escrow: Escrow, application: Application) -> None:
        self._drill, self._work, self._escrow, self.application = drill, work, escrow, application

    def carry_out(self, step: str) -> None:
        """Raises DrillFailed with its last words, or when the objective has passed meanwhile."""
        self._work.order(step)
        process = self.application.process
        if not self._work.wait_until_done(step, lambda: not process.is_running() or self._drill.is_too_late()):
            if alone.CANNOT in process.read_complaint():
                raise CannotCutOff(process.read_complaint())
            last_words = _without_secrets(process.read_complaint(), self._escrow)
            why = "the objective has passed" if process.is_running() else last_words
            raise DrillFailed(f"Rebuilding failed at '{step}': {why}")


def _open(drill: Drill) -> Escrow:
    """It holds all that the environment refers to. Raises EscrowIsBad, DrillFailed, Refused where none is named."""
    environment, policy = drill.environment, drill.policy
    if not policy.escrow or not policy.escrow_identity:
        raise Refused(
            f"{environment.environment} names no escrow: without one its secrets are lost with everything else.",
            "Make one with `backstop escrow make`; name it in drills.escrow, and its key in drills.escrow_identity.",
        )
    if trial_of(environment).preparation or trial_of(environment).folder != ".":
        raise Refused("The platform that is rebuilt prepares no checkout: trial.preparation and trial.folder.")
    path = Path(resolve(policy.escrow))
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DrillFailed(f"The escrow {path} cannot be read: {error.strerror}.") from None
    escrow = open_escrow(content, resolve(policy.escrow_identity))
    wanted = {name for text in _texts(environment.model_dump(mode="json")) for name in references_in(text)}
    wanted -= {policy.escrow_identity, *references_in(policy.escrow)}
    if missing := lacking(escrow, wanted):
        raise DrillFailed(
            f"The escrow of {escrow.made_at:%Y-%m-%d} lacks {', '.join(missing)}, which the environment refers to."
        )
    if escrow.environment != environment.environment:
        raise DrillFailed(f"The escrow is that of {escrow.environment}.")
    require_no_live_socket(environment, _handed_over(drill, escrow))
    return escrow


def _handed_over(drill: Drill, escrow: Escrow) -> dict[str, str]:
    """To the application; where database and cache are, it is told anew."""
    trial = trial_of(drill.environment)
    return {n: v for n, v in escrow.application.items() if n not in (trial.database_variable, trial.cache_variable)}


def _fetch(drill: Drill, escrow: Escrow, work: Workplace) -> Rebuilding:
    """The code, and the backup out of the store that the escrow leads to. Raises DrillFailed."""
    backup = backup_of(drill).manifest
    if not backup.release:
        raise DrillFailed(f"{backup.id} does not say which release had written it: nobody knows what to start.")
    try:
        source = clone(escrow.repository, work.repository)
    except RefusedByPlatform as error:
        raise DrillFailed(f"The code cannot be cloned: {_without_secrets(error.message, escrow)}") from None
    if source.read_tag(backup.release) is None:
        raise DrillFailed(f"The repository has no tag {backup.release}, the release of the backup.")
    drill.version = backup.release
    told = Rebuilding(escrow=escrow, backup=backup.id, version=backup.release)
    work.tell(told)
    with running(_command("fetch", work), {**of_git(), "PATH": program_path()}, folder=str(work.folder)) as child:
        if child.process.wait() != 0:
            raise DrillFailed(f"The backup could not be fetched: {_without_secrets(child.read_complaint(), escrow)}")
    return told


def _leave_only_roles(drill: Drill, server: Server) -> None:
    """As a new server has them after globals.sql: no database yet."""
    manifest = backup_of(drill).manifest
    described = manifest.described
    named = {*described.may_connect, *(one.role for one in described.settings)} - {""} if described else set()
    with connect(server.target.url, current_run().id) as connection:
        connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(manifest.database)))
        known = {name for (name,) in connection.execute("SELECT rolname::text FROM pg_roles")}
        for role in named - known - {"public"}:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))


@contextmanager
def _rebuilt(drill: Drill, work: Workplace, escrow: Escrow) -> Iterator[Rebuilt]:
    """Whoever carries the steps out. Raises CannotCutOff."""
    with scratch_folder("rebuilt-data", _PLACE) as data:
        if find_server_user():
            data.chmod(0o711)  # its PostgreSQL runs as another user
        own = {name: os.environ[name] for name in ("BACKSTOP_POSTGRES_BIN",) if name in os.environ}
        variables = {**BARE, **own, "PATH": program_path(), "BACKSTOP_POSTGRES_HOME": str(data)}
        command = [sys.executable, "-P", "-m", alone.__name__, *_command("rebuild", work)]
        with cut_off(command, FRONT_PORT, variables, str(work.folder)) as (url, process):
            drill.isolation = ISOLATION
            yield Rebuilt(drill, work, escrow, Application(url, process))


def _command(what: str, work: Workplace) -> list[str]:
    return [sys.executable, "-P", "-m", "deployments.rebuild", what, str(work.folder)]


def _without_secrets(text: str, escrow: Escrow) -> str:
    """Its end, each value of the escrow struck out."""
    values = {*escrow.references.values(), *escrow.application.values(), escrow.repository}
    for value in sorted((" ".join(one.split()) for one in values), key=len, reverse=True):
        if len(value) >= _TELLING:
            text = text.replace(value, "…")
    return text[-_SHOWN:]


def _texts(content: Any) -> Iterator[str]:
    """Every text in it, however deep."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict | list):
        for one in content.values() if isinstance(content, dict) else content:
            yield from _texts(one)
