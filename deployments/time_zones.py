"""Prefect asks for the names of all time zones at each schedule that it reads, and Python reads a folder tree for that.

It takes 10 ms, in the server and in the client. With a few environments, each with its schedules, that made up a good
part of `backstop apply` and of every page that lists deployments.
"""

from functools import cache
from zoneinfo import available_timezones

from prefect.types import _datetime


def remember_time_zones() -> None:
    """From now on this process reads them once."""
    _datetime.available_timezones = cache(available_timezones)  # type: ignore[attr-defined]
