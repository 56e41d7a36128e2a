"""The audit trail: rows chained by their hashes, heads anchored outside the ledger.

A row's hash covers its own content and the hash before it, so an edited, removed or
reordered row breaks the chain. Somebody with full access to the ledger could compute
the whole chain anew, or cut its tail: both contradict a head that was anchored in the
evidence store when a run ended.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from psycopg.types.json import Jsonb

from blocks.evidence import Evidence
from blocks.ledger.connection import Connection
from blocks.ledger.storable import storable, storable_text

GENESIS = "0" * 64
_COLUMNS = ("sequence", "at", "run_id", "environment", "actor", "event", "detail", "previous")


def append(
    connection: Connection,
    event: str,
    *,
    run_id: str,
    environment: str,
    actor: str,
    detail: Mapping[str, object],
) -> None:
    """Write one row at the end of the chain. Writers queue for the length of one insert."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('backstop audit'))")
        head = read_head(connection)
        row: dict[str, object] = {
            "sequence": head[0] + 1,
            "at": datetime.now(UTC).isoformat(),
            "run_id": storable_text(run_id),
            "environment": storable_text(environment),
            "actor": storable_text(actor),
            "event": event,
            "detail": _as_given_back(connection, detail),
            "previous": head[1],
        }
        connection.execute(
            "INSERT INTO audit (sequence, at, run_id, environment, actor, event, detail, previous, hash)"
            " VALUES (%(sequence)s, %(at)s, %(run_id)s, %(environment)s, %(actor)s, %(event)s, %(json)s,"
            " %(previous)s, %(hash)s)",
            {**row, "json": Jsonb(row["detail"]), "hash": hash_of(row)},
        )


def _as_given_back(connection: Connection, detail: Mapping[str, object]) -> object:
    """What is signed is what PostgreSQL will answer: it writes 1e22 as an integer and knows no -0.0."""
    row = connection.execute("SELECT %s::jsonb AS detail", [Jsonb(storable(detail))]).fetchone()
    return row["detail"] if row else {}


def read_head(connection: Connection) -> tuple[int, str]:
    """Sequence and hash of the newest row; (0, GENESIS) for an empty trail."""
    row = connection.execute("SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1").fetchone()
    return (int(str(row["sequence"])), str(row["hash"])) if row else (0, GENESIS)


def hash_of(row: Mapping[str, object]) -> str:
    """SHA-256 over the canonical JSON of everything in the row but the hash itself."""
    content = {column: row[column] for column in _COLUMNS}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def anchor(connection: Connection, evidence: Evidence) -> None:
    """Keep the newest head outside the ledger, where a later one never replaces it."""
    sequence, digest = read_head(connection)
    if sequence:
        evidence.write_once(f"audit/head-{sequence:012d}.json", json.dumps({"sequence": sequence, "hash": digest}))


def verify(connection: Connection, evidence: Evidence) -> list[str]:
    """What is wrong with the trail, one sentence each; empty when nothing is."""
    anchored, findings = _read_anchors(evidence)
    with connection.transaction(), connection.cursor(name="audit_verify") as rows:
        rows.execute("SELECT * FROM audit ORDER BY sequence")
        findings += _broken_links(rows, anchored)
    findings += [f"Row {sequence} was anchored and is gone: the trail was cut." for sequence in anchored]
    return findings


def _read_anchors(evidence: Evidence) -> tuple[dict[int, str], list[str]]:
    """Hash by sequence of every anchored head, and a sentence for each that cannot be read."""
    anchored, findings = {}, []
    for name, content in evidence.read_all("audit/"):
        try:
            head = json.loads(content)
            anchored[int(head["sequence"])] = str(head["hash"])
        except (ValueError, LookupError, TypeError):
            findings.append(f"Anchor {name} was damaged: it cannot be read.")
    return anchored, findings


def _broken_links(rows: Iterable[dict[str, object]], anchored: dict[int, str]) -> Iterator[str]:
    """Walks the chain; strikes every anchored head that it meets from `anchored`."""
    expected, previous = 1, GENESIS
    for row in rows:
        sequence, digest = int(str(row["sequence"])), str(row["hash"])
        if sequence != expected:
            yield f"Rows {expected} to {sequence - 1} are missing."
        elif row["previous"] != previous:
            yield f"Row {sequence} does not follow the row before it: one was replaced or reordered."
        if hash_of(row) != digest:
            yield f"Row {sequence} was edited: its content does not match its hash."
        if anchored.pop(sequence, digest) != digest:
            yield f"Row {sequence} differs from its anchored hash: the chain was computed anew."
        expected, previous = sequence + 1, digest
