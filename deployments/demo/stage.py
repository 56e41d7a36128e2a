"""The stack that the demo plays on: the one that is up, or one of its own that ends with it."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from deployments.stack.layout import Layout
from deployments.stack.procedures import prepare_procedures
from deployments.stack.progress import Stopwatch, say_waiting, shown_progress
from deployments.stack.start import Starter
from deployments.stack.state import State
from deployments.stack.status import read_components
from deployments.stack.stop import bring_down
from deployments.stack.surroundings import describe_surroundings


def is_up(state: State) -> bool:
    """Whether any part of the stack runs."""
    return any(part.state == "running" for part in read_components(state))


@contextmanager
def stack(state: State, tear_down: bool) -> Iterator[Layout]:
    """The stack, complete. With `tear_down` it is ended afterwards, however the block ended; its data stays."""
    try:
        yield _bring_up(state)
    finally:
        if tear_down:
            with _interrupts_ignored(), state.locked(waiting=say_waiting), shown_progress() as progress:
                bring_down(state, progress)


def _bring_up(state: State) -> Layout:
    with state.locked(waiting=say_waiting), shown_progress() as progress:
        layout, started = Starter(state, progress).bring_up()
        if started:
            stopwatch = Stopwatch()
            progress.began("procedures", "are brought into Prefect")
            os.environ.setdefault("BACKSTOP_SCHEDULES", "paused")  # nothing but the story's own runs
            prepare_procedures(layout)
            progress.finished("procedures", f"ready in {stopwatch}")
    os.environ.update(describe_surroundings(layout))
    return layout


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """A second Ctrl-C must not leave half of the stack behind."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
