"""Tell the story: start each chapter's run, say each of its steps as it happens, keep how it ended."""

import time
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from blocks.errors import BackstopError
from deployments.demo.approver import Approver
from deployments.demo.story import Chapter
from deployments.follow import Ended, follow
from deployments.prefect_api import PrefectApi

CHAPTER_SECONDS = 180
"""No chapter takes that long; one that does is given up, and the story has failed."""


class Told(NamedTuple):
    chapter: Chapter
    ended: Ended
    seconds: float
    link: str

    @property
    def went_well(self) -> bool:
        return self.ended.ending == self.chapter.ending


def tell(chapter: Chapter, api: PrefectApi, console: Console, approver: Approver | None) -> Told:
    """Run the chapter to its ending."""
    console.print(Text(f"\n{chapter.title}", style="bold"))
    console.print(Text(chapter.remark), soft_wrap=True)

    def say(seconds: float, what: str) -> None:
        style = "dim" if what.startswith("·") else ""
        console.print(Text(f"{seconds:6.1f} s  {what}", style=style), soft_wrap=True)

    began = time.monotonic()
    run_id = start(chapter, api)
    if chapter.is_asked and approver:
        approver.answer(api, run_id)
    with console.status(chapter.title):
        ended = follow(api, run_id, CHAPTER_SECONDS, say) or _endless()
    seconds = time.monotonic() - began
    told = Told(chapter, ended, seconds, api.link(run_id))
    line = Text.assemble(f"{seconds:6.1f} s  ", (ended.ending, colour(told)), f": {ended.message}")
    console.print(line, soft_wrap=True)
    return told


def start(chapter: Chapter, api: PrefectApi) -> str:
    """Start the chapter's run; returns the run's id."""
    deployment = api.read_deployment(chapter.procedure)
    if deployment is None:
        raise BackstopError(f"The procedure '{chapter.procedure}' is not deployed.", "Run `backstop apply`.")
    parameters = {"environment": chapter.environment, "requested_by": "demo", **chapter.parameters}
    return api.create_run(str(deployment["id"]), parameters, None)


def colour(told: Told) -> str:
    return "green" if told.went_well else "bold red"


def _endless() -> Ended:
    return Ended("Still running", f"It has not ended within {CHAPTER_SECONDS} s.")
