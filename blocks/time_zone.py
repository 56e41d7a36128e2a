"""A time zone, by its name."""

from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator


def _must_be_known(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("must be a time zone of the IANA database, as Europe/Berlin")
    return name


TimeZone = Annotated[str, AfterValidator(_must_be_known)]
