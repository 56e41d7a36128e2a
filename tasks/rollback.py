"""Putting traffic back: look first, act only on what the run made, then verify."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.environment import Environment
from blocks.errors import BackstopError, BadParameter, ReleaseIsBad
from blocks.platforms.interface import Platform, Release, Split
from tasks.effect import effect
from tasks.ledger import current_run
from tasks.question import Effect, Question, fingerprint_of
from tasks.release import stop_release
from tasks.retry import wait_out
from tasks.traffic import (
    TrafficBefore,
    is_explained,
    not_explained,
    read_main_release,
    read_started,
    shift_traffic,
    starting_is_shifting,
)
from tasks.version import check_version


# Repeating is safe: it looks again each time, and the split is set as a whole.
@task(name="Return traffic", cache_policy=NO_CACHE)
def return_traffic(environment: Environment, before: TrafficBefore) -> None:
    """Make the split what it was before, as soon as the platform answers.

    Raises SomebodyElseChangedIt when no run explains the one in force.
    """
    wait_out(lambda: _return_traffic(environment, before))


def _return_traffic(environment: Environment, before: TrafficBefore) -> None:
    platform = environment.platform
    if starting_is_shifting(platform):
        _stop_releases_of(platform, before)  # what is on its way would take the traffic later
    split = platform.read_traffic()
    if split == before.split:
        return
    if not (is_explained(platform, split, before) or _ci_may_have_made(environment, before, split)):
        raise not_explained(split, before)
    with effect("shift traffic", split=before.split):
        platform.shift_traffic(before.split)


def question_of(environment: str, to: str, cause: str) -> Question:
    """What the approvers of a rollback that somebody asked for decide on."""
    target = to or "the last good release"
    facts = {"return to": target, "cause": cause or "not given"}
    return Question(
        title=f"Roll {environment} back to {target}",
        fingerprint=fingerprint_of(facts),
        facts=facts,
        effects=[Effect(what=f"gives {target} all traffic and stops the present one", undo="traffic as it is now")],
    )


def stop_releases_of(platform: Platform, before: TrafficBefore) -> None:
    """Stop what the run started: nothing else, and nothing that has traffic."""
    wait_out(lambda: _stop_releases_of(platform, before))


def _stop_releases_of(platform: Platform, before: TrafficBefore) -> None:
    traffic = platform.read_traffic()
    for release in read_started(platform, before):
        if release.id not in traffic and release.state != "stopped":
            stop_release(platform, release.id)


def read_versions_before(platform: Platform, before: TrafficBefore) -> list[str]:
    """The versions that had the traffic, the one with most of it first."""
    versions = {release.id: release.version for release in wait_out(platform.read_releases)}
    by_share = sorted(before.split, key=lambda id: -before.split[id])
    return list(dict.fromkeys(versions[id] for id in by_share if id in versions))


def find_good_release(environment: Environment, to: str) -> Release:
    """The release to return to: of version `to`, or the newest older than the present one that is not known as bad.

    Raises BadParameter or ReleaseIsBad when the platform knows none.
    """
    releases = environment.platform.read_releases()
    if to:
        check_version(to, "to")
        named = [release for release in releases if release.version == to and release.state != "failed"]
        if not named:
            known = sorted({release.version for release in releases if release.state != "failed"})
            raise BadParameter("to", to, f"a version that the platform still knows: {', '.join(known) or 'none'}")
        return named[0]
    main = read_main_release(environment.platform)
    bad = _bad_versions(environment.environment)
    for release in releases:
        older = main is None or (release.created_at < main.created_at and release.version != main.version)
        if older and release.state != "failed" and release.version not in bad:
            return release
    raise ReleaseIsBad(
        "The platform knows no good release before the present one.",
        "Name one with the parameter 'to', or deploy one. Nothing was changed.",
    )


def retire_releases(platform: Platform, spare: int) -> None:
    """Stop running releases without traffic, but for the newest `spare`. A failure is recorded, no more."""
    try:
        traffic = platform.read_traffic()
        idle = [release for release in platform.read_releases() if release.id not in traffic]
        for release in [release for release in idle if release.state == "running"][spare:]:
            stop_release(platform, release.id)
    except BackstopError as error:
        current_run().record("releases not retired", reason=error.message)


def give_all_traffic(platform: Platform, release: Release) -> None:
    if platform.read_traffic() != {release.id: 100}:
        shift_traffic(platform, {release.id: 100})


def _ci_may_have_made(environment: Environment, before: TrafficBefore, split: Split) -> bool:
    """Where CI shifts the traffic, no intent of the run tells which splits it sets off."""
    if environment.rollout.deployer != "tag":
        return False
    made = {release.id for release in read_started(environment.platform, before)}
    return set(split) <= {*made, *before.split}


def record_choice(left: Release | None, chosen: Release) -> None:
    """Somebody left one release for another: the one is not returned to later, the other may be."""
    if left and left.version != chosen.version:
        current_run().record("release chosen", left=left.version, chosen=chosen.version)


def _bad_versions(environment: str) -> set[str]:
    """Those whose last deploy was rolled back, or that somebody has left for another one since."""
    rows = current_run().connection.execute(
        "SELECT DISTINCT ON (version) version, good FROM ("
        " SELECT parameters->>'version' AS version, ending = 'Done' AS good, ended_at FROM run"
        " WHERE procedure = 'deploy' AND environment = %(environment)s AND ending IN ('Done', 'Rolled back')"
        " AND coalesce(parameters->>'plan_only', 'false') = 'false'"
        " UNION ALL"
        " SELECT choice.version, choice.good, at::timestamptz FROM audit,"
        " LATERAL (VALUES (detail->>'left', false), (detail->>'chosen', true)) AS choice (version, good)"
        " WHERE event = 'release chosen' AND environment = %(environment)s"
        ") AS judgement (version, good, at) ORDER BY version, at DESC",
        {"environment": environment},
    )
    return {str(row["version"]) for row in rows if not row["good"]}
