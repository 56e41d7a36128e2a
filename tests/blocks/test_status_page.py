"""An incident at Statuspage, as its published description has it: one a run, whatever becomes of an answer."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from blocks.errors import Unreachable
from blocks.status_page import Statuspage
from tests.standins.description import described
from tests.standins.standing_in import Trouble, served
from tests.standins.statuspage import KEY, PAGE, StatuspageStandIn


@pytest.fixture
def statuspage(monkeypatch: pytest.MonkeyPatch) -> Iterator[StatuspageStandIn]:
    monkeypatch.setenv("PAGE_KEY", KEY)
    standing_in = StatuspageStandIn(described("statuspage"))
    with served(standing_in):
        yield standing_in
    assert standing_in.violations == []


def page(statuspage: StatuspageStandIn, **differs: object) -> Statuspage:
    fields: dict[str, object] = {"page": PAGE, "key": "${PAGE_KEY}", "url": statuspage.url, "timeout": 3, **differs}
    return Statuspage.model_validate(fields)


def test_an_incident_is_opened_once_and_resolved(statuspage: StatuspageStandIn) -> None:
    shown = page(statuspage, incident_title="Shop: not available", text="Back at noon.", components=["shop1"])
    opened = shown.open_incident("run-1")
    assert shown.open_incident("run-1") == opened
    other = shown.open_incident("run-2")
    assert other != opened

    (_, incident) = statuspage.unresolved()
    assert (incident["name"], incident["impact"]) == ("Shop: not available", "major")
    assert incident["incident_updates"][0]["body"] == "Back at noon."
    assert incident["components"] == [{"id": "shop1"}]
    assert shown.count_unresolved() == 2

    shown.resolve_incident("run-1")
    shown.resolve_incident("run-1")
    assert [one["id"] for one in statuspage.unresolved()] == [other]
    assert len(incident["incident_updates"]) == 2, "resolved once"


def test_a_maintenance_is_under_way_at_once_for_as_long_as_is_said_and_completed(statuspage: StatuspageStandIn) -> None:
    shown = page(statuspage, title="Shop: maintenance", planned_minutes=90, components=["shop1"])
    begun = shown.begin_maintenance("run-1")
    assert shown.begin_maintenance("run-1") == begun
    assert shown.open_incident("run-1") != begun

    (maintenance,) = statuspage.under_way()
    assert (maintenance["name"], maintenance["impact"]) == ("Shop: maintenance", "maintenance")
    window = [datetime.fromisoformat(maintenance[name]) for name in ("scheduled_for", "scheduled_until")]
    assert window[1] - window[0] == timedelta(minutes=90)

    for _ in range(2):
        shown.complete_maintenance("run-1", as_planned=True)
    assert maintenance["status"] == "completed"
    assert len(maintenance["incident_updates"]) == 2, "completed once"
    assert len(statuspage.unresolved()) == 1, "the incident is another matter"


@pytest.mark.parametrize("trouble", ["fails", "fails after it", "no answer after it"])
def test_one_of_unknown_fate_is_not_opened_twice(statuspage: StatuspageStandIn, trouble: Trouble) -> None:
    statuspage.trouble = ["", trouble]  # it looks first
    with pytest.raises(Unreachable):
        page(statuspage).open_incident("run-1")
    page(statuspage).open_incident("run-1")
    assert len(statuspage.incidents) == 1

    statuspage.trouble = ["", trouble]
    with pytest.raises(Unreachable):
        page(statuspage).begin_maintenance("run-1")
    page(statuspage).begin_maintenance("run-1")
    assert len(statuspage.incidents) == 2


def test_one_that_was_put_off_is_opened_then(statuspage: StatuspageStandIn) -> None:
    statuspage.trouble = ["put off", "put off"]
    page(statuspage).open_incident("run-1")
    assert len(statuspage.unresolved()) == 1


def test_a_wrong_key_is_told_without_it(statuspage: StatuspageStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGE_KEY", "not-that-one")
    with pytest.raises(Unreachable, match="Could not authenticate") as raised:
        page(statuspage).open_incident("run-1")
    assert "API key" in raised.value.hint
    assert "not-that-one" not in repr(raised.value)
