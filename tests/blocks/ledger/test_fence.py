"""One holder an environment, on a real PostgreSQL and with real processes that die."""

import re
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier

import pytest
from psycopg.pq import TransactionStatus

from blocks.errors import BackstopError, EnvironmentBusy, FenceLost
from blocks.ledger import fence
from blocks.ledger.fence import Fence, ask_to_leave, lock_key, read_abandoned, read_holder
from blocks.process_name import has_died
from tests.blocks.ledger.conftest import Connect
from tests.blocks.ledger.holder import holding
from tests.blocks.platforms.waiting import eventually
from tests.ledger_database import LedgerDatabase


def test_the_second_is_refused_and_told_who_holds_it_since_when(connect: Connect) -> None:
    held = Fence(connect("run-1"), "shop", "run-1")
    held.take()
    with pytest.raises(EnvironmentBusy) as refusal:
        Fence(connect("run-2"), "shop", "run-2").take()
    assert re.search(
        r"shop is held by deploy \(run run-1\), started by Ada, acting since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d",
        str(refusal.value),
    )
    assert "Nothing was changed." in str(refusal.value)
    assert held.check() is None


def test_environments_do_not_exclude_each_other(connect: Connect) -> None:
    for environment in ("shop", "shop-2", "shop "):
        held = Fence(connect("run-1"), environment, "run-1")
        held.take()
        assert held.check() is None


def test_of_many_at_once_one_gets_it_and_the_others_are_told_who(connect: Connect) -> None:
    many = 6
    fences = [Fence(connect(f"run-{number}"), "shop", f"run-{number}") for number in range(many)]
    start = Barrier(many)

    def take(fence: Fence) -> str:
        start.wait()
        try:
            fence.take()
        except EnvironmentBusy as refusal:
            return refusal.message
        return ""

    with ThreadPoolExecutor(many) as threads:
        refusals = list(threads.map(take, fences))
    holder = fences[refusals.index("")].run_id
    assert [f"(run {holder})" in told for told in refusals if told] == [True] * (many - 1), refusals


def test_one_who_is_about_to_write_its_name_down_is_waited_for(connect: Connect) -> None:
    first, second = Fence(connect("run-1"), "shop", "run-1"), Fence(connect("run-2"), "shop", "run-2")
    first.connection.execute("SELECT pg_advisory_lock(%s)", [lock_key("shop")])
    asks = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND query LIKE '%%FROM holder%%'"
    with ThreadPoolExecutor(1) as thread:
        refused = thread.submit(second.take)
        eventually(lambda: first.connection.execute(asks, [second.connection.info.backend_pid]).fetchone())
        first.take()
        with pytest.raises(EnvironmentBusy, match="held by deploy \\(run run-1\\)"):
            refused.result()


def test_a_released_one_is_free_and_its_row_says_so(connect: Connect) -> None:
    first = Fence(connect("run-1"), "shop", "run-1")
    first.take()
    first.release()
    watcher = connect("run-2")
    assert read_holder(watcher, "shop") is None
    second = Fence(watcher, "shop", "run-2")
    second.take()
    assert second.epoch == first.epoch + 1


def test_a_waiting_one_takes_it_as_soon_as_it_is_released(connect: Connect) -> None:
    first, second = (Fence(connect(run), "shop", run) for run in ("run-1", "run-2"))
    first.take()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(second.take, patience=10)
        first.release()
        waiting.result(timeout=5)
    assert second.check() is None


def test_killing_the_holder_frees_it(ledger: LedgerDatabase, connect: Connect) -> None:
    watcher = connect("run-2")
    ledger.open_run(watcher, "run-1", "shop")
    with holding(ledger.url, "run-1", "shop") as holder:
        holder.process.kill()
        next_one = Fence(watcher, "shop", "run-2")
        next_one.take(patience=2)
        assert next_one.epoch > holder.epoch


def test_another_lock_of_the_same_session_is_not_taken_for_the_fence(connect: Connect) -> None:
    """The server gives a dead session's process id out again."""
    connection, watcher = connect("run-1"), connect("run-2")
    held = Fence(connection, "shop", "run-1")
    held.take()
    assert read_holder(watcher, "shop")
    connection.execute("SELECT pg_advisory_unlock_all(), pg_advisory_lock(1)")
    assert read_holder(watcher, "shop") is None


def test_a_silent_holder_is_cut_off_and_finds_out(
    ledger: LedgerDatabase, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fence, "SILENT_SECONDS", 1)
    with holding(ledger.url, "run-1", "shop", beat_seconds=0.1) as holder:
        assert holder.check() == "still held"
        holder.process.send_signal(signal.SIGSTOP)
        next_one = Fence(connect("run-2"), "shop", "run-2")
        next_one.take(patience=10)
        assert next_one.epoch > holder.epoch
        holder.process.send_signal(signal.SIGCONT)
        assert holder.check() == "FenceLost"
    assert next_one.check() is None


def test_who_cuts_a_silent_holder_off_takes_over_without_patience(
    ledger: LedgerDatabase, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fence, "SILENT_SECONDS", 1)
    watcher = connect("run-2")
    with holding(ledger.url, "run-1", "shop", beat_seconds=0.1) as holder:
        holder.process.send_signal(signal.SIGSTOP)
        eventually(lambda: seconds_since_beat(ledger) > 1)
        taken = Fence(watcher, "shop", "run-2")
        taken.take()
        assert taken.check() is None


def test_a_holder_that_beats_is_not_cut_off(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(fence, "SILENT_SECONDS", 1)
    held = Fence(connect("run-1"), "shop", "run-1")
    held.take()
    with pytest.raises(EnvironmentBusy):
        Fence(connect("run-2"), "shop", "run-2").take(patience=1.5)
    assert held.check() is None


def test_a_clock_that_is_set_ahead_cuts_nobody_off(ledger: LedgerDatabase, connect: Connect) -> None:
    held, watcher = Fence(connect("run-1"), "shop", "run-1"), connect("run-2")
    held.take()
    watcher.execute("UPDATE environment SET beat_at = now() - interval '1 minute'")  # it is a minute later all at once
    with pytest.raises(EnvironmentBusy):
        Fence(watcher, "shop", "run-2").take()
    assert seconds_since_beat(ledger) < fence.SILENT_SECONDS
    assert held.check() is None


def test_a_beat_that_fails_once_is_not_the_last(
    ledger: LedgerDatabase, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement may meet its time limit on a slow server; the holder is alive all the same."""
    monkeypatch.setattr(fence, "BEAT_SECONDS", 0.05)
    connection = connect("run-1")
    connection.execute("SET statement_timeout = '100ms'")
    held = Fence(connection, "shop", "run-1")
    held.take()
    with ledger.server.connect(ledger.name) as slow, slow.transaction():
        slow.execute("SELECT FROM environment FOR UPDATE")
        eventually(lambda: seconds_since_beat(ledger) > 0.4)
    eventually(lambda: seconds_since_beat(ledger) < 0.2)


def test_a_connection_that_only_beats_is_at_rest(
    ledger: LedgerDatabase, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fence, "BEAT_SECONDS", 0.05)
    held = Fence(connect("run-1"), "shop", "run-1")
    held.take()
    with ThreadPoolExecutor(1) as threads, beat_under_way(ledger, held) as let_go:
        at_rest = threads.submit(held.is_at_rest)
        let_go()
        assert at_rest.result(timeout=30)
    with held.connection.transaction():
        held.connection.execute("SELECT 1")
        assert not held.is_at_rest()


def test_a_connection_is_cut_off_under_its_beat_and_the_next_one_gets_every_answer(
    ledger: LedgerDatabase, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fence, "BEAT_SECONDS", 0.05)
    held = Fence(connect("run-1"), "shop", "run-1")
    others = set(threading.enumerate())
    held.take()
    with beat_under_way(ledger, held):
        held.cut_off()
        assert set(threading.enumerate()) <= others
        held.connection.close()
        other = connect("run-1")
        assert other.execute("SELECT 1 AS one").fetchone() == {"one": 1}


@contextmanager
def beat_under_way(ledger: LedgerDatabase, held: Fence) -> Iterator[Callable[[], None]]:
    """It is not answered before the block has ended, or called what it was given."""
    with ledger.server.connect(ledger.name) as slow:
        slow.execute("BEGIN")
        slow.execute("SELECT FROM environment FOR UPDATE")
        eventually(lambda: held.connection.info.transaction_status == TransactionStatus.ACTIVE)
        yield slow.rollback


def test_an_outlived_epoch_may_do_nothing(ledger: LedgerDatabase, connect: Connect) -> None:
    """Even where the connection still stands: what counts is the epoch."""
    old = Fence(connect("run-1"), "shop", "run-1")
    old.take()
    ledger.as_superuser("UPDATE environment SET epoch = epoch + 1")
    for act in (old.check, lambda: old.set_activity("acting"), old.release):
        with pytest.raises(FenceLost):
            act()


def test_a_lost_connection_is_a_lost_fence(ledger: LedgerDatabase, connect: Connect) -> None:
    held = Fence(connect("run-1"), "shop", "run-1")
    held.take()
    ledger.as_superuser("SELECT pg_terminate_backend(backend_pid) FROM environment")
    with pytest.raises(FenceLost, match="connection to the ledger is gone"):
        held.check()


def test_what_a_dead_run_left_armed_comes_first(ledger: LedgerDatabase, connect: Connect) -> None:
    watcher = connect("run-2")
    with holding(ledger.url, "run-1", "shop") as holder:
        ledger.open_run(watcher, "run-1", "shop")
        ledger.arm_undo(watcher, "run-1", "shop")
        holder.process.kill()
    with pytest.raises(BackstopError, match=r"Run run-1 died in shop and left flows\.deploy:undo armed") as refusal:
        Fence(watcher, "shop", "run-2").take(patience=2)
    assert "backstop recover" in str(refusal.value)
    recover = Fence(connect("run-3"), "shop", "run-3")
    recover.take(leftovers=True)
    assert recover.check() is None


def test_leftovers_elsewhere_or_of_the_run_itself_do_not_count(ledger: LedgerDatabase, connect: Connect) -> None:
    connection = connect("run-1")
    ledger.arm_undo(connection, "run-1", "shop")
    ledger.arm_undo(connection, "run-1", "other")
    held = Fence(connection, "shop", "run-1")
    held.take()
    assert held.check() is None


def test_only_a_monitoring_holder_is_asked_to_leave(connect: Connect) -> None:
    held, emergency = Fence(connect("run-1"), "shop", "run-1"), connect("run-2")
    held.take()
    assert not ask_to_leave(emergency, "shop", "run-2")
    assert held.check() is None
    held.set_activity("monitoring")
    assert ask_to_leave(emergency, "shop", "run-2")
    assert held.check() == "run-2"
    held.set_activity("acting")
    assert not ask_to_leave(emergency, "shop", "run-3")
    assert held.check() == "run-2"


def seconds_since_beat(ledger: LedgerDatabase) -> float:
    ((seconds,),) = ledger.as_superuser(
        "SELECT extract(epoch FROM clock_timestamp() - beat_at)::float FROM environment"
    )
    assert isinstance(seconds, float)
    return seconds


def test_what_died_and_what_only_lost_its_ledger_are_told_apart(ledger: LedgerDatabase, connect: Connect) -> None:
    watcher = connect("run-2")
    with holding(ledger.url, "run-1", "shop") as holder:
        ledger.open_run(watcher, "run-1", "shop")
        ledger.arm_undo(watcher, "run-1", "shop")
        ledger.as_superuser("SELECT pg_terminate_backend(backend_pid) FROM environment")
        eventually(lambda: bool(read_abandoned(watcher)))
        (lives,) = read_abandoned(watcher)
        assert (lives.environment, lives.epoch, has_died(lives.process)) == ("shop", holder.epoch, False)
        holder.process.kill()
        eventually(lambda: has_died(lives.process))
        assert read_abandoned(watcher) == [lives]
