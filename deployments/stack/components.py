"""All parts of the stack."""

from collections.abc import Callable
from functools import partial

from deployments.shop.releases import build_repository
from deployments.stack.cache import cache
from deployments.stack.component import Component
from deployments.stack.layout import Layout
from deployments.stack.postgres import postgres
from deployments.stack.prefect_parts import prefect_server, run_starter, supervisor, worker
from deployments.stack.shop import REPOSITORY, sandbox, visitors


def describe_components(layout: Layout, say: Callable[[str, str], None]) -> list[Component]:
    """In the order in which they are listed. `say` gets a part's name and what is worth telling."""
    parts = [
        postgres(layout, partial(say, "postgres")),
        prefect_server(layout),
        run_starter(layout),
        worker(layout),
        supervisor(layout),
    ]
    if layout.sample:
        parts.insert(1, cache(layout))
        parts += [*(sandbox(layout, environment) for environment in layout.environments), visitors(layout)]
    return parts


def describe_preparations(layout: Layout) -> dict[str, Callable[[], None]]:
    """What parts need besides other parts."""
    return {REPOSITORY: partial(build_repository, layout.repository)}
