"""The steps of a rotation whose old values have leaked: they are cut first and never come back. It only goes forward.

What fails for one secret or sink keeps nobody from the others; in the end it is told how everything stands.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.environment import Environment
from blocks.errors import BackstopError, FenceLost, SecretIsBad
from blocks.secrets.interface import AnySink, RotatedSecret
from blocks.sinks.interface import ReadableSink, Values, WriteOnlySink
from tasks.consumers import renew_consumers
from tasks.deploy_plan import read_traffic_before
from tasks.effect import effect
from tasks.health import verify_answers
from tasks.retry import wait_out
from tasks.rotation import (
    Rotating,
    sinks_of,
    versioned_sinks_of,
    wait_until_left,
    wait_until_reported,
    was_supplied,
    write_only,
    write_sink,
)
from tasks.rotation_plan import read_sink

FINISH = "Put that right, then start roll-back-rotation: it goes on from there, and no old value comes back."


class Failures:
    """What did not work, in words; the rest goes on."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.secrets: set[str] = set()
        """Those that are not to be given to anybody: their new one does not work."""

    @contextmanager
    def noted(self, secret: str = "") -> Iterator[None]:
        """A failure inside is noted. FenceLost is let through: then another run acts."""
        try:
            yield
        except FenceLost:
            raise
        except BackstopError as error:
            self.reasons.append(error.message)
            self.secrets |= {secret} - {""}


@task(name="Cut old secrets", cache_policy=NO_CACHE)
def cut_old(rotating: Rotating, failures: Failures) -> None:
    """Every old one is refused, and nobody is logged in with it."""
    for name, secret in rotating.secrets.items():
        with failures.noted():
            with effect("cut secret", secret=name):
                wait_out(lambda secret=secret, old=rotating.old[name]: _cut(secret, old))  # type: ignore[misc]
            wait_until_left(rotating, name, secret)


@task(name="Replace cut secrets", cache_policy=NO_CACHE)
def replace_cut(rotating: Rotating, failures: Failures) -> None:
    """New ones are made and accepted, unless a run that died has given one to a sink already."""
    for name, secret in rotating.secrets.items():
        with failures.noted(name):
            new = rotating.new.setdefault(name, _read_supplied(rotating, name) or rotating.make(name))
            with effect("install secret", secret=name):
                wait_out(lambda secret=secret, name=name, new=new: secret.install(rotating.old[name], new))  # type: ignore[misc]
            secret.prove(new)


@task(name="Supply all sinks", cache_policy=NO_CACHE)
def supply_all_sinks(rotating: Rotating, failures: Failures) -> None:
    """Every sink that takes it holds the new one."""
    for name, secret, sink in sinks_of(rotating):
        if name not in failures.secrets:
            with failures.noted():
                wait_out(lambda n=name, s=secret, to=sink: write_sink(rotating, n, s, to, rotating.new[n]))  # type: ignore[misc]


@task(name="Start interrupted consumers anew", cache_policy=NO_CACHE)
def renew_interrupted(environment: Environment, failures: Failures) -> None:
    """From the releases of this moment: a run that died may have started one."""
    with failures.noted():
        renew_consumers(environment, read_traffic_before(environment.platform, ""))
        verify_answers(environment.service)


@task(name="Disable leaked versions", cache_policy=NO_CACHE)
def disable_leaked(rotating: Rotating, failures: Failures) -> None:
    """No sink gives an old one to whoever asks for it by its number."""
    for versioned in versioned_sinks_of(rotating):
        if versioned.name in rotating.refused:
            with failures.noted():
                wait_out(versioned.disable)


@task(name="Prove that nothing is left open", cache_policy=NO_CACHE)
def prove_finished(rotating: Rotating, failures: Failures) -> None:
    """Every old one is refused, every new one accepted. Raises SecretIsBad with how things stand."""
    for name, secret in rotating.secrets.items():
        with failures.noted():
            secret.prove_refused(rotating.old[name])
            if name in rotating.new:  # else why not was noted
                secret.prove(rotating.new[name])
                wait_until_reported(rotating, name, rotating.new[name])
    if failures.reasons:
        told = [*failures.reasons, *_standing(rotating)]
        raise SecretIsBad(" ".join(told), FINISH)


def _cut(secret: RotatedSecret, old: Values) -> None:
    secret.retire(old)
    secret.end_sessions(old)


def _read_supplied(rotating: Rotating, name: str) -> Values | None:
    """What one of its sinks was given by a run of this rotation that died."""
    for other, secret, sink in sinks_of(rotating):
        if other == name and isinstance(sink, ReadableSink):
            held = _read(rotating, secret, sink)
            if held and held != rotating.old[name] and was_supplied(rotating, name, held):
                return held
    return None


def _read(rotating: Rotating, secret: RotatedSecret, sink: ReadableSink) -> Values | None:
    """None where it does not say."""
    try:
        return read_sink(rotating.environment, secret, sink)
    except BackstopError:
        return None


def _standing(rotating: Rotating) -> Iterator[str]:
    """A sentence for every secret and sink."""
    for name, secret in rotating.secrets.items():
        yield f"{name}: the old one is {_acceptance(secret, rotating.old[name])}."
    for name, secret, sink in sinks_of(rotating):
        yield f"{name}: {sink.named} {_holding(rotating, name, secret, sink)}."


def _holding(rotating: Rotating, name: str, secret: RotatedSecret, sink: AnySink) -> str:
    known = {"the new one": rotating.new.get(name), "the old one": rotating.old[name]}
    if isinstance(sink, WriteOnlySink):
        try:
            return write_only(rotating, name, secret, sink).describe(known)
        except BackstopError:
            return "does not answer"
    held = _read(rotating, secret, sink)
    what = next((word for word, values in known.items() if held == values), "another one")
    return "cannot be read" if held is None else f"holds {what}"


def _acceptance(secret: RotatedSecret, old: Values) -> str:
    if secret.is_held:
        return "refused by whoever was started with the new one"
    try:
        secret.prove_refused(old)
    except SecretIsBad:
        return "ACCEPTED STILL"
    except BackstopError:
        return "refused or not: that cannot be seen now"
    return "refused"
