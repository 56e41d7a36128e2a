"""Variables of the platform that nobody can read back, as Vercel's sensitive ones. The next release has them."""

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from blocks.platforms.interface import Platform
from blocks.sinks.interface import Marks, Values, WriteOnlySink


class PlatformSealed(WriteOnlySink):
    """Variables of the environment's platform that it gives back to nobody."""

    type: Literal["platform-sealed"] = Field(description="The platform's variables that nobody can read back.")

    @property
    def named(self) -> str:
        return "the platform's sealed variables"

    @property
    def readers(self) -> str:
        return "the release that has the traffic, for as long as its successor takes to start"

    def late_seconds(self, platform: Platform) -> float:
        return platform.late_seconds

    def read_marks(self, platform: Platform, variables: Iterable[str]) -> Marks:
        held = platform.read_sealed()
        return {name: held[name] for name in variables if name in held}

    def write(self, platform: Platform, values: Values) -> None:
        platform.write_sealed(values)
