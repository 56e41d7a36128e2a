"""The traffic of an environment: what it is, and moving it."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import task_run
from pydantic import BaseModel

from blocks.environment import Environment
from blocks.errors import BackstopError, RefusedByPlatform, SomebodyElseChangedIt
from blocks.platforms.interface import Capability, Platform, Release, Split
from tasks.effect import effect, read_intents
from tasks.ledger import current_run
from tasks.retry import is_passing


class TrafficBefore(BaseModel):
    """What a rollback returns to."""

    run_id: str
    """The run that is about to change the traffic."""
    version: str
    """The version that it brings."""
    split: Split
    """Release id → percent, before anything changed."""
    known: list[str]
    """Ids of all the releases that the platform knew before."""


def _in_words() -> str:
    split: Split = task_run.parameters["split"]
    return f"Shift traffic: {', '.join(f'{percent} % {id}' for id, percent in split.items())}"


# Repeating is safe: it looks again each time, and the split is set as a whole.
@task(
    name="Shift traffic",
    task_run_name=_in_words,
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=0.5,
    retry_condition_fn=is_passing,
)
def shift_traffic(platform: Platform, split: Split, before: TrafficBefore | None = None) -> None:
    """With `before`, only from a split that was before or that the run made. Raises SomebodyElseChangedIt.

    A split that is in force, as after a call that was carried out and not answered, is not asked for again.
    """
    now = platform.read_traffic()
    if before and not is_explained(platform, now, before):
        raise not_explained(now, before)
    if now == split:
        return
    with effect("shift traffic", split=split):
        platform.shift_traffic(split)


def is_explained(platform: Platform, split: Split, before: TrafficBefore) -> bool:
    """Whether the split is the one before the run, or one that the run made or may have made."""
    intents = read_intents(current_run().connection, before.run_id, "shift traffic")
    made = [intent["split"] for intent in intents]
    if split == before.split or split in made or split in _on_the_way(platform, made, before):
        return True
    return starting_is_shifting(platform) and set(split) <= {release.id for release in read_started(platform, before)}


def _on_the_way(platform: Platform, made: list[Split], before: TrafficBefore) -> list[Split]:
    """A platform with stages of its own reaches all traffic through the first of them."""
    return [
        mix_in(before.split, release, percent)
        for percent in platform.read_stages()[:1]
        for split in made
        for release, share in split.items()
        if share == 100
    ]


def check_steps(environment: Environment) -> str:
    """How the platform takes the rollout's steps, in words. Raises RefusedByPlatform where it cannot follow them."""
    platform, steps = environment.platform, environment.rollout.steps
    stages = platform.read_stages()
    if not stages:
        return "the platform has no stages of its own"
    if stages != steps:
        raise RefusedByPlatform(
            f"The project's stages are {stages}, and rollout.steps is {steps}.",
            "Make them the same, in the project's settings or in the environment file. Nothing was changed.",
        )
    if len(serving := platform.read_traffic()) > 1:
        raise RefusedByPlatform(
            f"A release is on its way through the stages already: {serving}.",
            "Complete it or give it up at the platform first. Nothing was changed.",
        )
    return f"they are the project's stages: {stages}"


def starting_is_shifting(platform: Platform) -> bool:
    """Whether a release that is started takes the traffic by itself, as soon as it is healthy."""
    return Capability.START_WITHOUT_TRAFFIC not in platform.capabilities


def read_started(platform: Platform, before: TrafficBefore) -> list[Release]:
    """What the run started, for the first time or again, or what its tag made somebody else start."""
    intents = read_intents(current_run().connection, before.run_id, "start stopped release")
    started_again = {intent["release"] for intent in intents}
    return [
        release
        for release in platform.read_releases()
        if release.started_by == before.run_id
        or release.id in started_again
        or (not release.started_by and release.version == before.version and release.id not in before.known)
    ]


def not_explained(split: Split, before: TrafficBefore) -> SomebodyElseChangedIt:
    return SomebodyElseChangedIt(
        f"The traffic of {current_run().environment} is {split}. Before run {before.run_id} it was {before.split},"
        " and that run never made it what it is."
    )


def read_main_release(platform: Platform) -> Release | None:
    """The release that has most of the traffic; None when none has any."""
    split = platform.read_traffic()
    known = {release.id: release for release in platform.read_releases()}
    return known.get(max(split, key=lambda id: split[id])) if split else None


def serves_visitors(environment: Environment) -> bool:
    """Whether a release has traffic. A platform that does not say is no reason not to look at the service."""
    try:
        return bool(environment.platform.read_traffic())
    except BackstopError:
        return True


def mix_in(before: Split, release_id: str, percent: int) -> Split:
    """`percent` for the new release, the rest for those before in their old proportion. Whole, adding up to 100."""
    others = {id: share for id, share in before.items() if id != release_id}
    rest = 100 - percent if others else 0
    total = sum(others.values())
    split = {id: share * rest // total for id, share in others.items()}
    if others:
        split[max(others, key=lambda id: others[id])] += rest - sum(split.values())
    return {id: share for id, share in {**split, release_id: 100 - rest}.items() if share}
