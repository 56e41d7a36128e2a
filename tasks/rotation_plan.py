"""What a rotation of secrets is about to do, as data: read from the real world, shown, then followed."""

import hashlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel

from blocks.environment import Environment
from blocks.errors import BackstopError, BadParameter, EnvironmentBusy, Refused, Unmet
from blocks.ledger.fence import describe_holder, read_holder
from blocks.ledger.rotations import Secrets, read_open
from blocks.secrets.interface import RotatedSecret, fingerprint
from blocks.sinks.interface import Marks, ReadableSink, Values, Versions, WriteOnlySink
from tasks.deploy_plan import read_traffic_before
from tasks.ledger import current_run
from tasks.markdown import plain
from tasks.prerequisite import Prerequisite
from tasks.previous_secret import measure_needed
from tasks.secret_age import read_ages, read_previous
from tasks.secret_report import read_wrong_reports
from tasks.traffic import TrafficBefore
from tasks.versioned_sink import read_versions


class PlannedSecret(BaseModel):
    name: str
    kind: str
    effect: str
    """What its rotation means."""
    interrupted: list[str]
    """Who is, and until when."""
    sinks: list[str]
    age: str
    """In words."""
    fingerprint: str
    """Of the one that is there now; empty where there is not one."""
    given: str = ""
    """Of the new one, where somebody gave it; else empty."""
    marks: dict[str, Marks] = {}
    """Of its sinks that give no value back."""
    versions: dict[str, Versions] = {}
    """Of its sinks that keep every value, those that are enabled."""


class RotationPlan(BaseModel):
    """Everything that the rotation follows. Its fingerprint covers all of it but words and ages."""

    environment: str
    emergency: bool
    """The old ones have leaked: they are cut first, and never come back."""
    retire_previous: bool = False
    """Nothing new is made: what is accepted beside the present ones is retired."""
    secrets: list[PlannedSecret]
    traffic: TrafficBefore
    prerequisites: list[Prerequisite]

    @property
    def names(self) -> str:
        """In words, for people."""
        return ", ".join(secret.name for secret in self.secrets)

    @property
    def title(self) -> str:
        """In words, for people."""
        done = "Retire the previous" if self.retire_previous else "Rotate"
        return f"{done} {self.names} of {self.environment}{' after a breach' if self.emergency else ''}"

    @property
    def fingerprint(self) -> str:
        followed = self.model_dump_json(
            exclude={"prerequisites": True, "secrets": {"__all__": {"age", "effect", "interrupted"}}}
        )
        return hashlib.sha256(followed.encode()).hexdigest()[:16]


@task(name="Plan rotation", cache_policy=NO_CACHE)
def plan_rotation(
    environment: Environment, names: str, emergency: bool = False, retire_previous: bool = False
) -> RotationPlan:
    """Read everything that the rotation depends on. Raises BadParameter, Refused or EnvironmentBusy."""
    if emergency and retire_previous:
        raise BadParameter("retire_previous", retire_previous, "false after a breach, which leaves no previous one")
    require_nobody_rotates(environment)
    chosen = _choose(environment, names, retire_previous)
    ages = read_ages(current_run().connection, environment.environment)
    lines = [_line("one release has the traffic", lambda: _one_release(environment))]
    lines.append(_line("no rotation left open", lambda: _none_open(environment)))
    planned = []
    for name, secret in chosen.items():
        there = _line(f"{name}: its sinks agree", lambda secret=secret: fingerprint(read_agreed(environment, secret)))  # type: ignore[misc]
        lines.append(there.model_copy(update={"detail": "they hold the same"}) if there.met else there)
        marks, marked = _read_marks(environment, name, secret)
        versions, listed = _read_versions(environment, name, secret)
        lines += [*marked, *listed]
        if there.met:
            needed = partial(_not_needed, environment, name, secret)
            look = partial(_no_obstacle, environment, secret, emergency)
            may = "the previous one is needed no more" if retire_previous else "can be rotated"
            lines.append(_line(f"{name}: {may}", needed if retire_previous else look))
            lines.append(_line(f"{name}: in use", partial(_is_reported, environment, secret)))
        planned.append(
            PlannedSecret(
                name=name,
                kind=secret.type,
                effect=_effect(secret, emergency, retire_previous),
                interrupted=[sink.readers for sink in secret.sinks] if emergency else [],
                sinks=[sink.named for sink in secret.sinks],
                age=_in_words(ages.get(name)),
                fingerprint=there.detail if there.met else "",
                given=_fingerprint_of_given(secret),
                marks=marks,
                versions=versions,
            )
        )
    return RotationPlan(
        environment=environment.environment,
        emergency=emergency,
        retire_previous=retire_previous,
        secrets=planned,
        traffic=read_traffic_before(environment.platform, ""),
        prerequisites=lines,
    )


def require_nobody_rotates(environment: Environment) -> None:
    """Raises EnvironmentBusy with who does. Its sinks would only seem to disagree."""
    holder = read_holder(current_run().connection, environment.environment)
    if holder and holder["run_id"] != current_run().id and holder["procedure"] in _ROTATING:
        raise EnvironmentBusy(*describe_holder(environment.environment, holder))


def choose_secrets(environment: Environment, names: str) -> dict[str, RotatedSecret]:
    """Those that are named, by commas; all where none is. Raises BadParameter, or Refused where there are none."""
    known: dict[str, RotatedSecret] = dict(environment.secrets.rotated) if environment.secrets else {}
    if not known:
        raise Refused(
            f"{environment.environment} names no secrets to rotate.",
            "Add the part `secrets` to its file and apply it. Nothing was changed.",
        )
    asked = [name.strip() for name in names.split(",") if name.strip()]
    if unknown := [name for name in asked if name not in known]:
        raise BadParameter("secrets", ", ".join(unknown), f"{', '.join(known)}; by commas, empty for all")
    return {name: secret for name, secret in known.items() if not asked or name in asked}


def _choose(environment: Environment, names: str, retire_previous: bool) -> dict[str, RotatedSecret]:
    """To retire, without names: those of which a rotation left a previous one accepted."""
    chosen = choose_secrets(environment, names)
    if not retire_previous or names.strip():
        return chosen
    left = read_previous(current_run().connection, environment.environment)
    if found := {name: secret for name, secret in chosen.items() if name in left}:
        return found
    raise Refused(f"No rotation of {environment.environment} left a previous secret accepted.")


def read_agreed(environment: Environment, secret: RotatedSecret) -> Values:
    """What all its sinks hold that can be read. Raises Unmet where one has nothing, or they differ."""
    held = {s.named: read_sink(environment, secret, s) for s in secret.sinks if isinstance(s, ReadableSink)}
    if without := [named for named, values in held.items() if not values.get(secret.variable)]:
        raise Unmet(f"{' and '.join(without)} holds no {secret.variable}")
    first, *others = held
    if differing := [named for named in others if held[named] != held[first]]:
        raise Unmet(f"{' and '.join(differing)} holds another {secret.variable} than {first}")
    return held[first]


def read_marks(environment: Environment, secret: RotatedSecret) -> dict[str, Marks]:
    """Of each of its sinks that gives no value back. Raises Unmet where one has nothing."""
    sinks = [sink for sink in secret.sinks if isinstance(sink, WriteOnlySink)]
    marks = {sink.named: sink.read_marks(environment.platform, secret.variables) for sink in sinks}
    if without := [named for named, found in marks.items() if secret.variable not in found]:
        raise Unmet(f"{' and '.join(without)} holds no {secret.variable}")
    return marks


def read_sink(environment: Environment, secret: RotatedSecret, sink: ReadableSink) -> Values:
    """All that the secret consists of; what the sink does not have is empty."""
    return {**dict.fromkeys(secret.variables, ""), **sink.read(environment.platform, secret.variables)}


def read_old_values(environment: Environment, plan: RotationPlan) -> Secrets:
    """Of every secret of the plan. Raises Unmet, or Refused where they are no longer those of the plan."""
    chosen = choose_secrets(environment, plan.names)
    old = {name: read_agreed(environment, secret) for name, secret in chosen.items()}
    if changed := [planned.name for planned in plan.secrets if fingerprint(old[planned.name]) != planned.fingerprint]:
        raise Refused(f"{', '.join(changed)} changed since plan {plan.fingerprint} was made.")
    return old


def publish_rotation_plan(plan: RotationPlan) -> None:
    """Show the plan on the run's page, and record its fingerprint."""
    current_run().record("plan made", fingerprint=plan.fingerprint, secrets=plan.names)
    current_run().facts.update(secrets=plan.names, plan=plan.fingerprint)
    create_markdown_artifact("\n".join(_page(plan)), key="plan", description=plan.title[:200])


def require_possible(plan: RotationPlan) -> None:
    """Raises Unmet with every prerequisite that does not hold."""
    if unmet := [f"{line.name}: {line.detail}" for line in plan.prerequisites if not line.met]:
        raise Unmet(f"{plan.names} of {plan.environment} cannot be {_done(plan)} ({'; '.join(unmet)}).")


def confirm_unchanged(plan: RotationPlan, now: RotationPlan) -> None:
    """Under the lock, read again. Raises Refused when the world is no longer the plan's."""
    require_possible(now)
    if now.fingerprint != plan.fingerprint:
        raise Refused(
            f"{plan.environment} changed since plan {plan.fingerprint} was made. Start again with a new plan."
        )


def _read_marks(
    environment: Environment, name: str, secret: RotatedSecret
) -> tuple[dict[str, Marks], list[Prerequisite]]:
    """With the line that says so; without one where all its sinks give the value back."""
    line = Prerequisite(name=f"{name}: there, where it cannot be read back", met=True, detail="")
    try:
        marks = read_marks(environment, secret)
    except BackstopError as error:
        return {}, [line.model_copy(update={"met": False, "detail": error.message})]
    told = [f"{named}: {name} of {mark}" for named, found in marks.items() for name, mark in found.items()]
    return marks, [line.model_copy(update={"detail": "; ".join(told)})] if marks else []


def _read_versions(
    environment: Environment, name: str, secret: RotatedSecret
) -> tuple[dict[str, Versions], list[Prerequisite]]:
    """With the line that says so; without one where no sink keeps any."""
    line = Prerequisite(name=f"{name}: versions that can be asked for", met=True, detail="")
    try:
        versions = read_versions(environment, secret)
    except BackstopError as error:
        return {}, [line.model_copy(update={"met": False, "detail": error.message})]
    told = [f"{len(numbers)} of {variable}" for kept in versions.values() for variable, numbers in kept.items()]
    return versions, [line.model_copy(update={"detail": "; ".join(told)})] if versions else []


def _one_release(environment: Environment) -> str:
    split = environment.platform.read_traffic()
    if len(split) > 1:
        raise BackstopError(f"it is shared: {', '.join(f'{id} {percent} %' for id, percent in split.items())}")
    return next(iter(split), "none does: nothing has to be started anew")


def _none_open(environment: Environment) -> str:
    left = read_open(current_run().connection, environment.environment)
    if left:
        raise BackstopError(f"run {left.run_id} left one; `backstop run roll-back-rotation` puts it back")
    return "none is"


def _fingerprint_of_given(secret: RotatedSecret) -> str:
    """So that an approval is for that very value. What keeps it from being read is a prerequisite."""
    try:
        return fingerprint(secret.make({})) if secret.is_given else ""
    except BackstopError:
        return ""


def _not_needed(environment: Environment, name: str, secret: RotatedSecret) -> str:
    held = read_agreed(environment, secret)
    if needed := measure_needed(environment, name, secret, held):
        raise BackstopError("; ".join(needed))
    return "nothing needs it"


def _no_obstacle(environment: Environment, secret: RotatedSecret, emergency: bool) -> str:
    old = read_agreed(environment, secret)
    if obstacles := [*secret.read_obstacles(old), *(secret.read_cut_obstacles(old) if emergency else [])]:
        raise BackstopError("; ".join(obstacles))
    return "nothing is in the way"


def _effect(secret: RotatedSecret, emergency: bool, retire_previous: bool) -> str:
    if retire_previous:
        return "those of before are accepted no more"
    return secret.interruption if emergency else secret.effect


def _is_reported(environment: Environment, secret: RotatedSecret) -> str:
    expected = secret.report_of(read_agreed(environment, secret))
    if wrong := read_wrong_reports(environment, expected):
        raise BackstopError("; ".join(wrong))
    return "the service reports it" if expected else "nobody reports it"


def _line(name: str, look: Callable[[], str]) -> Prerequisite:
    try:
        return Prerequisite(name=name, met=True, detail=look())
    except BackstopError as error:
        return Prerequisite(name=name, met=False, detail=error.message)


_ROTATING = ("rotate-secrets", "roll-back-rotation", "recover")
_UNDO = "the old values in every sink, the releases of before, the new values refused"
_UNREAD = "Nobody sees what it holds now. That it took a new value is seen by when it was last written."
_UNREAD_UNDO = " The undo writes to it what the other sinks hold now."
_DISABLED = "Once the old ones are refused, whoever asks for their versions by number gets nothing; none is destroyed."
_ENABLED = " The undo enables them again."
_NEVER_BACK = "none: it only goes forward, and no old value comes back"


def _in_words(age: timedelta | None) -> str:
    return f"{age.total_seconds() / 86400:.1f} days" if age is not None else "never rotated"


def _page(plan: RotationPlan) -> Iterator[str]:
    yield f"# {plain(plan.title)}"
    yield f"Plan `{plan.fingerprint}`"
    yield ""
    yield "| secret | kind | age | what it means | written to |"
    yield "|---|---|---|---|---|"
    for secret in plan.secrets:
        cells = (secret.name, secret.kind, secret.age, secret.effect, ", ".join(secret.sinks))
        yield f"| {' | '.join(plain(cell) for cell in cells)} |"
    yield ""
    for secret in plan.secrets:
        if secret.marks:
            where = f"{plain(' and '.join(secret.marks))} ({plain(secret.name)})"
            yield f"- **Cannot be read back:** {where}. {_UNREAD}{'' if plan.emergency else _UNREAD_UNDO}"
        if secret.versions:
            where = f"{plain(' and '.join(secret.versions))} ({plain(secret.name)})"
            yield f"- **Versions:** {where}. {_DISABLED}{'' if plan.emergency else _ENABLED}"
    if plan.emergency:
        yield "- **First:** the old ones are refused, and whoever is logged in with one is thrown out."
        yield from (
            f"- **Interrupted:** {plain(one)} ({plain(s.name)})." for s in plan.secrets for one in s.interrupted
        )
    yield "- **Then:** the release with the traffic is started anew, every other is stopped where the platform can,"
    yield "  the old ones are refused, unless it is said that they stay accepted."
    yield f"- **Undo:** {_NEVER_BACK if plan.emergency else _UNDO}."
    yield ""
    yield "## Prerequisites"
    yield "| what must hold | | how it stands |"
    yield "|---|---|---|"
    yield from (f"| {line.name} | {'✓' if line.met else '✗'} | {plain(line.detail)} |" for line in plan.prerequisites)


def _done(plan: RotationPlan) -> str:
    return "retired" if plan.retire_previous else "rotated"
