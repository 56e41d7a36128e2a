"""People decide in Prefect's interface about runs that wait for them."""

from pathlib import Path

import pytest
from playwright.sync_api import Locator, ViewportSize, expect

from tests.browser.interface import BROWSER, PROGRAMS, Interface
from tests.flows.people import People
from tests.flows.production import Production
from tests.flows.records import Records
from tests.prefect_server import ask_for_run, prefect_api
from tests.running_stack import RunningStack

pytestmark = [
    pytest.mark.skipif(not BROWSER, reason=f"No browser: none of {', '.join(PROGRAMS)} is on PATH."),
    pytest.mark.timeout(240),  # the first one brings the stack up, each one waits for several runs
]

SMALL_WINDOW: ViewportSize = {"width": 1280, "height": 720}


@pytest.fixture(scope="module", autouse=True)
def unanswered(shared_stack: RunningStack, environments: Path) -> str:
    """A run that waits for 36 s while the other tests go on."""
    return begin_deploy(shared_stack, "shop-asked-shortly")


def begin_deploy(stack: RunningStack, environment: str, requested_by: str = "") -> str:
    parameters = {"environment": environment, "version": "v1.1.0", "requested_by": requested_by}
    with prefect_api(stack) as api:
        return str(ask_for_run(api, "deploy", parameters).raise_for_status().json()["id"])


def asked(interface: Interface) -> Locator:
    """The plan in the form, once the run waits for an answer."""
    interface.wait_for_state("Suspended")
    return interface.open_approval_form()


def test_the_plan_is_seen_and_its_rejection_ends_the_run_with_the_reason(
    interface: Interface, stack: RunningStack, people: People, production: Production, records: Records
) -> None:
    anne, before = people.enrol("anne"), production.look()
    run_id = begin_deploy(stack, "shop-asked-by-name", requested_by="carla")
    interface.page.set_viewport_size(SMALL_WINDOW)
    interface.open_run(run_id)

    plan = asked(interface)
    for words in (
        "Deploy v1.1.0 to shop-asked-by-name",
        "open until",
        "1 person must agree (anne, ben; not carla, who asked for it).",
        "gives it 50 % → 100 % of the traffic · undo: all traffic back to where it is now",
        "Nothing would be lost.",
        "replaces: v1.0.0",
    ):
        expect(plan.get_by_text(words).first).to_be_in_viewport()
    assert interface.choices("Decision") == {"approve", "reject"}
    assert interface.choices("Name") == {"anne", "ben"}

    interface.press_submit()
    for field in ("decision", "name", "code"):
        expect(interface.page.get_by_text(f"'{field}' is a required property")).to_be_visible()

    interface.fill_in_approval("reject", "anne", anne.code(), "Not before the Fair")
    interface.answer()
    interface.wait_for_state("Not approved")
    expect(interface.message_of_state()).to_contain_text("Rejected by anne: Not before the Fair. Nothing was changed.")
    assert records.effects(run_id) == []
    assert production.look() == before


def test_a_wrong_code_is_asked_for_again_the_requester_is_refused_and_another_ones_code_is_right(
    interface: Interface, stack: RunningStack, people: People, production: Production, records: Records
) -> None:
    requester, approver, before = people.enrol(), people.enrol(), production.look()
    run_id = begin_deploy(stack, "shop-asked", requested_by=requester.name)
    interface.open_run(run_id)

    asked(interface)
    assert interface.choices("Decision") == {"approve", "reject", "break glass"}
    interface.fill_in_approval("approve", approver.name, requester.code())
    interface.answer()
    expect(asked(interface)).to_contain_text("This code is not one of that name now")

    interface.fill_in_approval("approve", requester.name, requester.code())
    interface.answer()
    expect(asked(interface)).to_contain_text("asked for this run: somebody else has to approve it.")

    assert production.look() == before
    interface.fill_in_approval("approve", approver.name, approver.code())
    interface.answer()
    interface.wait_for_state("Done")
    assert production.answering_version() == "v1.1.0"
    assert [decision["approver"] for decision in records.events(run_id, "decision")] == [approver.name]


def test_where_two_have_to_agree_the_same_person_does_not_count_twice(
    interface: Interface, stack: RunningStack, people: People, production: Production, records: Records
) -> None:
    first, second, before = people.enrol(), people.enrol(), production.look()
    run_id = begin_deploy(stack, "shop-asked-twice")
    interface.open_run(run_id)

    expect(asked(interface)).to_contain_text("2 people must agree")
    interface.fill_in_approval("approve", first.name, first.code(), "Tested in Staging")
    interface.answer()
    expect(asked(interface)).to_contain_text(f"Approved by {first.name}: Tested in Staging.")

    interface.fill_in_approval("approve", first.name, first.code())
    interface.answer()
    expect(asked(interface)).to_contain_text(f"{first.name} has decided already: another person is needed.")

    assert production.look() == before
    interface.fill_in_approval("approve", second.name, second.code())
    interface.answer()
    interface.wait_for_state("Done")
    assert [one["approver"] for one in records.events(run_id, "decision")] == [first.name, second.name]


def test_a_run_that_nobody_answers_in_time_ends_by_itself(
    interface: Interface, unanswered: str, records: Records
) -> None:
    interface.open_run(unanswered)
    interface.wait_for_state("Not approved")
    expect(interface.message_of_state()).to_contain_text("Nobody decided until")
    expect(interface.page.get_by_role("button", name="Resume")).to_have_count(0)
    assert len(records.events(unanswered, "approval asked")) == 1
    assert records.effects(unanswered) == []
