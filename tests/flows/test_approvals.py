"""Nothing happens before the people whom the environment names have agreed to this very plan."""

import json
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from deployments.stack.state import write_private
from tests.blocks.platforms.waiting import eventually
from tests.ended import have_ended
from tests.flows.asking import WAITS, Waiting, begin, decide
from tests.flows.people import People, Person
from tests.flows.production import Production
from tests.flows.receiver import Receiver
from tests.flows.records import Records
from tests.running_stack import RunningStack

ASKED, ASKED_TWICE, ASKED_SHORTLY = "shop-asked", "shop-asked-twice", "shop-asked-shortly"
REASON = "the shop is down and nobody else is awake"


@pytest.fixture(scope="module")
def unanswered(shared_stack: RunningStack, environments: Path, api: httpx.Client) -> tuple["Following", Waiting]:
    """A run that nobody answers, followed by a CI job while the other tests go on."""
    following = Following(shared_stack, api, ASKED_SHORTLY, "--json")
    return following, following.waiting()


class Following:
    """`backstop run deploy … --wait`, and its run."""

    def __init__(self, stack: RunningStack, api: httpx.Client, environment: str, *words: str, **given: str) -> None:
        self._stack, self._api = stack, api
        self._environment = environment
        self._earlier = Records(stack).newest_run(environment)
        parameters = {"version": "v1.1.0", **given}
        pairs = [word for name, value in parameters.items() for word in ("-p", f"{name}={value}")]
        self.process = stack.begin("run", "deploy", environment, *pairs, "--wait", *words)

    def waiting(self) -> Waiting:
        """Its run, once it waits."""
        begun = Records(self._stack).wait_until_begun(self._environment, self._earlier)
        run = Waiting(self._stack, self._api, begun)
        run.wait_for_form()
        return run

    def end(self) -> tuple[int, str]:
        """Exit code and what was printed."""
        with self.process:
            output, _ = self.process.communicate(timeout=WAITS)
        return self.process.returncode, output


def test_one_person_agrees_while_the_worker_is_down_and_the_run_is_done_when_it_is_back(
    stack: RunningStack, api: httpx.Client, production: Production, people: People, unanswered: object
) -> None:
    following, ada = Following(stack, api, ASKED), people.enrol()
    run, worker = following.waiting(), psutil.Process(stack.pids()["worker"])
    worker.kill()
    eventually(lambda: have_ended(worker))
    code, told = decide(stack, run, ada, "--reason", "looks good")
    assert (code, told.splitlines()[-1]) == (0, "The plan is approved; the run goes on.")
    stack.run("up")

    code, told = following.end()
    assert code == 0, told
    assert told.splitlines()[0].endswith(f"/runs/flow-run/{run.id}")
    asked = run.records.events(run.id, "approval asked")[0]
    assert f"waits until {asked['until']} for 1 of: whoever is enrolled" in told
    assert f"{ada.name}: approve looks good" in told
    (decision,) = run.records.report(ASKED, run.id)["approval"]
    assert (decision["approver"], decision["verdict"], decision["source"]) == (ada.name, "approve", "terminal")
    assert production.answering_version() == "v1.1.0"


def test_two_people_agree_and_of_two_processes_of_the_run_one_acts(
    stack: RunningStack, api: httpx.Client, production: Production, people: People
) -> None:
    following, first, second = Following(stack, api, ASKED_TWICE), people.enrol(), people.enrol()
    run = following.waiting()
    code, told = decide(stack, run, first)
    assert (code, told.splitlines()[-1]) == (0, "Your decision is recorded; another person is needed.")
    code, told = decide(stack, run, first)
    assert (code, "has decided already" in told) == (1, True), told
    assert run.count("run continued") == 0

    code, told = decide(stack, run, second)
    assert code == 0, told
    eventually(lambda: run.state["type"] == "RUNNING", WAITS)
    run.set_state("SCHEDULED")
    eventually(lambda: run.count("repetition refused"), WAITS)
    code, told = following.end()
    assert code == 0, told
    assert [one["approver"] for one in run.records.report(ASKED_TWICE, run.id)["approval"]] == [first.name, second.name]
    assert (run.count("approval used"), run.count("run ended")) == (1, 1)
    assert run.records.effects(run.id).count("start release") == 1


def test_in_an_incident_who_asked_lets_it_through_alone_and_everybody_is_told(
    stack: RunningStack, api: httpx.Client, production: Production, people: People, environments: Path
) -> None:
    ada = people.enrol()
    with Receiver() as receiver:
        write_private(environments / "channel", f"json://127.0.0.1:{receiver.port}/")
        following = Following(stack, api, ASKED, requested_by=ada.name)
        run = following.waiting()
        break_glass(stack, run, ada)
        code, told = following.end()
    assert code == 0, told
    assert f"{ada.name}: break glass {REASON}" in told
    assert [one["verdict"] for one in run.records.report(ASKED, run.id)["approval"]] == ["break glass"]
    announced = {notice["title"]: notice["message"] for notice in receiver.received}
    assert REASON in announced["BREAK GLASS: Deploy v1.1.0 to shop-asked"]


def break_glass(stack: RunningStack, run: Waiting, ada: Person) -> None:
    for words in ((), ("--break-glass", "--reason", "hurry")):
        code, told = decide(stack, run, ada, *words)
        assert code == 1, told
    assert run.refusals == [
        f"{ada.name} asked for this run: somebody else has to approve it.",
        "Whoever lets something through alone says why, in 20 characters at least.",
    ]
    code, told = decide(stack, run, ada, "--break-glass", "--reason", REASON)
    assert code == 0, told


def test_who_waits_no_longer_is_told_and_who_is_rejected_too(
    stack: RunningStack, api: httpx.Client, production: Production, people: People
) -> None:
    before, ada = production.look(), people.enrol()
    key = ("--idempotency-key", f"job of {ada.name}")
    following = Following(stack, api, ASKED, *key, "--timeout", "6")
    run = following.waiting()
    code, told = following.end()
    assert (code, told.splitlines()[-1]) == (6, "Still waiting after 6 s; the run goes on.")
    again = Following(stack, api, ASKED, *key, "--json")
    code, told = decide(stack, run, ada, "--reject", "--reason", "not on a Friday")
    assert (code, told.splitlines()[-1]) == (0, "The plan is rejected; the run ends.")
    code, told = again.end()
    result = json.loads(told)
    assert (code, result["run"], result["ending"]) == (5, run.id, "Not approved")
    assert result["message"] == f"Rejected by {ada.name}: not on a Friday. Nothing was changed."
    assert production.look() == before


def test_what_waits_has_no_process_and_holds_nothing(
    stack: RunningStack, api: httpx.Client, production: Production, records: Records, unanswered: object
) -> None:
    runs = [begin(stack, api, environment) for environment in (ASKED, ASKED, ASKED_TWICE)]
    for run in runs:
        run.wait_for_form()
    worker = psutil.Process(stack.pids()["worker"])
    eventually(lambda: not worker.children(), WAITS)
    sessions = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE %(name)s"
    for run in runs:
        assert run.ledger(sessions, name=f"%{run.id}%") == []
        records.assert_settled(str(records.run(run.id)["environment"]))
    for run in runs:
        run.set_state("CANCELLED", force=False)
    for run in runs:
        ended = "It waited for an approval, and Prefect shows it as Cancelled. Nothing was changed."
        assert run.ending() == ("Not approved", ended)


def test_a_decision_that_was_made_while_the_server_was_away_is_carried_out_when_it_is_back(
    stack: RunningStack, api: httpx.Client, production: Production, people: People
) -> None:
    run, ada = begin(stack, api, ASKED), people.enrol()
    run.wait_for_form()
    server = psutil.Process(stack.pids()["server"])
    server.kill()
    eventually(lambda: have_ended(server))
    code, told = decide(stack, run, ada, "--reject")
    assert (code, "the supervisor will wake the run" in told) == (0, True), told
    stack.run("up")
    assert run.ending() == ("Not approved", f"Rejected by {ada.name}. Nothing was changed.")


def test_a_run_that_is_killed_before_it_waits_is_ended(
    stack: RunningStack, api: httpx.Client, production: Production
) -> None:
    with psycopg.connect(stack.layout.database_url("backstop")) as holding:
        holding.execute("LOCK TABLE approval_decision IN ACCESS EXCLUSIVE MODE")  # it reads there before it waits
        run = begin(stack, api, ASKED)
        eventually(lambda: run.count("approval asked"), WAITS)
        for process in psutil.Process(stack.pids()["worker"]).children():
            process.kill()
    ended = "It waited for an approval, and Prefect shows it as Crashed. Nothing was changed."
    assert run.ending() == ("Not approved", ended)


def test_nobody_answers_and_the_supervisor_alone_ends_it(unanswered: tuple[Following, Waiting]) -> None:
    following, run = unanswered
    code, told = following.end()
    result = json.loads(told)
    assert (code, result["run"], result["ending"]) == (5, run.id, "Not approved")
    assert result["message"].startswith("Nobody decided until ")
    assert run.state["name"] == "Not approved"
    assert (run.count("approval expired"), run.count("run continued")) == (1, 0)
