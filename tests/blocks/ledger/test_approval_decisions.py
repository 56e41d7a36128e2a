"""Decisions in a real ledger: one person, one plan, one code, once; and what guessing comes to."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import psycopg
import pytest
from pyotp import TOTP

from blocks.approval_policy import Policy
from blocks.errors import NotApproved, Refused, WrongCode
from blocks.ledger.approval_decisions import (
    FIRST_WAIT,
    FREE_GUESSES,
    GUESSES_AN_HOUR,
    LONGEST_WAIT,
    Answer,
    closed_until,
    decide,
)
from blocks.ledger.approval_requests import (
    Request,
    close,
    end_unapproved,
    open_request,
    read_decisions,
    read_pending,
    take,
)
from blocks.ledger.approvers import add
from blocks.ledger.connection import Connection
from blocks.one_time_code import new_seed
from tasks.question import Question, page
from tests.blocks.ledger.approvals_key import VARIABLE, new_key
from tests.blocks.ledger.conftest import Connect

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
GUESSES = 10_000
ONE = Policy(needed=1, approvers=[], open_hours=24, break_glass=True)
TWO = ONE.model_copy(update={"needed": 2, "break_glass": False})
REASON = "the shop is down, nobody else is awake"


class Person(NamedTuple):
    name: str
    device: TOTP

    def answer(
        self,
        request: Request,
        at: datetime,
        verdict: str = "approve",
        source: Literal["form", "terminal"] = "form",
        reason: str = "",
    ) -> Answer:
        return Answer(verdict, self.name, self.device.at(at), reason, request.fingerprint, source)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, new_key())


@pytest.fixture
def connection(connect: Connect) -> Connection:
    return connect("run-1")


@pytest.fixture
def grace(connection: Connection) -> Person:
    return enrolled(connection, "grace")


@pytest.fixture
def alan(connection: Connection, grace: Person) -> Person:
    return enrolled(connection, "alan", approved_by=grace.name)


def enrolled(connection: Connection, name: str, approved_by: str | None = None) -> Person:
    seed = new_seed()
    add(connection, name, seed, approved_by=approved_by)
    return Person(name, TOTP(seed))


def ask(
    connection: Connection, run_id: str = "run-1", policy: Policy = ONE, plan: str = "plan-1", at: datetime = NOW
) -> Request:
    question = Question(title="Deploy", fingerprint=plan, facts={}, effects=[])
    return open_request(connection, run_id, question.model_dump(mode="json"), policy, at)


def events(connection: Connection, event: str) -> int:
    row = connection.execute("SELECT count(*) FROM audit WHERE event = %s", [event]).fetchone()
    assert row
    return int(str(row["count"]))


def wrong_codes(person: Person, at: datetime) -> Iterator[str]:
    right = {person.device.at(at + timedelta(seconds=drift)) for drift in (-30, 0, 30)}
    return (code for code in (f"{number:06}" for number in range(10**6)) if code not in right)


def guess(connection: Connection, request: Request, person: Person, at: datetime) -> bool:
    """One wrong code through the form: whether it was looked at. It is never accepted."""
    answer = person.answer(request, at)._replace(code=next(wrong_codes(person, at)))
    try:
        decide(connection, request, answer, at)
    except WrongCode:
        return True
    except Refused:
        return False
    raise AssertionError("a guess was accepted")


def test_one_who_agrees_approves_and_the_run_goes_on_once(connection: Connection, grace: Person) -> None:
    request = ask(connection)
    assert decide(connection, request, grace.answer(request, NOW), NOW).state == "approved"
    assert [str(one) for one in take(connection, request, NOW)] == ["approved by grace"]
    with pytest.raises(Refused, match="goes on with its approval already"):
        take(connection, request, NOW)


def test_two_have_to_be_two_people(connection: Connection, grace: Person, alan: Person) -> None:
    request, later = ask(connection, policy=TWO), NOW + timedelta(minutes=1)
    assert decide(connection, request, grace.answer(request, NOW), NOW).state == "open"
    with pytest.raises(Refused, match="grace has decided already"):
        decide(connection, request, grace.answer(request, later), later)
    assert decide(connection, request, alan.answer(request, later), later).state == "approved"


def test_who_asked_may_reject_but_not_approve(connection: Connection, grace: Person) -> None:
    ada, request = enrolled(connection, "ada", approved_by=grace.name), ask(connection)
    with pytest.raises(Refused, match="ada asked for this run"):
        decide(connection, request, ada._replace(name=" ADA ").answer(request, NOW), NOW)
    later = NOW + timedelta(minutes=1)
    assert decide(connection, request, ada.answer(request, later, "reject"), later).state == "rejected"


def test_a_rejection_outweighs_whoever_agreed(connection: Connection, grace: Person, alan: Person) -> None:
    request = ask(connection, policy=TWO)
    decide(connection, request, grace.answer(request, NOW), NOW)
    assert decide(connection, request, alan.answer(request, NOW, "reject"), NOW).state == "rejected"
    with pytest.raises(Refused):
        take(connection, request, NOW)


@pytest.mark.parametrize(
    ("policy", "reason", "refused"),
    [(ONE, "hurry" + " " * 20, "says why, in 20 characters"), (TWO, REASON, "nobody lets deploy through alone")],
)
def test_who_may_not_break_the_glass(
    connection: Connection, grace: Person, policy: Policy, reason: str, refused: str
) -> None:
    request = ask(connection, policy=policy)
    with pytest.raises(Refused, match=refused):
        decide(connection, request, grace.answer(request, NOW, "break glass", reason=reason), NOW)
    assert read_decisions(connection, request) == []


def test_broken_glass_lets_through_what_several_would_have_to_approve(connection: Connection, grace: Person) -> None:
    request = ask(connection, policy=TWO.model_copy(update={"break_glass": True}))
    decided = decide(connection, request, grace.answer(request, NOW, "break glass", reason=REASON), NOW)
    assert decided.state == "approved"
    assert [one.verdict for one in take(connection, request, NOW)] == ["break glass"]


@pytest.mark.parametrize(
    ("changed", "refused"),
    [
        ({"plan": "plan-2"}, "names plan 'plan-2'; asked is about plan-1"),
        ({"verdict": "approve "}, "allowed: approve, reject, break glass"),
        ({"reason": "r" * 501}, "501 characters; 500 are allowed"),
        ({"name": "gr\x00ce"}, "is not asked here"),
        ({"name": "nobody"}, "wrong, too old or was used before"),
        ({"code": ""}, "wrong, too old or was used before"),
    ],
)
def test_what_is_off_decides_nothing_and_stands_in_the_trail(
    connection: Connection, grace: Person, changed: dict[str, Any], refused: str
) -> None:
    request = ask(connection)
    with pytest.raises(Refused, match=refused):
        decide(connection, request, grace.answer(request, NOW)._replace(**changed), NOW)
    assert (read_decisions(connection, request), events(connection, "answer refused")) == ([], 1)


def test_who_is_enrolled_but_not_asked_decides_nothing(connection: Connection, grace: Person, alan: Person) -> None:
    request = ask(connection, policy=ONE.model_copy(update={"approvers": ["alan"]}))
    with pytest.raises(Refused, match="'grace' is not asked here; asked are: alan"):
        decide(connection, request, grace.answer(request, NOW), NOW)


@pytest.mark.parametrize("refused", ["not asked", "listens to nobody", "another plan"])
def test_a_code_that_came_through_a_form_is_spent_whatever_it_was_refused_for(
    connection: Connection, connect: Connect, grace: Person, alan: Person, refused: str
) -> None:
    """Prefect keeps it where others may read it: no other run's form takes it."""
    connect("run-2")
    asked = ONE.model_copy(update={"approvers": ["alan"] if refused == "not asked" else []})
    here, elsewhere = ask(connection, policy=asked), ask(connection, "run-2", plan="plan-2")
    answer = grace.answer(here, NOW)
    if refused == "another plan":
        answer = answer._replace(plan="plan-2")
    while refused == "listens to nobody" and guess(connection, here, alan, NOW):
        pass
    with pytest.raises(Refused):
        decide(connection, here, answer, NOW)
    with pytest.raises(WrongCode):
        decide(connection, elsewhere, answer._replace(plan="plan-2"), NOW)


def test_a_code_that_was_typed_on_the_host_is_not_spent_by_a_slip(connection: Connection, grace: Person) -> None:
    """Nobody else could read it, and whoever mistyped the rest does not wait for the next one."""
    request = ask(connection)
    answer = grace.answer(request, NOW, "break glass", "terminal")
    with pytest.raises(Refused, match="says why"):
        decide(connection, request, answer, NOW)
    assert decide(connection, request, answer._replace(reason=REASON), NOW).state == "approved"


@pytest.mark.drill
@pytest.mark.timeout(300)
def test_of_ten_thousand_guesses_a_day_few_are_looked_at_and_none_counts(
    connection: Connection, grace: Person, alan: Person
) -> None:
    request, between = ask(connection), timedelta(days=1) / GUESSES
    looked_at = sum(guess(connection, request, grace, NOW + number * between) for number in range(GUESSES - 20))
    assert FREE_GUESSES < looked_at <= 24 * GUESSES_AN_HOUR
    at_last = NOW + (GUESSES - 10) * between
    assert decide(connection, request, alan.answer(request, at_last, source="terminal"), at_last).state == "approved"


def test_guessing_in_many_forms_at_once_is_slowed_down_as_in_one(
    connection: Connection, connect: Connect, grace: Person
) -> None:
    requests = []
    for number in range(40):
        connect(f"run-{number}")
        requests.append(ask(connection, f"run-{number}"))
    looked_at = sum(guess(connection, request, grace, NOW) for request in requests for _ in range(FREE_GUESSES + 1))
    assert looked_at == GUESSES_AN_HOUR
    assert closed_until(connection, requests[-1], NOW) == NOW + timedelta(hours=1)
    assert decide(connection, requests[0], grace.answer(requests[0], NOW, source="terminal"), NOW).state == "approved"


def test_each_wrong_code_has_a_form_wait_longer(connection: Connection, grace: Person) -> None:
    request, at, waits = ask(connection), NOW, []
    for _ in range(10):
        assert guess(connection, request, grace, at)
        until = closed_until(connection, request, at)
        if until:
            waits.append(until - at)
            assert not guess(connection, request, grace, until - timedelta(seconds=1))
        at = until or at
    assert waits[:3] == [FIRST_WAIT, FIRST_WAIT * 2, FIRST_WAIT * 4]
    assert waits[-1] == LONGEST_WAIT
    assert len(waits) == 10 - FREE_GUESSES + 1


def test_wrong_codes_at_the_terminal_slow_down_no_form(connection: Connection, grace: Person) -> None:
    request = ask(connection)
    for _ in range(GUESSES_AN_HOUR):
        with pytest.raises(WrongCode):
            decide(connection, request, grace.answer(request, NOW, source="terminal")._replace(code="12345"), NOW)
    assert closed_until(connection, request, NOW) is None


@pytest.mark.parametrize("changed", ["request", "plan", "environment", "approver", "verdict"])
def test_a_decision_that_was_copied_or_edited_is_as_if_it_were_not_there(
    connection: Connection, connect: Connect, grace: Person, alan: Person, changed: str
) -> None:
    connect("run-2")
    here = ask(connection)
    decide(connection, here, grace.answer(here, NOW, "reject" if changed == "verdict" else "approve"), NOW)
    other = ask(connection, "run-2") if changed == "request" else here
    statements = {
        "request": "INSERT INTO approval_decision SELECT %(other)s, approver, verdict, reason, source, decided_at, seal"
        " FROM approval_decision WHERE request_id = %(here)s",
        "plan": "UPDATE approval_request SET fingerprint = 'plan-2' WHERE id = %(here)s",
        "environment": "UPDATE run SET environment = 'another' WHERE id = 'run-1'",
        "approver": "UPDATE approval_decision SET approver = 'alan' WHERE request_id = %(here)s",
        "verdict": "UPDATE approval_decision SET verdict = 'approve' WHERE request_id = %(here)s",
    }
    connection.execute(statements[changed], {"here": here.id, "other": other.id})
    connection.execute("UPDATE approval_request SET state = 'approved' WHERE id = %s", [other.id])
    request = read_pending(connection, other.run_id)
    assert request
    assert read_decisions(connection, request) == []
    with pytest.raises(NotApproved, match="not valid any more"):
        take(connection, request, NOW)


def test_a_request_that_was_set_to_approved_by_hand_is_not(connection: Connection) -> None:
    request = ask(connection)
    connection.execute("UPDATE approval_request SET state = 'approved' WHERE id = %s", [request.id])
    with pytest.raises(NotApproved):
        take(connection, request, NOW)


def test_a_seal_of_another_key_is_worth_nothing(
    connection: Connection, grace: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ask(connection)
    decide(connection, request, grace.answer(request, NOW), NOW)
    monkeypatch.setenv(VARIABLE, new_key())
    with pytest.raises(NotApproved):
        take(connection, request, NOW)


def test_what_was_asked_before_is_superseded(connection: Connection, grace: Person) -> None:
    earlier = ask(connection)
    answer = grace.answer(earlier, NOW)
    later = ask(connection, plan="plan-2")
    with pytest.raises(NotApproved, match="Nothing can be decided here any more"):
        decide(connection, earlier, answer, NOW)
    assert read_pending(connection, "run-1") == later


def test_one_request_of_a_run_is_pending_at_most(connection: Connection) -> None:
    ask(connection)
    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute(
            "INSERT INTO approval_request (run_id, fingerprint, question, needed, approvers, break_glass, expires_at)"
            " VALUES ('run-1', '', '{}', 1, '{}', true, now())"
        )


def test_after_its_time_nothing_is_decided(connection: Connection, grace: Person) -> None:
    request, late = ask(connection), NOW + timedelta(hours=24)
    with pytest.raises(NotApproved, match="Nothing can be decided"):
        decide(connection, request, grace.answer(request, late), late)


def test_what_was_approved_in_time_does_not_go_on_after_it(connection: Connection, grace: Person) -> None:
    request, late = ask(connection), NOW + timedelta(hours=24)
    decide(connection, request, grace.answer(request, NOW), NOW)
    with pytest.raises(NotApproved, match="not valid any more"):
        take(connection, request, late)


def test_who_ends_a_request_first_ends_it(connection: Connection, grace: Person) -> None:
    request = ask(connection)
    decide(connection, request, grace.answer(request, NOW), NOW)
    take(connection, request, NOW)
    assert not close(connection, request, "expired")
    assert not end_unapproved(connection, request, "expired", "too late")
    assert events(connection, "approval expired") == 0


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (datetime(2026, 3, 28, 18, 0, tzinfo=BERLIN), "2026-03-29 19:00 CEST"),
        (datetime(2026, 10, 24, 18, 0, tzinfo=BERLIN), "2026-10-25 17:00 CET"),
    ],
    ids=["spring", "autumn"],
)
def test_a_wait_over_a_change_of_the_clocks_is_as_long_as_any(
    connection: Connection, grace: Person, asked: datetime, told: str
) -> None:
    request = ask(connection, at=asked.astimezone(UTC))
    assert request.expires_at - asked.astimezone(UTC) == timedelta(hours=24)
    lines = page(Question.model_validate(request.question), None, [], request.expires_at.astimezone(BERLIN))
    assert f"open until **{told}**" in "\n".join(lines)
    last = request.expires_at - timedelta(seconds=1)
    assert not request.is_over(last)
    assert request.is_over(request.expires_at)
    assert decide(connection, request, grace.answer(request, last), last).state == "approved"


def test_in_a_freeze_agreeing_is_not_enough(connection: Connection, grace: Person) -> None:
    request = ask(connection, policy=ONE.model_copy(update={"frozen": "frozen until tomorrow: the sale"}))
    with pytest.raises(Refused, match="shop is frozen until tomorrow: the sale"):
        decide(connection, request, grace.answer(request, NOW, source="terminal"), NOW)
    alone = grace.answer(request, NOW, "break glass", "terminal", REASON)
    assert decide(connection, request, alone, NOW).state == "approved"
    assert [decision.verdict for decision in take(connection, request, NOW)] == ["break glass"]
