"""How an environment stands with its recovery drills: not ready while the last one did not pass."""

from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from blocks.ledger.connection import Connection


class DrillStanding(BaseModel):
    """As the trail tells it."""

    drills: str
    """The last one that kept its objectives; `never` where none has."""
    not_ready: list[str]
    """Why recovery cannot be relied upon now; empty when it can, or nobody asked."""
    overdue: list[str]
    """Objectives that are not kept."""


def read_drill_standing(connection: Connection, name: str, data: dict[str, Any]) -> DrillStanding:
    """`data`: of the environment's block. Without a part `drills` nothing is asked of one that was never drilled."""
    last = connection.execute(_LAST, [name]).fetchall()
    kept = connection.execute(_KEPT, [name]).fetchone() or {}
    policy, age = data.get("drills"), kept.get("age")
    not_ready = [_in_words(one) for one in last if one["verdict"] != "kept"]
    if policy and not last:
        not_ready = ["it was never drilled; `backstop run dr-drill` does it"]
    overdue = []
    if policy and isinstance(age, timedelta) and age > timedelta(days=policy.get("max_age_days", 92)):
        overdue = [f"drill: {_days(age)} ago; {policy.get('max_age_days', 92):g} days are allowed"]
    told = f"last kept {_days(age)} ago ({kept['scenario']})" if isinstance(age, timedelta) else "never"
    return DrillStanding(drills=told, not_ready=not_ready, overdue=overdue)


def _in_words(last: dict[str, Any]) -> str:
    if not last["verdict"]:
        return f"its last drill ({last['scenario']}, run {last['run_id']}) was interrupted"
    return f"its last drill {last['verdict']}: {last['told']}"


def _days(age: timedelta) -> str:
    return f"{age.total_seconds() / 86400:.1f} days"


_LAST = """
SELECT DISTINCT ON (detail->>'scenario')
  run_id, detail->>'scenario' AS scenario, detail->>'verdict' AS verdict, detail->>'told' AS told
FROM audit JOIN run ON run.id = run_id
WHERE audit.environment = %s AND (event = 'drill ended' OR event = 'drill began' AND ending IS NOT NULL)
ORDER BY detail->>'scenario', sequence DESC
"""
"""Of each scenario: an application that came back says nothing about a backup that did not. One that goes on has no say
yet; one that ended without a verdict was interrupted.
"""

_KEPT = """
SELECT now() - at::timestamptz AS age, detail->>'scenario' AS scenario
FROM audit WHERE environment = %s AND event = 'drill ended' AND detail->>'verdict' = 'kept'
ORDER BY sequence DESC LIMIT 1
"""
