"""What runs with an environment's secrets: its releases. Each has those values with which it was started."""

import time

from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.environment import Environment
from blocks.errors import RefusedByPlatform
from blocks.platforms.interface import Capability, Platform, Release
from tasks.effect import read_intents
from tasks.ledger import current_run
from tasks.release import start_release, start_stopped_release, stop_release, wait_for_release
from tasks.restart import restart_release
from tasks.retry import wait_out
from tasks.rollback import return_traffic, stop_releases_of
from tasks.secret_age import was_rotated_since
from tasks.traffic import TrafficBefore

STOP_SECONDS = 60
"""How long a release may take to let its requests finish."""
_PAUSE_SECONDS = 0.1


@task(name="Start consumers anew", cache_policy=NO_CACHE)
def renew_consumers(environment: Environment, before: TrafficBefore) -> None:
    """The release that has the traffic runs with the values of now, and where the platform stops releases, no other."""
    platform = environment.platform
    restart_release(environment, before)
    if Capability.STOP not in platform.capabilities:
        return
    traffic = platform.read_traffic()
    others = [release for release in platform.read_releases() if release.id not in traffic and _is_up(release)]
    for release in others:
        stop_release(platform, release.id)
    for release in others:
        _wait_until_stopped(platform, release.id)


def run_again(environment: Environment, release: Release) -> Release:
    """It, running; or another one of its version, where it would run with secrets that are refused by now."""
    platform = environment.platform
    if _keeps_old_secrets(environment, release):
        release = start_release(platform, release.version, release.commit)
    elif release.state == "running":
        return release
    else:
        start_stopped_release(platform, release)
    return wait_for_release(platform, release.id, environment.rollout.start_seconds)


@task(name="Return to the consumers of before", cache_policy=NO_CACHE)
def return_consumers(environment: Environment, before: TrafficBefore) -> None:
    """Releases of before run and have the traffic again; what was stopped meanwhile has the values of now."""
    platform = environment.platform
    stopped = [
        str(intent["release"]) for intent in read_intents(current_run().connection, before.run_id, "stop release")
    ]
    for release in wait_out(platform.read_releases):
        if release.id in before.known and release.id in stopped:
            wait_out(lambda id=release.id: _bring_back(environment, id))  # type: ignore[misc]
    return_traffic(environment, before)
    stop_releases_of(platform, before)


def _keeps_old_secrets(environment: Environment, release: Release) -> bool:
    """Whether it was started before a rotation, and what starts it again gives it the values of then."""
    if Capability.SCALE in environment.platform.capabilities:
        return False
    connection, name = current_run().connection, environment.environment
    return was_rotated_since(connection, name, release.created_at, but_by=release.started_by)


def _bring_back(environment: Environment, release_id: str) -> None:
    """A stop that was asked for may be under way still, or have been undone by an earlier attempt at this."""
    platform = environment.platform
    if release_id in platform.read_traffic():
        return
    if _is_up(_read(platform, release_id)):
        stop_release(platform, release_id)
    stopped = _wait_until_stopped(platform, release_id)
    start_stopped_release(platform, stopped)
    wait_for_release(platform, release_id, environment.rollout.start_seconds)


def _wait_until_stopped(platform: Platform, release_id: str) -> Release:
    """Raises RefusedByPlatform when it does not stop."""
    deadline = time.monotonic() + STOP_SECONDS
    while True:
        release = _read(platform, release_id)
        if not _is_up(release):
            return release
        if time.monotonic() > deadline:
            raise RefusedByPlatform(f"Release {release_id} was asked to stop {STOP_SECONDS} s ago and runs still.")
        time.sleep(_PAUSE_SECONDS)


def _read(platform: Platform, release_id: str) -> Release:
    return next(one for one in platform.read_releases() if one.id == release_id)


def _is_up(release: Release) -> bool:
    return release.state in ("starting", "running")
