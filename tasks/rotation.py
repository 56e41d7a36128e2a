"""The steps of a rotation. New values are in this process, in the sinks and where they are checked, nowhere else."""

import math
import time
from collections.abc import Callable
from datetime import timedelta

from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.environment import Environment
from blocks.errors import Refused, SecretIsBad, SomebodyElseChangedIt
from blocks.ledger.rotations import OpenRotation, Secrets, forget, forget_ended, keep, read_open
from blocks.secrets.interface import AnySink, RotatedSecret, fingerprint
from blocks.sinks.interface import Marks, Values, VersionedSink, Versions, WriteOnlySink
from tasks.effect import effect, read_intents, read_unanswered
from tasks.ledger import current_run
from tasks.retry import is_passing, wait_out
from tasks.rotation_plan import RotationPlan, choose_secrets, read_old_values, read_sink
from tasks.secret_age import NEXT_MADE_KNOWN, PREVIOUS_RETIRED, ROTATED
from tasks.secret_report import read_wrong_reports
from tasks.traffic import TrafficBefore
from tasks.versioned_sink import DISABLE, Versioned
from tasks.write_only_sink import SUPPLY, WriteOnly

_PAUSE_SECONDS = 0.2
_LOOK_SECONDS = 1.0


class Rotating:
    """The values at hand. Not a model, nor a dataclass: nothing prints or stores what it holds."""

    def __init__(
        self, environment: Environment, run_id: str, old: Secrets, traffic: TrafficBefore, emergency: bool = False
    ) -> None:
        self.environment, self.run_id, self.old, self.traffic = environment, run_id, old, traffic
        self.emergency = emergency
        """The old ones have leaked: they never come back."""
        self.marks: dict[str, dict[str, Marks]] = {}
        """Secret → what write-only sink, as it is named → its marks of before."""
        self.versions: dict[str, dict[str, Versions]] = {}
        """Secret → what sink that keeps them → those that were enabled before."""
        self.new: Secrets = {}
        self.secrets: dict[str, RotatedSecret] = choose_secrets(environment, ",".join(old))
        self.retire_previous = False

    def make(self, name: str) -> Values:
        """What takes the place of the old."""
        secret, old = self.secrets[name], self.old[name]
        if self.emergency:
            return secret.make_alone(old)
        return secret.without_previous(old) if self.retire_previous else secret.make(old)

    def reached(self, name: str) -> str:
        """The event of the trail that tells it."""
        if self.retire_previous:
            return PREVIOUS_RETIRED
        used = self.secrets[name].variable
        return NEXT_MADE_KNOWN if self.new[name][used] == self.old[name][used] else ROTATED

    @property
    def still_accepted(self) -> dict[str, timedelta]:
        """Name → how long the one of before is needed after this, of those that leave it accepted."""
        return {
            name: secret.accepted_for
            for name, secret in self.secrets.items()
            if self.reached(name) == ROTATED and secret.without_previous(self.new[name]) != self.new[name]
        }

    @property
    def refused(self) -> set[str]:
        """Names of those whose old ones nobody accepts in the end."""
        known = {name for name in self.new if self.reached(name) == NEXT_MADE_KNOWN}
        return self.new.keys() - known - self.still_accepted.keys()

    @property
    def names(self) -> str:
        """In words, for people."""
        return ", ".join(self.secrets)


def open_rotation(environment: Environment, plan: RotationPlan) -> Rotating:
    """The old values are kept, sealed, for the way back."""
    run = current_run()
    old = read_old_values(environment, plan)
    forget_ended(run.connection, environment.environment)
    marks = {secret.name: secret.marks for secret in plan.secrets}
    versions = {secret.name: secret.versions for secret in plan.secrets}
    before = {"traffic": plan.traffic.model_dump(), "emergency": plan.emergency, "marks": marks, "versions": versions}
    keep(run.connection, run.id, environment.environment, before, old)
    rotating = Rotating(environment, run.id, old, plan.traffic, plan.emergency)
    rotating.marks, rotating.versions = marks, versions
    rotating.retire_previous = plan.retire_previous
    return rotating


def reopen_rotation(environment: Environment, run_id: str) -> Rotating | None:
    """That of a run, or the one that was left open; None where it was put back already."""
    found = read_open(current_run().connection, environment.environment, run_id)
    if found is None and not run_id:
        raise Refused(
            f"No rotation of {environment.environment} is left open.",
            "To leave the present secrets, start rotate-secrets: it makes new ones. Nothing was changed.",
        )
    return _rotating(environment, found) if found else None


def is_open_after_breach(environment: Environment) -> bool:
    """Whether the rotation that was left open, if any, only goes forward."""
    found = read_open(current_run().connection, environment.environment)
    return found is not None and bool(found.before["emergency"])


def close_rotation(rotating: Rotating) -> None:
    """Nothing of it is kept."""
    forget(current_run().connection, rotating.run_id)


# Repeating is safe: what was made is installed again.
@task(
    name="Install new secrets",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=1,
    retry_condition_fn=is_passing,
)
def install_new(rotating: Rotating) -> None:
    """New values are made, and accepted beside the old."""
    for name, secret in rotating.secrets.items():
        old = rotating.old[name]
        new = rotating.new.setdefault(name, rotating.make(name))
        with effect("install secret", secret=name):
            secret.install(old, new)
        secret.prove(new)


# Repeating is safe: a sink that holds the value is left alone.
@task(name="Supply sinks", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=1, retry_condition_fn=is_passing)
def supply_sinks(rotating: Rotating) -> None:
    """Every sink holds the new values. Raises SecretIsBad for one that does not keep what it took."""
    for name, secret, sink in sinks_of(rotating):
        write_sink(rotating, name, secret, sink, rotating.new[name])


@task(name="Prove that the new secrets are in use", cache_policy=NO_CACHE)
def prove_new_in_use(rotating: Rotating) -> None:
    """Nobody uses an old one any more. Raises SecretIsBad where somebody does after `leave_seconds`."""
    for name, secret in rotating.secrets.items():
        secret.prove(rotating.new[name])
        wait_until_reported(rotating, name, rotating.new[name])
        wait_until_left(rotating, name, secret)


# Repeating is safe: what is retired stays retired.
@task(name="Retire old secrets", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=1, retry_condition_fn=is_passing)
def retire_old(rotating: Rotating) -> None:
    """Every old one is refused. Raises SecretIsBad for one that is not."""
    for name, secret in rotating.secrets.items():
        with effect("retire secret", secret=name):
            secret.retire(rotating.old[name])
        secret.prove_refused(rotating.old[name])
        secret.prove(rotating.new[name])


# Repeating is safe: what is disabled stays disabled.
@task(
    name="Disable old versions", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=1, retry_condition_fn=is_passing
)
def disable_old_versions(rotating: Rotating) -> None:
    """No sink gives an old one to whoever asks for it by its number."""
    for versioned in versioned_sinks_of(rotating):
        if versioned.name in rotating.refused:
            versioned.disable()


def record_rotated(rotating: Rotating) -> str:
    """Date and fingerprint into the trail, never the value. What was reached, in words."""
    for name, new in rotating.new.items():
        secret = rotating.secrets[name]
        left = rotating.still_accepted.get(name)
        current_run().record(
            rotating.reached(name),
            secret=name,
            kind=secret.type,
            fingerprint=fingerprint(new),
            **({"previous_seconds": left.total_seconds()} if left is not None else {}),
        )
    return _outcome(rotating)


def _outcome(rotating: Rotating) -> str:
    if rotating.retire_previous:
        return "nobody accepts the previous ones any more"
    left = list(rotating.still_accepted)
    known = rotating.new.keys() - rotating.refused - {*left}
    told = {
        "every sink and consumer has the new {}, and the old is refused": rotating.refused,
        "every sink and consumer has the new {}; the old is accepted until it is retired": left,
        "the next {} is accepted everywhere, and will be used by one more rotation": known,
    }
    return "; ".join(sentence.format(", ".join(sorted(names))) for sentence, names in told.items() if names)


@task(name="Reinstate old secrets", cache_policy=NO_CACHE)
def reinstate_old(rotating: Rotating) -> None:
    """Every old one is accepted, and in every sink. Raises SomebodyElseChangedIt for a sink with a third one."""
    for name, secret in rotating.secrets.items():
        with effect("reinstate secret", secret=name):
            wait_out(_step(secret.reinstate, rotating.old[name]))
    for name, secret, sink in sinks_of(rotating):
        wait_out(lambda name=name, secret=secret, sink=sink: _return_sink(rotating, name, secret, sink))  # type: ignore[misc]


@task(name="Outwait late writes", cache_policy=NO_CACHE)
def outwait_late_writes(rotating: Rotating) -> None:
    """A write that nobody answered may arrive after all was put back: its sink is looked at until it cannot."""
    connection = current_run().connection
    unanswered = [one for what in (SUPPLY, DISABLE) for one in read_unanswered(connection, rotating.run_id, what)]
    read_at = time.monotonic()
    for name, secret, sink in sinks_of(rotating):
        ago = [ago for sent, ago in unanswered if (sent["secret"], sent["sink"]) == (name, sink.named)]
        deadline = read_at + sink.late_seconds(rotating.environment.platform) - min(ago, default=math.inf)
        while time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
            wait_out(lambda n=name, s=secret, to=sink: _return_sink(rotating, n, s, to))  # type: ignore[misc]
        if ago and isinstance(sink, WriteOnlySink):
            wait_out(write_only(rotating, name, secret, sink).put_back_for_good)
        if ago and isinstance(sink, VersionedSink):
            wait_out(versioned_sink(rotating, name, secret, sink).put_back_for_good)


@task(name="Withdraw new secrets", cache_policy=NO_CACHE)
def withdraw_new(rotating: Rotating) -> None:
    """Whatever the rotation installed beside the old ones is refused, and those are accepted."""
    for name, secret in rotating.secrets.items():
        with effect("withdraw secret", secret=name):
            wait_out(_step(secret.withdraw, rotating.old[name]))
        wait_out(_step(secret.prove, rotating.old[name]))
        wait_out(lambda name=name: wait_until_reported(rotating, name, rotating.old[name]))  # type: ignore[misc]


def _rotating(environment: Environment, found: OpenRotation) -> Rotating:
    traffic = TrafficBefore.model_validate(found.before["traffic"])
    rotating = Rotating(environment, found.run_id, found.unseal(), traffic, bool(found.before["emergency"]))
    rotating.marks, rotating.versions = found.before["marks"], found.before["versions"]
    return rotating


def sinks_of(rotating: Rotating) -> list[tuple[str, RotatedSecret, AnySink]]:
    """Each with the secret that it is given."""
    return [(name, secret, sink) for name, secret in rotating.secrets.items() for sink in secret.sinks]


def write_sink(rotating: Rotating, name: str, secret: RotatedSecret, sink: AnySink, values: Values) -> None:
    """One that holds them is left alone. Raises SecretIsBad for one that does not keep what it took."""
    environment = rotating.environment
    if isinstance(sink, WriteOnlySink):
        write_only(rotating, name, secret, sink).supply(values)
    elif read_sink(environment, secret, sink) != values:
        with effect(SUPPLY, secret=name, sink=sink.named, fingerprint=fingerprint(values)):
            sink.write(environment.platform, values)
        if read_sink(environment, secret, sink) != values:
            raise SecretIsBad(f"{name}: {sink.named} took the value and does not hold it.")


def _return_sink(rotating: Rotating, name: str, secret: RotatedSecret, sink: AnySink) -> None:
    """Only from a value that this rotation wrote, or may have written."""
    if isinstance(sink, WriteOnlySink):
        write_only(rotating, name, secret, sink).put_back()
        return
    held = read_sink(rotating.environment, secret, sink)
    if held != rotating.old[name] and not was_supplied(rotating, name, held):
        raise SomebodyElseChangedIt(f"{name}: what {sink.named} holds is neither the old value nor this rotation's.")
    write_sink(rotating, name, secret, sink, rotating.old[name])
    if isinstance(sink, VersionedSink):
        versioned_sink(rotating, name, secret, sink).put_back()


def write_only(rotating: Rotating, name: str, secret: RotatedSecret, sink: WriteOnlySink) -> WriteOnly:
    """The sink within this rotation."""
    before = rotating.marks.get(name, {}).get(sink.named, {})
    return WriteOnly(rotating.environment, rotating.run_id, name, secret, sink, rotating.old[name], before)


def versioned_sink(rotating: Rotating, name: str, secret: RotatedSecret, sink: VersionedSink) -> Versioned:
    """The sink within this rotation."""
    before = rotating.versions.get(name, {}).get(sink.named, {})
    return Versioned(rotating.environment, rotating.run_id, name, secret, sink, before)


def versioned_sinks_of(rotating: Rotating) -> list[Versioned]:
    """Those that keep old values, each with the secret that it is given."""
    return [
        versioned_sink(rotating, name, secret, sink)
        for name, secret, sink in sinks_of(rotating)
        if isinstance(sink, VersionedSink)
    ]


def was_supplied(rotating: Rotating, name: str, held: Values) -> bool:
    """Whether this rotation gave it to a sink, or may have."""
    intents = read_intents(current_run().connection, rotating.run_id, SUPPLY)
    return any((intent["secret"], intent["fingerprint"]) == (name, fingerprint(held)) for intent in intents)


def wait_until_left(rotating: Rotating, name: str, secret: RotatedSecret) -> None:
    """Raises SecretIsBad where somebody uses the old one after `leave_seconds`."""
    _wait_until_none(
        rotating, lambda: secret.read_users(rotating.old[name]), f"{name}: the old one is in use still", "by "
    )


def wait_until_reported(rotating: Rotating, name: str, values: Values) -> None:
    """Raises SecretIsBad where the service reports others than these after `leave_seconds`."""
    expected = rotating.secrets[name].report_of(values)
    _wait_until_none(
        rotating,
        lambda: read_wrong_reports(rotating.environment, expected),
        f"{name}: the service does not report what it was given",
    )


def _wait_until_none(rotating: Rotating, look: Callable[[], list[str]], problem: str, by: str = "") -> None:
    """For `leave_seconds`. Raises SecretIsBad with what is found still."""
    policy = rotating.environment.secrets
    seconds = policy.leave_seconds if policy else 0
    deadline = time.monotonic() + seconds
    while found := look():
        if time.monotonic() > deadline:
            raise SecretIsBad(f"{problem} after {seconds:g} s, {by}{', '.join(found)}.")
        time.sleep(_PAUSE_SECONDS)


def _step(act: Callable[[Values], None], values: Values) -> Callable[[], None]:
    return lambda: act(values)
