"""What a run shows on its page in Prefect. A server that is slow or away holds nobody up, and fails nothing."""

import logging
from collections.abc import Callable
from contextvars import copy_context
from threading import Thread
from uuid import UUID

from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.settings import PREFECT_UI_URL

WAIT_SECONDS = 5.0
"""How long a run waits for its page before it goes on. Prefect's client itself tries for a minute."""

log = logging.getLogger(__name__)


def link_to_run(run_id: str) -> str:
    """Its page: of the run itself, also where one of its undos tells."""
    return f"{PREFECT_UI_URL.value()}/runs/flow-run/{run_id}"


def show_page(markdown: str, key: str, description: str) -> None:
    """A markdown artifact of the run."""
    _shown(lambda: create_markdown_artifact(markdown, key=key, description=description)).join(WAIT_SECONDS)


class ProgressBar:
    """It moves in the background; a move that comes while the one before is under way is left out."""

    def __init__(self, key: str, description: str) -> None:
        self._key, self._description = key, description
        self._artifact: UUID | None = None
        self._showing: Thread | None = None
        self.show(0.0)

    def show(self, percent: float, description: str = "") -> None:
        if self._showing is None or not self._showing.is_alive():
            self._showing = _shown(lambda: self._show(percent, description or self._description))

    def finish(self, description: str = "") -> None:
        self._wait()
        self.show(100.0, description)
        self._wait()

    def _wait(self) -> None:
        if self._showing:
            self._showing.join(WAIT_SECONDS)

    def _show(self, percent: float, description: str) -> None:
        if self._artifact:
            update_progress_artifact(self._artifact, progress=percent, description=description)
        else:
            self._artifact = create_progress_artifact(percent, key=self._key, description=description)  # type: ignore[assignment]


def _shown(show: Callable[[], object]) -> Thread:
    thread = Thread(target=copy_context().run, args=(_try_to, show), name="run page", daemon=True)
    thread.start()
    return thread


def _try_to(show: Callable[[], object]) -> None:
    try:
        show()
    except Exception as error:
        log.warning("Not shown on the run's page: %s", type(error).__name__)
