"""Whether the secrets of before a rotation, which are accepted still, are needed any more."""

from datetime import UTC, datetime

from blocks.environment import Environment
from blocks.errors import BackstopError
from blocks.ledger.connection import Connection
from blocks.ledger.fence import read_holder
from blocks.secrets.interface import Reported, RotatedSecret
from blocks.sinks.interface import Values
from tasks.catalogue import read_catalogue
from tasks.ledger import current_run
from tasks.secret_age import read_previous
from tasks.secret_report import read_report

_COUNTED = "records of previous secrets counted"
_BRING_OLD_DATA_BACK = ["restore-and-verify", "undo-restore", "restore-table", "undo-restore-table"]


def measure_needed(environment: Environment, name: str, secret: RotatedSecret, held: Values) -> list[str]:
    """What keeps the previous ones of this secret from being retired, a sentence each. `held`: in its sinks.

    How much is encrypted with them goes into the trail: backups from before nothing was may need them.
    """
    if secret.without_previous(held) == held:
        return [f"{secret.variable} holds no previous one"]
    until = read_previous(current_run().connection, environment.environment).get(name)
    if until is None:
        return [
            "no rotation put the previous one there, so nobody knows how long it is needed: take it out of its sinks by"
            " hand, or rotate first"
        ]
    if until > datetime.now(UTC):
        return [f"what was made with it is valid until {_shown(until)}"]
    protecting = secret.protecting(held)
    return _measure_protected(environment, name, protecting) if protecting else []


def _measure_protected(environment: Environment, name: str, protecting: Reported) -> list[str]:
    records = _count_records(environment, protecting)
    keys = ",".join(protecting.fingerprints)
    current_run().record(_COUNTED, secret=name, keys=keys, records=records)
    if records:
        return [f"{records} records are encrypted with it still"]
    if environment.store is None:
        return []
    connection = current_run().connection
    if read_holder(connection, f"{environment.environment}/backups"):
        return ["a backup is under way: wait for its end"]
    return _read_backups_before(environment, _read_free_since(connection, environment.environment, name, keys))


def _count_records(environment: Environment, protecting: Reported) -> int:
    """The most that a release with traffic reports. Raises BackstopError for a report that holds no numbers."""
    traffic = environment.platform.read_traffic()
    releases = [one for one in environment.platform.read_releases() if one.id in traffic]
    reports = [read_report(environment, one.url or "", protecting.path, protecting.member) for one in releases]
    try:
        return max(sum(int(report.get(key, 0)) for key in protecting.fingerprints) for report in reports)
    except (AttributeError, TypeError, ValueError):
        raise BackstopError(f"{protecting.path} does not report how many records each key protects") from None


def _read_backups_before(environment: Environment, since: datetime) -> list[str]:
    catalogue = read_catalogue(environment)
    needing = [backup for backup in catalogue.backups if backup.dated <= since]
    unreadable = [f"backup {found}" for found in catalogue.unreadable]
    old = (
        f"{len(needing)} backups may need it: they are from before {_shown(since)}, when nothing was first seen to be"
        f" encrypted with it; the newest of them is {needing[-1].id if needing else ''}"
    )
    return [*([old] if needing else []), *unreadable]


def _read_free_since(connection: Connection, environment: str, name: str, keys: str) -> datetime:
    """Since when nothing was encrypted with these keys, whenever somebody looked, and no old data was brought back."""
    known = {"environment": environment, "event": _COUNTED, "secret": name, "keys": keys}
    row = connection.execute(_FREE_SINCE, {**known, "restores": _BRING_OLD_DATA_BACK}).fetchone()
    since = row["since"] if row else None
    return since if isinstance(since, datetime) else datetime.now(UTC)


def _shown(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


_FREE_SINCE = """
WITH counted AS (
  SELECT at::timestamptz AS at, detail->>'records' AS records FROM audit
  WHERE environment = %(environment)s AND event = %(event)s
  AND detail->>'secret' = %(secret)s AND detail->>'keys' = %(keys)s)
SELECT min(at) AS since FROM counted
WHERE at > coalesce((SELECT max(at) FROM counted WHERE records <> '0'), '-infinity')
AND at > coalesce((SELECT max(coalesce(ended_at, now())) FROM run
                   WHERE environment = %(environment)s AND procedure = ANY(%(restores)s)), '-infinity')
"""
