"""The supervisor's loops go on, whatever becomes of a sweep."""

import logging
from threading import Event

import pytest

from blocks.errors import LedgerUnreachable
from blocks.ledger.connection import Connection
from deployments.supervisor import keep_sweeping
from tests.ledger_database import LedgerDatabase


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (LedgerUnreachable("The ledger is away."), "The ledger is away."),
        (KeyError("notices"), "failed in a way that nobody foresaw"),
    ],
)
def test_a_sweep_that_fails_is_followed_by_another_on_a_new_connection(
    ledger: LedgerDatabase,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    failure: Exception,
    told: str,
) -> None:
    monkeypatch.setenv("BACKSTOP_LEDGER_URL", ledger.url)
    caplog.set_level(logging.WARNING)
    ended, seen = Event(), []

    class Sweeper:
        def sweep(self, connection: Connection, now: float) -> None:
            seen.append(connection)
            if len(seen) == 1:
                raise failure
            ended.set()

    keep_sweeping(ended, "a test", 0.01, Sweeper)

    first, second = seen
    assert first.closed
    assert second is not first
    second.close()
    assert told in caplog.text
