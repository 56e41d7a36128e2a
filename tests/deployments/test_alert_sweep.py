"""Who outside is told what, by what stands in a real ledger: once, again where it failed, and taken back."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from blocks.ledger import trail
from blocks.ledger.calls_for_help import read_calls
from blocks.ledger.connection import Connection
from blocks.ledger.settlement import settle
from blocks.pager import PagerDuty
from blocks.status_page import Statuspage
from deployments.alert_sweep import REPEAT_SECONDS, AlertSweep, Outside
from flows.guards.armed import path_of
from flows.restore_and_verify import resume_writes
from tests.ledger_database import LedgerDatabase
from tests.standins.pagerduty import ROUTING_KEY, PagerDutyStandIn
from tests.standins.standing_in import served
from tests.standins.statuspage import KEY, PAGE, StatuspageStandIn

SHOP = "shop"


@pytest.fixture
def connection(ledger: LedgerDatabase) -> Iterator[Connection]:
    with closing(ledger.connect("alerts")) as connection:
        yield connection


@pytest.fixture
def pagerduty() -> Iterator[PagerDutyStandIn]:
    with served(standing_in := PagerDutyStandIn()):
        yield standing_in


@pytest.fixture
def statuspage() -> Iterator[StatuspageStandIn]:
    with served(standing_in := StatuspageStandIn()):
        yield standing_in


class Supervised:
    """A ledger that is looked at when a test says so."""

    def __init__(self, connection: Connection, ledger: LedgerDatabase, outside: Outside) -> None:
        self.connection, self._ledger, self._outside = connection, ledger, outside
        self._sweep, self._now = AlertSweep(), 0.0

    def look(self, after: float = REPEAT_SECONDS) -> None:
        self._now += after
        outside = {SHOP: self._outside}
        self._sweep.send(self.connection, read_calls(self.connection), outside, "http://127.0.0.1/{}".format, self._now)

    def end(self, run_id: str, ending: str = "Needs a human", procedure: str = "deploy", ago: str = "1 minute") -> None:
        self._ledger.open_run(self.connection, run_id, SHOP)
        self.connection.execute(
            "UPDATE run SET ending = %s, message = 'the way back failed', procedure = %s,"
            " ended_at = now() - %s::interval WHERE id = %s",
            [ending, procedure, ago, run_id],
        )

    def arm(self, run_id: str, undo: str = "flows.deploy:undo") -> None:
        self._ledger.open_run(self.connection, run_id, SHOP)
        self.connection.execute(
            "INSERT INTO armed_undo (run_id, environment, undo, parameters, armed_at)"
            " VALUES (%s, %s, %s, %s, now() - interval '1 minute')",
            [run_id, SHOP, undo, Jsonb({})],
        )

    def close_undo(self, run_id: str, state: str) -> None:
        self.connection.execute(
            "UPDATE armed_undo SET state = %s, ended_at = now(), message = 'left as it is' WHERE run_id = %s",
            [state, run_id],
        )

    def intend(self, effect: str, of: str, by: str = "", event: str = "effect intended") -> None:
        about: dict[str, Any] = {"run_id": by or of, "environment": SHOP, "actor": "Ada"}
        trail.append(self.connection, event, **about, detail={"effect": effect, "for": of})

    def take_effect(self, effect: str, of: str, by: str = "") -> None:
        self.intend(effect, of, by, "effect done")

    def told(self, run_id: str) -> list[str]:
        rows = self.connection.execute(
            "SELECT event FROM audit WHERE run_id = %s AND actor = 'supervisor' ORDER BY sequence", [run_id]
        )
        return [str(row["event"]) for row in rows]


@pytest.fixture
def supervised(
    connection: Connection,
    ledger: LedgerDatabase,
    pagerduty: PagerDutyStandIn,
    statuspage: StatuspageStandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> Supervised:
    monkeypatch.setenv("PAGER_KEY", ROUTING_KEY)
    monkeypatch.setenv("PAGE_KEY", KEY)
    pager = PagerDuty(routing_key="${PAGER_KEY}", url=pagerduty.url, timeout=1)
    page = Statuspage(page=PAGE, key="${PAGE_KEY}", url=statuspage.url, timeout=1)
    return Supervised(connection, ledger, Outside(pager=pager, status_page=page))


def test_somebody_is_paged_once_until_it_is_settled(supervised: Supervised, pagerduty: PagerDutyStandIn) -> None:
    supervised.end("run-1")
    supervised.look()
    supervised.look()
    assert pagerduty.woken == {"backstop/shop/run-1": 1}
    (alert,) = pagerduty.open.values()
    assert alert["summary"] == "deploy in shop needs a human: the way back failed"
    assert alert["custom_details"]["once it is put right"] == "backstop recover --settled run-1"

    assert settle(supervised.connection, "run-1", "ada") == [SHOP]
    assert settle(supervised.connection, "run-1", "ada") == []
    supervised.look()
    supervised.look()
    assert pagerduty.open == {}
    assert len(pagerduty.asked) == 2
    assert supervised.told("run-1") == ["page sent", "page resolved"]


def test_nobody_is_paged_for_what_needs_nobody(supervised: Supervised, pagerduty: PagerDutyStandIn) -> None:
    supervised.end("done", "Done")
    supervised.end("back", "Rolled back")
    supervised.end("old", ago="2 days")
    supervised.end("recover", procedure="recover")
    supervised.end("settled")
    settle(supervised.connection, "settled", "ada")
    supervised.arm("under way")
    supervised.close_undo("under way", "failed")
    supervised.look()
    assert pagerduty.asked == []


def test_an_undo_that_was_left_after_a_good_end_needs_somebody(
    supervised: Supervised, pagerduty: PagerDutyStandIn
) -> None:
    """As in a ledger that was restored from an old copy."""
    supervised.end("run-1", "Done", ago="2 days")
    supervised.arm("run-1")
    supervised.close_undo("run-1", "failed")
    supervised.look()
    (alert,) = pagerduty.open.values()
    assert alert["summary"] == "deploy in shop needs a human: left as it is"


def test_what_could_not_be_sent_is_sent_later_and_holds_nothing_else_up(
    supervised: Supervised, pagerduty: PagerDutyStandIn, caplog: pytest.LogCaptureFixture
) -> None:
    pagerduty.trouble = ["fails after it"]
    supervised.end("run-1", ago="2 minutes")
    supervised.end("run-2")
    supervised.look()
    assert supervised.told("run-1") == ["alert failed"]
    assert supervised.told("run-2") == ["page sent"]
    supervised.look(REPEAT_SECONDS / 2)
    assert len(pagerduty.asked) == 2, "not at once"

    pagerduty.trouble = ["fails"]
    supervised.look()
    supervised.look()
    assert supervised.told("run-1") == ["alert failed", "page sent"], "the same failure is told once"
    assert pagerduty.woken == {"backstop/shop/run-1": 1, "backstop/shop/run-2": 1}
    assert ROUTING_KEY not in caplog.text


def test_visitors_are_told_while_they_are_kept_out(supervised: Supervised, statuspage: StatuspageStandIn) -> None:
    """By a release and its migration. After that the release is watched on, with the undo armed."""
    supervised.arm("run-1", path_of(resume_writes))
    supervised.look()
    assert statuspage.asked == [], "nothing was stopped yet"
    supervised.take_effect("enter maintenance", "run-1")
    supervised.take_effect("stop writes", "run-1")
    supervised.look()
    supervised.look()
    assert (len(statuspage.under_way()), statuspage.unresolved()) == (1, [])

    supervised.take_effect("resume writes", "run-1")
    supervised.look()
    assert len(statuspage.under_way()) == 1, "maintenance goes on"
    supervised.take_effect("leave maintenance", "run-1")
    supervised.look()
    supervised.look()
    assert statuspage.under_way() == []
    assert supervised.told("run-1") == ["maintenance begun", "maintenance completed"]

    supervised.take_effect("stop writes", "run-1")
    supervised.look()
    assert len(statuspage.under_way()) == 1, "kept out once more"


def test_a_restore_is_no_maintenance(supervised: Supervised, statuspage: StatuspageStandIn) -> None:
    supervised.arm("run-1", path_of(resume_writes))
    supervised.connection.execute("UPDATE run SET procedure = 'restore-and-verify'")
    supervised.take_effect("stop writes", "run-1")
    supervised.look()
    assert (statuspage.under_way(), len(statuspage.unresolved())) == ([], 1)
    supervised.take_effect("resume writes", "run-1")
    supervised.look()
    assert supervised.told("run-1") == ["incident opened", "incident resolved"]


def test_a_maintenance_whose_run_died_is_an_incident(supervised: Supervised, statuspage: StatuspageStandIn) -> None:
    """Until another run has put it back."""
    supervised.arm("run-1", path_of(resume_writes))
    supervised.take_effect("stop writes", "run-1")
    supervised.look()
    supervised.intend("resume writes", "run-1", by="recover-1")
    supervised.look()
    assert (statuspage.under_way(), len(statuspage.unresolved())) == ([], 1)
    assert "see the incident" in statuspage.incidents[1]["incident_updates"][0]["body"]
    supervised.take_effect("resume writes", "run-1", by="recover-1")
    supervised.look()
    assert statuspage.unresolved() == []
    told = ["maintenance begun", "incident opened", "maintenance completed", "incident resolved"]
    assert supervised.told("run-1") == told


def test_visitors_stay_told_until_a_human_has_let_them_in(
    supervised: Supervised, statuspage: StatuspageStandIn
) -> None:
    supervised.arm("run-1", path_of(resume_writes))
    supervised.take_effect("stop writes", "run-1")
    supervised.look()
    supervised.close_undo("run-1", "failed")
    supervised.end("run-1")
    supervised.look()
    assert (statuspage.under_way(), len(statuspage.unresolved())) == ([], 1)
    settle(supervised.connection, "run-1", "ada")
    supervised.look()
    assert statuspage.unresolved() == []
    assert "page sent" in supervised.told("run-1")


def test_what_is_over_soon_is_not_told(supervised: Supervised, statuspage: StatuspageStandIn) -> None:
    supervised.arm("run-1", path_of(resume_writes))
    supervised.connection.execute("UPDATE armed_undo SET armed_at = now()")
    supervised.take_effect("stop writes", "run-1")
    supervised.look()
    assert statuspage.asked == []
