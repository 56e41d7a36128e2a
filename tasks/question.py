"""A plan as it is put to its approvers: what would be done, how each part is undone, what could be lost."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import datetime

from pydantic import BaseModel

from blocks.ledger.approval_requests import Decision, Request
from blocks.ledger.connection import Connection
from tasks.markdown import plain


class Effect(BaseModel):
    what: str
    undo: str
    """Empty where there is none."""


class Question(BaseModel):
    """What an approver decides on."""

    title: str
    """As: Deploy v1.2.0 to shop-production."""
    fingerprint: str
    facts: dict[str, str]
    """What the plan rests on, in words. A plan that changed is told by them."""
    effects: list[Effect]
    losses: list[str] = []


def fingerprint_of(facts: dict[str, str]) -> str:
    """Of a plan that is nothing but these facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def differences(before: Question, now: Question) -> list[str]:
    """What changed between two plans of one run, a line each."""
    names = [*before.facts, *(name for name in now.facts if name not in before.facts)]
    changed = [
        f"{name}: {before.facts.get(name, 'none')} → {now.facts.get(name, 'none')}"
        for name in names
        if before.facts.get(name) != now.facts.get(name)
    ]
    return changed or [f"plan {before.fingerprint} → {now.fingerprint}"]


def read_usual_seconds(connection: Connection, procedure: str, environment: str) -> float | None:
    """Median of the newest ten runs that were done, waiting for approvals left out; None before the first one."""
    row = connection.execute(
        "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS median FROM ("
        " SELECT extract(epoch FROM ended_at - coalesce("
        "   (SELECT max(closed_at) FROM approval_request WHERE run_id = run.id AND state = 'used'), started_at"
        " )) AS seconds FROM run WHERE procedure = %s AND environment = %s AND ending = 'Done'"
        "   AND coalesce(parameters->>'plan_only', 'false') = 'false'"
        " ORDER BY started_at DESC LIMIT 10) newest",
        [procedure, environment],
    ).fetchone()
    return float(str(row["median"])) if row and row["median"] is not None else None


def page(question: Question, usual_seconds: float | None, asked: Sequence[str], until: datetime) -> Iterator[str]:
    """Markdown lines for whoever decides; `asked` says how many have to agree and who did.

    A form is too narrow for tables: Prefect 3.8.8 cuts their cells off.
    """
    yield f"## {plain(question.title)}"
    yield f"Plan `{question.fingerprint}` · open until **{until:%Y-%m-%d %H:%M %Z}** · {_takes(usual_seconds)}"
    yield ""
    yield from (f"- {plain(line)}" for line in asked)
    yield ""
    yield "**What is done:**"
    yield from (f"1. **{plain(one.what)}** · undo: {plain(one.undo) or '**none**'}" for one in question.effects)
    yield ""
    if question.losses:
        yield "**What would be lost:**"
        yield from (f"- {plain(loss)}" for loss in question.losses)
    else:
        yield "Nothing would be lost."
    yield ""
    yield "**What it rests on:**"
    yield from (f"- {plain(name)}: {plain(value)}" for name, value in question.facts.items())


def describe_asked(request: Request, decisions: list[Decision]) -> list[str]:
    """How many have to agree, who may, who did."""
    if request.frozen:
        return [
            f"{request.environment} is {request.frozen}. One person may break the glass.",
            *map(sentence, decisions),
        ]
    people = "1 person" if request.needed == 1 else f"{request.needed} people"
    who = ", ".join(request.approvers) or "whoever is enrolled"
    never = f"; not {request.requested_by}, who asked for it" if request.requested_by else ""
    return [f"{people} must agree ({who}{never}).", *map(sentence, decisions)]


def sentence(decision: Decision) -> str:
    """As: Rejected by ada: not on a Friday."""
    told = str(decision)
    return f"{told[0].upper()}{told[1:]}."


def _takes(seconds: float | None) -> str:
    return f"usually takes {seconds:.0f} s" if seconds is not None else "never done here before"
