"""Whoever knows the login may send anything to Prefect's API about a run that waits. Nothing is done unapproved.

Every test ends with no effect of its run, the platform as it was, and what was tried in the trail.
"""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from tests.blocks.platforms.waiting import eventually
from tests.flows.asking import WAITS, Waiting, agree, begin, decide
from tests.flows.interface import Interface
from tests.flows.people import People, Person
from tests.flows.production import Production
from tests.running_stack import RunningStack

ASKED, ASKED_TWICE = "shop-asked", "shop-asked-twice"
REVEALING = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
WRONG = "000000"

FILLED_IN = {
    "roll-back-deploy": "before",
    "roll-back-migration": "before",
    "undo-restore": "before",
    "undo-restore-table": "change",
}
"""Procedure → the parameter that only a run of it may fill in."""

Begin = Callable[..., Waiting]


def jinja(template: str) -> dict[str, str]:
    return {"__prefect_kind": "jinja", "template": template}


@pytest.fixture
def waiting(stack: RunningStack, api: httpx.Client, environments: Path, production: Production) -> Iterator[Begin]:
    """Begins a run that waits. None of them has an effect, whatever a test does."""
    runs = []

    def begin_one(environment: str = ASKED) -> Waiting:
        run = begin(stack, api, environment)
        runs.append(run)
        run.wait_for_form()
        return run

    before = production.traffic(), production.running(), production.tags()
    yield begin_one
    for run in runs:
        assert run.records.effects(run.id) == []
        run.records.assert_settled(ASKED)
        if not run.records.run(run.id)["ending"]:
            run.set_state("CANCELLED")
    assert (production.traffic(), production.running(), production.tags()) == before


@pytest.fixture
def ada(people: People) -> Person:
    return people.enrol()


@pytest.fixture
def alan(people: People) -> Person:
    return people.enrol()


def test_what_the_server_itself_refuses_begins_nothing(waiting: Begin, ada: Person) -> None:
    run = waiting()
    form, right = run.form, run.fill_in(ada, WRONG)
    inputs = [
        None,
        {},
        {**right, "plan": "0123456789abcdef"},
        {**right, "decision": "yes"},
        {**right, "decision": jinja("{{ 'approve' }}x")},
        {**right, "code": [WRONG]},
        {**right, "state": "approved", "may_act": True},
        {**right, "code": jinja("{{ broken")},
        {**right, "reason": jinja(REVEALING)},
        {**right, "reason": {"__prefect_kind": "workspace_variable", "variable_name": "no-such"}},
        {**right, "name": {"__prefect_kind": "json", "value": "{broken"}},
        {name: value for name, value in right.items() if name != "code"},
    ]
    for run_input in inputs:
        assert run.resume(run_input)["status"] == "REJECT", run_input
    eventually(lambda: run.refused_by_prefect == len(inputs), WAITS)
    assert run.form == form
    assert run.count("run continued") == 0


def test_extra_fields_templates_and_guesses_in_the_form_decide_nothing_and_the_terminal_still_does(
    stack: RunningStack, waiting: Begin, ada: Person, alan: Person
) -> None:
    run = waiting()
    guesses: list[dict[str, object]] = [
        run.fill_in(ada, WRONG),
        run.fill_in(ada, jinja("{{ 111111 }}"), decision=jinja("{{ 'approve' }}"), reason=jinja("{{ range }}")),
        run.fill_in(ada, WRONG, reason=REVEALING),
    ]
    for guess in guesses:
        assert "wrong, too old or was used before" in run.answer(guess)
    assert "Too many wrong codes" in run.answer(run.fill_in(ada))
    trail = json.dumps(run.ledger("SELECT detail FROM audit WHERE run_id = %(run)s"))
    assert not any(revealed in trail for revealed in ("class 'object'", "_check_template_range"))

    code, told = decide(stack, run, alan, "--reject", "--reason", "somebody guesses")
    assert code == 0, told
    assert run.ending()[0] == "Not approved"


def test_a_code_counts_for_one_run_once_however_it_is_copied(stack: RunningStack, waiting: Begin, ada: Person) -> None:
    here, elsewhere = waiting(), waiting(ASKED_TWICE)
    code = ada.code()
    with stopped(stack.pids()["worker"]):
        here.resume(here.fill_in(ada, code, decision="reject"))
        here.set_state("PENDING")  # so that the copy is looked at first
        copied = elsewhere.form
        elsewhere.resume(elsewhere.fill_in(ada, f"{code[:3]} {code[3:]}"))
    elsewhere.wait_for_form(copied)
    assert elsewhere.refusals == [f"This code was given to run {here.id} before: it is worth nothing here."]

    here.set_state("SCHEDULED")
    assert here.ending() == ("Not approved", f"Rejected by {ada.name}. Nothing was changed.")
    assert "was used before" in elsewhere.answer(elsewhere.fill_in(ada, code))
    assert elsewhere.count("decision") == 0


def test_a_code_of_a_run_that_was_cancelled_before_it_looked_counts_nowhere(
    stack: RunningStack, waiting: Begin, ada: Person
) -> None:
    here, elsewhere = waiting(), waiting(ASKED_TWICE)
    code = ada.code()
    with stopped(stack.pids()["worker"]):
        here.resume(here.fill_in(ada, code))
        here.set_state("CANCELLED")
    assert here.ending()[0] == "Not approved"
    assert "was given to run" in elsewhere.answer(elsewhere.fill_in(ada, code))


def test_states_that_are_set_bring_a_run_to_its_end_and_nowhere_else(waiting: Begin) -> None:
    run = waiting()
    form = run.form
    for kind in ("RUNNING", "PENDING", "SCHEDULED"):
        assert run.set_state(kind) == "ACCEPT"
    run.wait_for_form(after=form)
    assert run.count("resumed without an answer") == 1

    run.set_state("COMPLETED", force=False)
    assert run.ending() == (
        "Not approved",
        "It waited for an approval, and Prefect shows it as Completed. Nothing was changed.",
    )
    run.set_state("SCHEDULED")
    eventually(lambda: run.state["name"] == "Refused", WAITS)
    assert run.records.events(run.id, "repetition refused") == [{"ending": "Not approved"}]


def test_what_is_written_into_the_ledger_by_hand_approves_nothing(
    stack: RunningStack, waiting: Begin, ada: Person
) -> None:
    """By whoever may write there, but has not the key. The supervisor wakes such a run, as any that nobody woke."""
    run, other = waiting(), waiting(ASKED_TWICE)
    code, told = decide(stack, other, ada)
    assert code == 0, told
    run.ledger(
        "INSERT INTO approval_decision SELECT mine.id, approver, verdict, reason, source, decided_at, seal"
        " FROM approval_request mine, approval_request theirs JOIN approval_decision ON request_id = theirs.id"
        " WHERE mine.run_id = %(run)s AND theirs.run_id = %(other)s",
        other=other.id,
    )
    run.ledger("UPDATE approval_request SET state = 'approved' WHERE run_id = %(run)s")
    assert run.ending() == ("Not approved", "The approval is not valid any more. Start again. Nothing was changed.")


def test_parameters_that_were_edited_are_refused_though_the_run_was_approved(
    stack: RunningStack, api: httpx.Client, waiting: Begin, ada: Person
) -> None:
    run = waiting()
    edited = api.get(f"/flow_runs/{run.id}").json()["parameters"] | {"version": "v1.2.0"}
    api.patch(f"/flow_runs/{run.id}", json={"parameters": edited}).raise_for_status()
    code, told = decide(stack, run, ada)
    assert code == 0, told
    eventually(lambda: run.state["name"] == "Refused", WAITS)
    assert "The parameters of this run were changed while it waited for an approval." in run.state["message"]
    assert run.count("changed parameters refused") == 1
    assert run.ending()[0] == "Not approved"


def test_inputs_that_are_made_or_deleted_by_hand_decide_nothing(api: httpx.Client, waiting: Begin, ada: Person) -> None:
    run = waiting()
    inputs = f"/flow_runs/{run.id}/input"
    by_hand: list[object] = [
        [],
        {**run.fill_in(ada, WRONG), "decision": {"approve": True}, "plan": "another"},
    ]
    for content in by_hand:
        form = run.form
        api.post(inputs, json={"key": run.response_key, "value": json.dumps(content)}).raise_for_status()
        run.set_state("SCHEDULED", force=False)
        run.wait_for_form(after=form)
    assert [why.partition(";")[0] for why in run.refusals] == [
        "The decision names plan ''",
        "The decision names plan 'another'",
    ]

    form = run.form
    for found in api.post(f"{inputs}/filter", json={"prefix": "", "limit": 200}).raise_for_status().json():
        api.delete(f"{inputs}/{found['key']}")
    assert run.resume(run.fill_in(ada))["status"] == "REJECT"
    assert run.form == form
    assert run.count("decision") == 0


def test_a_form_that_is_said_to_have_been_shown_already_lets_nothing_through(
    api: httpx.Client, waiting: Begin, ada: Person
) -> None:
    """Prefect asks once a key, and anybody may tell it that it did: the flow would go on at once."""
    run = waiting()
    request, form = run.form.split("-")[1:]
    following = f"approval-{request}-{int(form) + 1}"
    api.patch(f"/flow_runs/{run.id}", json={"empirical_policy": {"pause_keys": [following]}}).raise_for_status()
    answer = {"key": f"suspended-{following}-response", "value": json.dumps(run.fill_in(ada, WRONG))}
    api.post(f"/flow_runs/{run.id}/input", json=answer).raise_for_status()
    run.set_state("SCHEDULED")
    assert run.ending() == (
        "Refused",
        "Prefect did not let this run wait for an approval. Start a new one. Nothing was changed.",
    )


def test_a_run_that_is_deleted_ends_unapproved_and_keeps_nobody_from_the_others(
    stack: RunningStack, api: httpx.Client, waiting: Begin, ada: Person
) -> None:
    deleted, other = waiting(), waiting()
    api.delete(f"/flow_runs/{deleted.id}").raise_for_status()
    assert deleted.ending() == (
        "Not approved",
        "It waited for an approval, and Prefect shows it as deleted. Nothing was changed.",
    )
    code, told = decide(stack, other, ada, "--reject")
    assert code == 0, told
    assert other.ending()[0] == "Not approved"


def test_what_a_run_fills_in_for_its_own_undo_cannot_come_from_outside(
    stack: RunningStack, api: httpx.Client, interface: Interface, environments: Path
) -> None:
    runs = {}
    for procedure, name in FILLED_IN.items():
        given: dict[str, object] = {"environment": ASKED, name: {"run_id": "another run", "backup": "another backup"}}
        answer = interface.create_run(procedure, given, enforced=False).raise_for_status()
        runs[procedure] = Waiting(stack, api, answer.json()["id"])
    for procedure, run in runs.items():
        ending, message = run.ending()
        assert (ending, message.split(" was ")[0]) == ("Refused", f"Parameter '{FILLED_IN[procedure]}'"), procedure
        assert run.records.effects(run.id) == []


def test_a_plan_or_a_policy_that_changed_is_asked_about_anew(
    stack: RunningStack, waiting: Begin, people: People, environments: Path, production: Production
) -> None:
    run, first, second, third = waiting(), people.enrol(), people.enrol(), people.enrol()
    form, before = run.form, production.traffic()
    other = production.start("v1.2.0")
    main = next(iter(before))
    try:
        production.give_traffic({main: 60, other.id: 40})
        agree(stack, run, first)
        run.wait_for_form(after=form)
    finally:
        production.give_traffic(before)
        production.platform.stop_release(other.id)
    told = run.records.events(run.id, "plan changed")[-1]["differences"]
    assert told == [f"traffic now: {main} 100 % → {main} 60 %, {other.id} 40 %"]

    # The plan is the first one again, but that approval was for a request that is gone.
    form = run.form
    agree(stack, run, second)
    run.wait_for_form(after=form)
    assert run.count("approval asked") == 3

    form = run.form
    with tightened(stack, environments / f"{ASKED}.yaml"):
        agree(stack, run, third)
        run.wait_for_form(after=form)
    assert run.records.events(run.id, "plan changed")[-1] == {"differences": ["who is asked"]}
    assert run.count("approval used") == 0


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process stands still meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def tightened(stack: RunningStack, file: Path) -> Iterator[None]:
    """Two people have to agree in this environment, as of now."""
    content = yaml.safe_load(file.read_text())
    stricter = file.with_name("stricter.yaml")
    stricter.write_text(yaml.safe_dump({**content, "approvals": {"needed": 2}}))
    try:
        stack.run("apply", str(stricter))
        yield
    finally:
        stack.run("apply", str(file))
