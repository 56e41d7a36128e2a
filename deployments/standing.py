"""How every environment stands: its release, who holds it, what is armed, what waits for a human."""

from typing import Any

import httpx
from pydantic import BaseModel

from blocks.errors import BackstopError
from blocks.ledger.connection import Connection, connect
from blocks.ledger.fence import read_holder
from blocks.reference import resolve
from blocks.trust import trusted_certificates
from deployments.prefect_api import PrefectApi

_SECONDS = 2


class Standing(BaseModel):
    environment: str
    release: str
    """The version that users meet; empty when the service does not say one."""
    held_by: str
    armed: list[str]
    needs_a_human: list[str]
    last_run: str


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
    return Standing(
        environment=name,
        release=_read_release(document["data"]["service"]),
        held_by=f"{holder['procedure']} (run {holder['run_id']}) since {holder['since']:%H:%M:%S %Z}" if holder else "",
        armed=_undos(connection, name, "armed"),
        needs_a_human=_undos(connection, name, "failed"),
        last_run=f"{last['procedure']}: {last['ending']}, {last['started_at']:%Y-%m-%d %H:%M:%S %Z}" if last else "",
    )


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
