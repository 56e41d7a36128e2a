"""A run gets one ending, whoever writes it and whatever becomes of its connection meanwhile."""

from collections.abc import Iterator

import pytest

from blocks.errors import FenceLost
from blocks.ledger.dead_runs import end_dead_run, read_dead_runs
from tasks.ledger import Run, end_run
from tests.blocks.platforms.waiting import eventually
from tests.ledger_database import LedgerDatabase

pytestmark = pytest.mark.usefixtures("evidence")
DONE = ("Done", "all of it")


@pytest.fixture
def run(run: Run, ledger: LedgerDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """One that finds the ledger again."""
    monkeypatch.setenv("BACKSTOP_LEDGER_URL", ledger.url)
    yield run
    run.connection.close()


def cut_off(run: Run, ledger: LedgerDatabase) -> None:
    ledger.as_superuser("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ~ '^backstop'")
    sessions = "SELECT pid FROM pg_stat_activity WHERE application_name ~ '^backstop'"
    eventually(lambda: not ledger.as_superuser(sessions))


def endings(ledger: LedgerDatabase) -> list[tuple[object, ...]]:
    return ledger.as_superuser("SELECT detail->>'ending' FROM audit WHERE event IN ('run ended', 'dead runs ended')")


def test_a_connection_that_broke_before_it_is_made_anew(run: Run, ledger: LedgerDatabase) -> None:
    cut_off(run, ledger)
    end_run(run, *DONE)
    assert endings(ledger) == [("Done",)]


def test_one_that_was_written_without_an_answer_is_not_written_again(run: Run, ledger: LedgerDatabase) -> None:
    end_run(run, *DONE)
    cut_off(run, ledger)
    end_run(run, *DONE)
    assert endings(ledger) == [("Done",)]


def test_a_run_that_was_taken_for_dead_goes_on_with_nothing(run: Run, ledger: LedgerDatabase) -> None:
    cut_off(run, ledger)
    with ledger.connect("supervisor") as supervisor:
        (dead,) = read_dead_runs(supervisor)
        assert end_dead_run(supervisor, dead)

    with pytest.raises(FenceLost, match="taken for dead, and its ending written"):
        run.regain()
    with pytest.raises(FenceLost, match="taken for dead, and its ending written"):
        end_run(run, *DONE)
    assert endings(ledger) == [("Refused",)]


def test_a_run_that_is_back_is_not_taken_for_dead(run: Run, ledger: LedgerDatabase) -> None:
    cut_off(run, ledger)
    with ledger.connect("supervisor") as supervisor:
        (dead,) = read_dead_runs(supervisor)
        run.regain()
        assert not end_dead_run(supervisor, dead)
    assert endings(ledger) == []
