"""Sinks that give no value back. What one holds is concluded from its marks, which every write of it changes.

With the marks of before the rotation it holds what it held then, which is taken for the old value. With the marks that
were read after a write of this rotation it holds what that wrote. With others nobody can tell: where a write of this
rotation was never confirmed it may be that one, and else somebody else wrote.
"""

import time
from collections.abc import Mapping
from typing import NamedTuple

from blocks.environment import Environment
from blocks.errors import SecretIsBad, SomebodyElseChangedIt
from blocks.secrets.interface import RotatedSecret, fingerprint
from blocks.sinks.interface import Marks, Values, WriteOnlySink
from tasks.effect import effect, read_effects
from tasks.ledger import current_run

SUPPLY = "supply sink"
"""The effect that leaves a new value's fingerprint in the trail."""
_CONFIRM_SECONDS = 10.0
"""For a write to show. Nobody promises that a list is of the last moment."""
_PAUSE_SECONDS = 0.5


class WriteOnly(NamedTuple):
    """One of them within a rotation, with one secret."""

    environment: Environment
    rotation: str
    """Id of the run that began it."""
    name: str
    secret: RotatedSecret
    sink: WriteOnlySink
    old: Values
    before: Marks
    """Of before the rotation."""

    def supply(self, values: Values) -> None:
        """One that was given them last is left alone. Raises SecretIsBad for one that does not show a write."""
        marks = self._read_marks()
        if self._read_held(marks) != fingerprint(values):
            self._write(marks, values)

    def put_back(self) -> None:
        """Supply the old value. Raises SomebodyElseChangedIt where somebody else wrote to it."""
        if not self._read_held(self._read_marks()) and not self._has_unconfirmed():
            raise SomebodyElseChangedIt(f"{self.name}: somebody else wrote to {self.sink.named} meanwhile.")
        self.supply(self.old)

    def put_back_for_good(self) -> None:
        """Write the old value, whatever the marks say: a late write may have come in the second of the last one."""
        self._write(self._read_marks(), self.old)

    def describe(self, known: Mapping[str, Values | None]) -> str:
        """Which of these it was given last, in words, as far as that can be concluded."""
        held = self._read_held(self._read_marks())
        what = next((word for word, values in known.items() if values and held == fingerprint(values)), "")
        return f"was given {what} last" if what else "cannot be read back, nor is it known what it was given last"

    def _write(self, marks: Marks, values: Values) -> None:
        with effect(SUPPLY, **self._target, fingerprint=fingerprint(values)) as learnt:
            self.sink.write(self.environment.platform, values)
            learnt["marks"] = self._read_moved(marks, values)

    def _read_moved(self, before: Marks, values: Values) -> Marks:
        """Those of after a write, once each of them is another one. Raises SecretIsBad where one stays."""
        deadline = time.monotonic() + _CONFIRM_SECONDS
        while True:
            marks = self._read_marks()
            if all(name in marks and marks[name] != before.get(name) for name in values):
                return marks
            if time.monotonic() > deadline:
                raise SecretIsBad(f"{self.name}: {self.sink.named} took the value and does not show a write.")
            time.sleep(_PAUSE_SECONDS)

    def _read_held(self, marks: Marks) -> str:
        """Fingerprint of what it holds with these marks; empty where that cannot be told."""
        if marks == self.before:
            return fingerprint(self.old)
        done = read_effects(current_run().connection, "effect done", **self._target)
        return next((str(one["fingerprint"]) for one in reversed(done) if one["marks"] == marks), "")

    def _has_unconfirmed(self) -> bool:
        connection = current_run().connection
        begun, done = (read_effects(connection, f"effect {event}", **self._target) for event in ("intended", "done"))
        return len(begun) > len(done)

    def _read_marks(self) -> Marks:
        return self.sink.read_marks(self.environment.platform, self.secret.variables)

    @property
    def _target(self) -> dict[str, str]:
        return {"secret": self.name, "sink": self.sink.named, "rotation": self.rotation}
