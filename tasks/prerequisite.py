"""What must hold before a release is deployed: one line of the plan each. Nothing is changed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Self

from pydantic import BaseModel

from blocks.environment import Environment, load_environment
from blocks.errors import BackstopError
from blocks.freeze import describe_freeze
from blocks.ledger.connection import Connection
from blocks.ledger.fence import read_holder
from blocks.platforms.interface import Platform
from tasks.catalogue import read_catalogue
from tasks.ledger import current_run
from tasks.traffic import check_steps, read_main_release


class Prerequisite(BaseModel):
    """One line: what must hold, whether it does, and how one knows."""

    name: str
    met: bool
    detail: str

    @classmethod
    def told(cls, name: str, met: bool, good: str, bad: str) -> Self:
        """With the words for how it stands."""
        return cls(name=name, met=met, detail=good if met else bad)


def check_prerequisites(
    environment: Environment, version: str, commit: str | None, target: str | None, hotfix: bool
) -> list[Prerequisite]:
    """`commit`: what the version's tag stands on, None without a tag; `target`: the version to roll back to."""
    rollout = environment.rollout
    found = "its commit was found" if commit else "neither a tag nor a commit of that name exists"
    lines = [
        Prerequisite(name="release exists", met=commit is not None, detail=found),
        _line("rollback target known", lambda: target or _nothing_to_return_to(environment)),
        _line("environment free", lambda: _nobody_holds(environment)),
        _line("no freeze", lambda: _no_freeze(environment)),
        _line("disk", lambda: _enough_disk(environment)),
    ]
    if rollout.deployer == "platform":
        lines.append(_line("steps", lambda: check_steps(environment)))
    if environment.metrics.late_seconds:
        lines.append(_line("metrics in time", lambda: _in_time(environment, hotfix)))
    if rollout.staging and hotfix:
        lines.append(Prerequisite(name="staging ran it", met=True, detail=f"waived: hotfix ({rollout.staging})"))
    elif rollout.staging:
        lines.append(_line("staging ran it", lambda: _ran_in(rollout.staging or "", version)))
    if environment.source.ci_url and commit:
        lines.append(_line("CI green", lambda: _ci_green(environment, commit)))
    hours = rollout.backup_hours
    if hours:
        lines.append(_line("backup recent", lambda: _backup_recent(environment, hours)))
    return lines


def check_start(platform: Platform) -> Prerequisite:
    """Whether a release can be started as something else than the environment's file describes it."""
    return _line("can be started", platform.describe_start)


def _line(name: str, look: Callable[[], str]) -> Prerequisite:
    try:
        return Prerequisite(name=name, met=True, detail=look())
    except BackstopError as error:
        return Prerequisite(name=name, met=False, detail=error.message)


def _nothing_to_return_to(environment: Environment) -> str:
    if environment.platform.read_traffic():
        raise BackstopError("the platform does not know the release that has the traffic")
    return "none needed: this is the first release; a rollback leaves none with traffic, where the platform can do that"


def _nobody_holds(environment: Environment) -> str:
    run = current_run()
    holder = read_holder(run.connection, environment.environment)
    if holder and holder["run_id"] != run.id:
        raise BackstopError(
            f"{holder['procedure']} (run {holder['run_id']}, {holder['requested_by'] or 'nobody named'})"
            f" holds it since {holder['since']:%H:%M:%S %Z}"
        )
    return "no other run holds it"


def _no_freeze(environment: Environment) -> str:
    if frozen := describe_freeze(environment.rollout.freezes, datetime.now(UTC)):
        raise BackstopError(frozen)
    return "not inside a freeze window"


def _enough_disk(environment: Environment) -> str:
    free, least = environment.platform.read_free_disk(), environment.rollout.least_free_disk_mb
    if free is None:
        return "the platform's business"
    if free < least * 1_000_000:
        raise BackstopError(f"{free // 1_000_000} MB free; {least} MB are wanted")
    return f"at least {least} MB free"


def _in_time(environment: Environment, hotfix: bool) -> str:
    """What is watched for a shorter time than its numbers take to come would pass unseen."""
    late, rollout = environment.metrics.late_seconds, environment.rollout
    watched = {
        "limits.unmeasured_seconds": environment.limits.unmeasured_seconds,
        **({"rollout.step_seconds": rollout.step_seconds} if len(rollout.steps) > 1 else {}),
        **({"rollout.hotfix_window_seconds": rollout.hotfix_window_seconds} if hotfix else {}),
        **({} if hotfix else {"rollout.window_seconds": rollout.window_seconds}),
    }
    short = [f"{name} is {seconds:g}" for name, seconds in watched.items() if seconds <= late]
    if short:
        raise BackstopError(
            f"numbers come up to {late:g} s late, and {', '.join(short)}: nothing would be seen by then"
        )
    return f"numbers come up to {late:g} s late, and each watch is longer"


def _ran_in(staging: str, version: str) -> str:
    if _was_deployed(current_run().connection, staging, version):
        return f"deployed in {staging}"
    main = read_main_release(load_environment(staging).platform)
    if main and main.version == version:
        return f"runs in {staging}"
    raise BackstopError(f"{version} was never deployed in {staging}")


def _was_deployed(connection: Connection, environment: str, version: str) -> bool:
    row = connection.execute(
        "SELECT 1 FROM run WHERE procedure = 'deploy' AND environment = %s AND ending = 'Done'"
        " AND parameters->>'version' = %s AND coalesce(parameters->>'plan_only', 'false') = 'false' LIMIT 1",
        [environment, version],
    ).fetchone()
    return row is not None


def _ci_green(environment: Environment, commit: str) -> str:
    failing = environment.source.read_failing_checks(commit)
    if failing:
        raise BackstopError(f"not green: {', '.join(failing[:5])}")
    return f"every check of {commit[:10]} is green"


def _backup_recent(environment: Environment, allowed: float) -> str:
    """A backup that says that it was taken in the future says nothing."""
    now = datetime.now(UTC)
    newest = read_catalogue(environment).up_to(now).newest
    if newest is None:
        raise BackstopError("there is no complete backup")
    hours = (now - newest.dated) / timedelta(hours=1)
    if hours > allowed:
        raise BackstopError(f"the newest is {hours:.1f} h old; {allowed:g} h are allowed")
    return f"{max(hours, 0):.1f} h old"
