"""Sinks that keep every value as a version. The old ones are disabled once they are refused, and enabled on a way back.

Which ones, the plan has named: whatever came since is somebody else's. What the sink holds is never disabled.
"""

from typing import NamedTuple

from blocks.environment import Environment
from blocks.secrets.interface import RotatedSecret
from blocks.sinks.interface import VersionedSink, Versions
from tasks.effect import effect, read_effects
from tasks.ledger import current_run

DISABLE, ENABLE = "disable versions", "enable versions"
"""The effects that leave the numbers in the trail."""


class Versioned(NamedTuple):
    """One of them within a rotation, with one secret."""

    environment: Environment
    rotation: str
    """Id of the run that began it."""
    name: str
    secret: RotatedSecret
    sink: VersionedSink
    before: Versions
    """Those that were enabled before the rotation."""

    def disable(self) -> None:
        """Those of before, but for what the sink holds."""
        platform = self.environment.platform
        enabled = self.sink.read_enabled(platform, self.secret.variables)
        old = {
            variable: [number for number in numbers[:-1] if number in self.before.get(variable, [])]
            for variable, numbers in enabled.items()
        }
        if any(old.values()):
            with effect(DISABLE, **self._target, versions=old):
                self.sink.disable(platform, old)

    def put_back(self) -> None:
        """Enable what this rotation disabled, or may have, unless it was done."""
        if not read_effects(current_run().connection, "effect done", effect=ENABLE, **self._target):
            self.put_back_for_good()

    def put_back_for_good(self) -> None:
        """The same, once more: that it was disabled may have come late."""
        intended = read_effects(current_run().connection, "effect intended", effect=DISABLE, **self._target)
        taken = {
            variable: sorted({number for one in intended for number in one["versions"].get(variable, [])})
            for variable in self.secret.variables
        }
        if any(taken.values()):
            with effect(ENABLE, **self._target, versions=taken):
                self.sink.enable(self.environment.platform, taken)

    @property
    def _target(self) -> dict[str, str]:
        return {"secret": self.name, "sink": self.sink.named, "rotation": self.rotation}


def read_versions(environment: Environment, secret: RotatedSecret) -> dict[str, Versions]:
    """Of each of its sinks that keeps them, those that are enabled."""
    sinks = [sink for sink in secret.sinks if isinstance(sink, VersionedSink)]
    return {sink.named: sink.read_enabled(environment.platform, secret.variables) for sink in sinks}
