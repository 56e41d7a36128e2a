"""How the story ended: a table of its chapters, and what the visitors met with."""

from typing import NamedTuple

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deployments.demo.story import BAD
from deployments.demo.telling import Told, colour
from deployments.shop.visits import Visit, failures_without_fault

MOST_SHOWN = 10


class Visitors(NamedTuple):
    """What the visitors' own log says about the time of the story."""

    requests: int
    marked: int
    """Failed on purpose: the answer carries the bad release's own mark."""
    unplanned: list[Visit]
    """Failed, and nobody had planned it."""

    @property
    def were_well_served(self) -> bool:
        return self.requests > 0 and not self.unplanned


def judge_visits(visits: list[Visit]) -> Visitors:
    marked = [visit for visit in visits if visit.fault == BAD and (visit.status or 0) >= 500]
    return Visitors(len(visits), len(marked), failures_without_fault(visits))


def show_chapters(told: list[Told], console: Console) -> None:
    table = Table("what", "ending", "seconds", "link", box=SIMPLE)
    table.columns[2].justify = "right"
    for one in told:
        ending = Text(one.ended.ending, style=colour(one))
        link = Text(one.link, style=f"link {one.link}", overflow="fold")
        table.add_row(one.chapter.title, ending, f"{one.seconds:.1f}", link)
    console.print(table)
    for one in told:
        if not one.went_well:
            wrong = f"{one.chapter.title} should have ended with '{one.chapter.ending}': {one.ended.message}"
            console.print(Text(wrong, style="bold red"), soft_wrap=True)


def show_visitors(visitors: Visitors, console: Console) -> None:
    if not visitors.requests:
        console.print(Text("No visitors came, so nothing is proven about them.", style="bold red"))
        return
    verdict = (
        f"Visitors of production: {visitors.requests} requests, {len(visitors.unplanned)} failed"
        f" except {visitors.marked} that carry {BAD}'s own mark."
    )
    console.print(Text(verdict, style="green" if visitors.were_well_served else "bold red"), soft_wrap=True)
    for visit in visitors.unplanned[:MOST_SHOWN]:
        console.print(Text(f"  {visit.method} {visit.route}: {visit.status or visit.error}, {visit.version}"))
