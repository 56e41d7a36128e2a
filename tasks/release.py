"""Releases: start one without traffic, wait for it, stop it; and the tag that names it."""

import time

from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.environment import Environment
from blocks.errors import BackstopError, NotMeasurable, ReleaseIsBad, SomebodyElseChangedIt, Unreachable
from blocks.platforms.interface import Capability, Platform, Release
from blocks.reference import resolve
from blocks.sources.git_repository import GitRepository
from tasks.effect import effect
from tasks.health import read_version
from tasks.ledger import current_run
from tasks.retry import is_passing


# Repeating is safe: a tag that exists stays, a push of it again changes nothing.
@task(
    name="Create release tag",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=1,
    retry_condition_fn=is_passing,
)
def create_release_tag(source: GitRepository, version: str, commit: str) -> None:
    with effect("create tag", version=version, commit=commit):
        source.create_tag(version, commit, f"Release {version}")


# Repeating is safe: a tag that is gone stays gone.
@task(
    name="Delete release tag",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=1,
    retry_condition_fn=is_passing,
)
def delete_release_tag(source: GitRepository, version: str, commit: str) -> None:
    """Raises SomebodyElseChangedIt when the tag no longer stands on `commit`."""
    found = source.read_tag(version)
    if found not in (None, commit):
        raise SomebodyElseChangedIt(f"The tag {version} stands on {found} now; this run put it on {commit}.")
    with effect("delete tag", version=version):
        source.delete_tag(version)


# Repeating is safe: the platform returns the release that it already made for this run.
@task(
    name="Start release",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=1,
    retry_condition_fn=is_passing,
)
def start_release(platform: Platform, version: str, commit: str) -> Release:
    run_id = current_run().id
    with effect("start release", version=version, commit=commit, run_id=run_id):
        return platform.start_release(version, commit, run_id)


@task(name="Wait for release", cache_policy=NO_CACHE)
def wait_for_release(platform: Platform, release_id: str, seconds: float) -> Release:
    """The release once it runs. Raises ReleaseIsBad when it fails or takes longer than `seconds`.

    A platform that does not answer meanwhile is asked again. Raises Unreachable when it does not in the end.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            release = _find(platform.read_releases(), release_id)
        except Unreachable:
            if time.monotonic() >= deadline:
                raise
        else:
            if release.state == "running":
                return release
            if release.state != "starting":
                raise ReleaseIsBad(f"Release {release.version} did not start: {release.detail or release.state}.")
            if time.monotonic() >= deadline:
                raise ReleaseIsBad(f"Release {release.version} was not healthy within {seconds:g} s of its start.")
        time.sleep(platform.look_seconds)


@task(name="Follow release", cache_policy=NO_CACHE)
def follow_release(environment: Environment, version: str, seconds: float) -> Release:
    """Wait until what the pushed tag set off has given `version` all traffic, and the service says so.

    Raises NotMeasurable when that did not happen within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        split = environment.platform.read_traffic()
        for release in environment.platform.read_releases():
            if release.version == version and split == {release.id: 100} and _answers(environment, version):
                return release
        time.sleep(max(environment.platform.look_seconds, 0.5))
    raise NotMeasurable(f"{seconds:g} s after the tag was pushed, {version} does not have the traffic.")


# Repeating is safe: a release that runs as asked is left alone.
@task(
    name="Start stopped release",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=1,
    retry_condition_fn=is_passing,
)
def start_stopped_release(platform: Platform, release: Release) -> None:
    with effect("start stopped release", release=release.id):
        platform.scale_release(release.id, max(release.replicas, 1))


# Repeating is safe: a stopped release stays stopped. Never one with traffic: the platform refuses.
@task(
    name="Stop release",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=1,
    retry_condition_fn=is_passing,
)
def stop_release(platform: Platform, release_id: str) -> None:
    """Where the platform cannot, it keeps what has no traffic, and removes it when it pleases."""
    if Capability.STOP not in platform.capabilities:
        return
    with effect("stop release", release=release_id):
        platform.stop_release(release_id)


def _find(releases: list[Release], release_id: str) -> Release:
    for release in releases:
        if release.id == release_id:
            return release
    raise ReleaseIsBad(f"The platform no longer knows release {release_id}.")


def _answers(environment: Environment, version: str) -> bool:
    try:
        return read_version(environment.service, resolve(environment.service.url)) == version
    except BackstopError:
        return False
