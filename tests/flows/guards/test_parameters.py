"""What reaches a procedure, and what of it may stand in the ledger."""

import json
import math
from typing import Annotated, Any

import pytest
from psycopg.types.json import Jsonb
from pydantic import BaseModel, Field

from blocks.environment import Environment
from blocks.errors import BadParameter
from flows.guards.parameters import checked, descriptions, flow_signature, shown
from tests.ledger_database import LedgerDatabase


class Before(BaseModel):
    split: dict[str, int]


def act(
    environment: Environment,
    version: Annotated[str, Field(pattern="^v[0-9]+$", max_length=5, description="Release tag.")],
    percent: Annotated[int, Field(ge=1, le=100)] = 10,
    hotfix: Annotated[bool, Field(description="Skip staging.")] = False,
    before: Before | None = None,
    plain: str = "",
) -> str:
    return ""


SIGNATURE = flow_signature(act)


def test_the_environment_is_taken_by_its_name() -> None:
    assert list(SIGNATURE.parameters) == ["environment", "version", "percent", "hotfix", "before", "plain"]
    assert checked(SIGNATURE, {"environment": "shop"}) == {"environment": "shop"}
    assert SIGNATURE.parameters["percent"].default == 10


def test_what_a_form_says_about_each() -> None:
    told = descriptions(SIGNATURE)
    assert told["version"] == "Release tag."
    assert told["hotfix"] == "Skip staging."
    assert told["environment"].startswith("Which environment")
    assert set(told) == {"environment", "version", "percent", "hotfix"}


def test_values_become_what_the_procedure_asks_for() -> None:
    given = {"version": "v12", "percent": "50", "hotfix": "true", "before": {"split": {"r-1": 100}}}
    assert checked(SIGNATURE, given) == {
        "version": "v12",
        "percent": 50,
        "hotfix": True,
        "before": Before(split={"r-1": 100}),
    }


def test_what_is_not_given_is_left_to_its_default() -> None:
    assert checked(SIGNATURE, {"version": "v1"}) == {"version": "v1"}


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("version", "v1;id", "should match pattern"),
        ("version", "v1\n", "should match pattern"),
        ("version", "v123456", "at most 5 characters"),
        ("version", None, "valid string"),
        ("version", ["v1"], "valid string"),
        ("percent", 0, "greater than or equal to 1"),
        ("percent", 101, "less than or equal to 100"),
        ("percent", math.nan, "finite number"),
        ("percent", "ten", "valid integer"),
        ("hotfix", "perhaps", "valid boolean"),
        ("before", {"split": "all"}, "valid dictionary"),
        ("before", {}, "Field required"),
        ("environment", {"$ref": "block"}, "valid string"),
    ],
)
def test_what_is_not_allowed(name: str, value: object, allowed: str) -> None:
    with pytest.raises(BadParameter) as refusal:
        checked(SIGNATURE, {"version": "v1", name: value})
    message = str(refusal.value)
    assert message.startswith(f"Parameter '{name}' was {value!r}; allowed: ")
    assert allowed in message
    assert message.endswith("Nothing was changed.")


def test_a_long_value_is_cut_in_the_refusal() -> None:
    with pytest.raises(BadParameter) as refusal:
        checked(SIGNATURE, {"version": "v" * 10_000})
    assert len(refusal.value.message) < 200
    assert "10002 characters" in refusal.value.message


class Opaque:
    def __str__(self) -> str:
        return "opaque"


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ("v1.2.0", "v1.2.0"),
        (None, None),
        (True, True),
        (7, 7),
        (0.5, 0.5),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        ("a\x00b", "a�b"),
        ("half \ud800", "half ?"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 200 + "… (201 characters)"),
        (["a\x00", ("b",)], ["a�", ["b"]]),
        ({1: {"\x00": "x" * 300}}, {"1": {"�": "x" * 200 + "… (300 characters)"}}),
        (Before(split={"r-1": 100}), {"split": {"r-1": 100}}),
        (Opaque(), "opaque"),
        (b"bytes", "b'bytes'"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_what_stands_in_the_ledger(ledger: LedgerDatabase, value: object, plain: object) -> None:
    told = shown({"given": value})
    assert told == {"given": plain}
    json.dumps(told, allow_nan=False)
    with ledger.connect("run-1") as connection:
        row = connection.execute("SELECT %s::jsonb AS stored", [Jsonb(told)]).fetchone()
    assert row == {"stored": told}


def test_a_hostile_name_is_stored_too() -> None:
    hostile: dict[str, Any] = {"environment": "\x00" + "x" * 10_000, "requested_by": "\ud800"}
    told = shown(hostile)
    assert str(told["environment"]).startswith("�x")
    assert len(str(told["environment"])) < 300
    assert told["requested_by"] == "?"
