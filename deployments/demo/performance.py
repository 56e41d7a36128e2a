"""The whole story on a stack that is up, from its beginning to the closing table."""

import time

from rich.console import Console

from deployments.demo.approver import enrolled
from deployments.demo.beginning import return_to_beginning
from deployments.demo.closing import judge_visits, show_chapters, show_visitors
from deployments.demo.story import STORY
from deployments.demo.telling import tell
from deployments.prefect_api import PrefectApi
from deployments.shop.visits import read_visits
from deployments.stack.layout import Layout


def perform(layout: Layout, console: Console) -> bool:
    """True when every chapter ended as it should and no visitor's request failed that should not have."""
    api = PrefectApi()
    return_to_beginning(api, console)
    began = time.time()
    with enrolled() as approver:
        told = [tell(chapter, api, console, approver) for chapter in STORY]
    visitors = judge_visits(list(read_visits(layout.visits, since=began)))
    show_chapters(told, console)
    show_visitors(visitors, console)
    return all(one.went_well for one in told) and visitors.were_well_served
