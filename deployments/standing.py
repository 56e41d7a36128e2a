"""How every environment stands: its release, who holds it, what is armed, what waits for a human."""

from datetime import timedelta
from typing import Any

import httpx
from pydantic import BaseModel

from blocks.errors import BackstopError
from blocks.ledger.connection import Connection, connect
from blocks.ledger.fence import read_holder
from blocks.reference import resolve
from blocks.trust import trusted_certificates
from deployments.drill_standing import read_drill_standing
from deployments.prefect_api import PrefectApi
from deployments.secret_standing import read_secret_standing

_SECONDS = 2


class Standing(BaseModel):
    environment: str
    release: str
    """The version that users meet; empty when the service does not say one."""
    held_by: str
    waits: list[str]
    """Runs that wait for an approval."""
    armed: list[str]
    needs_a_human: list[str]
    last_run: str
    backups: str
    """The newest one and the newest proof, as the trail has them; empty where none are kept."""
    broken: list[str]
    """Objectives that are not kept."""
    drills: str
    """The last recovery drill that kept its objectives; `never` where none has."""
    secrets: list[str]
    """Each that is rotated, with its age."""
    not_ready: list[str]
    """Why recovery cannot be relied upon; until a drill passes."""


def read_standings() -> list[Standing]:
    """Of every applied environment, by name. Raises BackstopError when ledger or server are away."""
    api = PrefectApi()
    with connect("status") as connection:
        return [_read(connection, document) for document in api.read_blocks("environment")]


def _read(connection: Connection, document: dict[str, Any]) -> Standing:
    name = str(document["name"])
    holder = read_holder(connection, name)
    last = connection.execute(
        "SELECT procedure, coalesce(ending, 'running') AS ending, started_at FROM run"
        " WHERE environment = %s ORDER BY started_at DESC LIMIT 1",
        [name],
    ).fetchone()
    backups, broken = _read_backups(connection, name, document["data"])
    drilled = read_drill_standing(connection, name, document["data"])
    secrets = read_secret_standing(connection, name, document["data"])
    return Standing(
        environment=name,
        release=_read_release(document["data"]["service"]),
        held_by=f"{holder['procedure']} (run {holder['run_id']}) since {holder['since']:%H:%M:%S %Z}" if holder else "",
        waits=_read_waiting(connection, name),
        armed=_undos(connection, name, "armed"),
        needs_a_human=_undos(connection, name, "failed"),
        last_run=f"{last['procedure']}: {last['ending']}, {last['started_at']:%Y-%m-%d %H:%M:%S %Z}" if last else "",
        backups=backups,
        broken=[*broken, *drilled.overdue, *secrets.overdue],
        drills=drilled.drills,
        secrets=secrets.secrets,
        not_ready=drilled.not_ready,
    )


def _read_waiting(connection: Connection, name: str) -> list[str]:
    rows = connection.execute(
        "SELECT run_id, question->>'title' AS title, expires_at FROM approval_request JOIN run ON run.id = run_id"
        " WHERE environment = %s AND closed_at IS NULL AND ending IS NULL ORDER BY approval_request.id",
        [name],
    )
    return [f"{row['title']}, until {row['expires_at']:%Y-%m-%d %H:%M %Z} (run {row['run_id']})" for row in rows]


def _read_backups(connection: Connection, name: str, data: dict[str, Any]) -> tuple[str, list[str]]:
    """What the trail has of them. The store itself is not asked: that would take seconds."""
    if not data.get("store"):
        return "", []
    row = connection.execute(_AGES, [name]).fetchone() or {}
    policy = data.get("backups", {})
    objectives = {
        "RPO": (row.get("backup"), timedelta(minutes=policy.get("rpo_minutes", 1440))),
        "proof": (row.get("proof"), timedelta(days=policy.get("proof_days", 7))),
    }
    broken = [
        f"{objective}: {_aged(age)}; {_hours(limit)} are allowed"
        for objective, (age, limit) in objectives.items()
        if not isinstance(age, timedelta) or age > limit
    ]
    return f"newest {_aged(row.get('backup'))}, proven {_aged(row.get('proof'))}", broken


def _aged(age: object) -> str:
    return f"{_hours(age)} ago" if isinstance(age, timedelta) else "never"


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:.1f} hours"


def _undos(connection: Connection, name: str, state: str) -> list[str]:
    rows = connection.execute(
        "SELECT run_id, undo, message FROM armed_undo WHERE environment = %s AND state = %s ORDER BY id", [name, state]
    )
    return [_in_words(row) for row in rows]


def _in_words(row: dict[str, Any]) -> str:
    name = str(row["undo"]).partition(":")[2].replace("_", " ")
    return f"{name} of run {row['run_id']}" + (f": {row['message']}" if row["message"] else "")


def _read_release(service: dict[str, Any]) -> str:
    try:
        url = resolve(service["url"]).rstrip("/") + (service.get("version") or service["health"])
        return str(httpx.get(url, timeout=_SECONDS, verify=trusted_certificates(), trust_env=False).json()["version"])
    except (BackstopError, httpx.HTTPError, httpx.InvalidURL, ValueError, LookupError, TypeError):
        return ""


_AGES = """
SELECT now() - max(at::timestamptz) FILTER (WHERE event = 'backup complete') AS backup,
       now() - max(at::timestamptz) FILTER (WHERE detail->>'proof' = 'full' AND detail->>'passed' = 'true') AS proof
FROM audit WHERE environment = %s AND event IN ('backup complete', 'backup verified')
"""
