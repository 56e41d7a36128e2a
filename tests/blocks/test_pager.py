"""Paging, as PagerDuty describes its Events API: once, whatever becomes of an answer, and without telling its key."""

import json
from collections.abc import Iterator

import pytest

from blocks.errors import MissingReference, Unreachable
from blocks.pager import PagerDuty
from tests.standins.description import described
from tests.standins.pagerduty import ROUTING_KEY, PagerDutyStandIn
from tests.standins.standing_in import Trouble, served

KEY = "backstop/shop/run-1"


@pytest.fixture
def pagerduty(monkeypatch: pytest.MonkeyPatch) -> Iterator[PagerDutyStandIn]:
    monkeypatch.setenv("PAGER_KEY", ROUTING_KEY)
    standing_in = PagerDutyStandIn(described("pagerduty-events-v2"))
    with served(standing_in):
        yield standing_in
    assert standing_in.violations == []


def pager(pagerduty: PagerDutyStandIn) -> PagerDuty:
    return PagerDuty(routing_key="${PAGER_KEY}", url=pagerduty.url, timeout=3)


def page(pagerduty: PagerDutyStandIn, summary: str = "deploy in shop needs a human") -> None:
    pager(pagerduty).page(KEY, summary, "shop", {"run": "run-1"}, "http://127.0.0.1/runs/flow-run/run-1")


def test_somebody_is_woken_once_until_it_is_resolved(pagerduty: PagerDutyStandIn) -> None:
    page(pagerduty)
    page(pagerduty)
    assert pagerduty.woken[KEY] == 1
    assert pagerduty.open[KEY]["summary"] == "deploy in shop needs a human"
    assert json.loads(pagerduty.asked[0].content)["links"][0]["href"].endswith("/runs/flow-run/run-1")

    pager(pagerduty).resolve(KEY)
    pager(pagerduty).resolve(KEY)
    assert pagerduty.open == {}


def test_a_long_message_is_cut_as_pagerduty_wants(pagerduty: PagerDutyStandIn) -> None:
    page(pagerduty, "é" * 5000)
    assert len(pagerduty.open[KEY]["summary"]) == 1024


def test_one_that_was_put_off_is_sent_then(pagerduty: PagerDutyStandIn) -> None:
    pagerduty.trouble = ["put off"]
    page(pagerduty)
    assert pagerduty.woken[KEY] == 1


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ("put off for long", "takes no more calls"),
        ("fails", "failed with status 500"),
        ("fails after it", "failed with status 500"),
        ("no answer after it", "did not answer within 3 s"),
    ],
)
def test_one_of_unknown_fate_is_sent_again_and_wakes_once(
    pagerduty: PagerDutyStandIn, trouble: Trouble, told: str
) -> None:
    pagerduty.trouble = [trouble]
    with pytest.raises(Unreachable, match=told):
        page(pagerduty)
    page(pagerduty)
    assert pagerduty.woken[KEY] == 1


def test_a_wrong_routing_key_is_told_without_it(pagerduty: PagerDutyStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER_KEY", "not-that-one")
    with pytest.raises(Unreachable, match="Event object is invalid, '…' is no routing key") as raised:
        page(pagerduty)
    assert "not-that-one" not in repr(raised.value)
    assert pagerduty.woken.total() == 0


def test_a_routing_key_that_is_not_set_is_named(pagerduty: PagerDutyStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAGER_KEY")
    with pytest.raises(MissingReference, match="PAGER_KEY"):
        page(pagerduty)
    assert pagerduty.asked == []
