"""The platform's own variables, which the next release starts with."""

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from blocks.errors import RefusedBySink
from blocks.platforms.interface import Platform
from blocks.sinks.interface import ReadableSink, Values


class PlatformVariables(ReadableSink):
    """The variables of the environment's platform."""

    type: Literal["platform"] = Field(description="The variables of the environment's platform.")

    @property
    def named(self) -> str:
        return "the platform's variables"

    @property
    def readers(self) -> str:
        return "the release that has the traffic, for as long as its successor takes to start"

    def late_seconds(self, platform: Platform) -> float:
        return platform.late_seconds

    def read(self, platform: Platform, variables: Iterable[str]) -> Values:
        held = platform.read_variables()
        missing = [name for name in variables if name not in held]
        if missing and (sealed := sorted(set(missing) & platform.read_sealed().keys())):
            raise RefusedBySink(
                f"The platform has {', '.join(sealed)} and does not give it back.",
                "Name the sink platform-sealed for it, beside one that gives the value back. Nothing was changed.",
            )
        return {name: held[name] for name in variables if name in held}

    def write(self, platform: Platform, values: Values) -> None:
        platform.set_variables({**platform.read_variables(), **values})
