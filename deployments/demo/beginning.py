"""Bring both environments to where the story begins, whatever an earlier demo left."""

import time

from rich.console import Console

from blocks.errors import BackstopError
from deployments.demo.story import BEGINNING, PRODUCTION, STAGING, Chapter
from deployments.demo.telling import CHAPTER_SECONDS, start
from deployments.follow import follow
from deployments.prefect_api import PrefectApi
from deployments.standing import Standing, read_standings

QUIET_SECONDS = 90
"""A demo that was interrupted may have left something armed; the supervisor puts it back."""


def return_to_beginning(api: PrefectApi, console: Console) -> None:
    """Raises BackstopError when an environment cannot be brought there."""
    elsewhere = [standing.environment for standing in _read_quiet_standings() if standing.release != BEGINNING]
    runs = {environment: start(_going_back(environment), api) for environment in elsewhere}
    for environment, run_id in runs.items():
        console.print(f"{environment} goes back to {BEGINNING}, where the story begins.", highlight=False)
        ended = follow(api, run_id, CHAPTER_SECONDS, lambda seconds, what: None)
        if ended is None or ended.ending != "Done":
            reason = ended.message if ended else f"The run has not ended within {CHAPTER_SECONDS} s."
            raise BackstopError(f"{environment} did not go back to {BEGINNING}. {reason}", api.link(run_id))


def _going_back(environment: str) -> Chapter:
    parameters = {"to": BEGINNING, "cause": "The demo begins."}
    return Chapter("", "", "roll-back-deploy", environment, parameters, "Done")


def _read_quiet_standings() -> list[Standing]:
    """Of the two environments, once nothing in them is held or armed."""
    deadline = time.monotonic() + QUIET_SECONDS
    while True:
        standings = [one for one in read_standings() if one.environment in (STAGING, PRODUCTION)]
        busy = [one for one in standings if one.held_by or one.armed]
        if not busy:
            return standings
        if time.monotonic() > deadline:
            raise BackstopError(
                f"{busy[0].environment} is not free: {busy[0].held_by or busy[0].armed[0]}.",
                "`backstop status` shows it; wait for it, or cancel it in the UI.",
            )
        time.sleep(0.5)
