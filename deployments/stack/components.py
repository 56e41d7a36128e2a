"""All parts of the stack."""

from collections.abc import Callable
from functools import partial

from deployments.shop.releases import build_repository
from deployments.stack.cache import cache
from deployments.stack.component import Component
from deployments.stack.layout import ENVIRONMENTS, Layout
from deployments.stack.postgres import postgres
from deployments.stack.prefect_parts import prefect_server, supervisor, worker
from deployments.stack.shop import REPOSITORY, sandbox, visitors


def describe_components(layout: Layout, say: Callable[[str, str], None]) -> list[Component]:
    """In the order in which they are listed. `say` gets a part's name and what is worth telling."""
    return [
        postgres(layout, partial(say, "postgres")),
        cache(layout),
        prefect_server(layout),
        worker(layout),
        supervisor(layout),
        *(sandbox(layout, environment) for environment in ENVIRONMENTS),
        visitors(layout),
    ]


def describe_preparations(layout: Layout) -> dict[str, Callable[[], None]]:
    """What parts need besides other parts."""
    return {REPOSITORY: partial(build_repository, layout.repository)}
