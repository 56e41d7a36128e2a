"""Who may approve: a name, and the seed of the one-time codes that prove it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

from blocks.approval_policy import APPROVER_NAME
from blocks.errors import BadParameter, Refused
from blocks.ledger import trail
from blocks.ledger.approvals_key import decrypt, encrypt
from blocks.ledger.connection import Connection
from blocks.one_time_code import read_code, step_of, wrong_code

FIRST = "first"
"""Who approved the enrolment of the first one: nobody could."""
_SEED_OF_NOBODY = "A" * 32


class Approver(NamedTuple):
    name: str
    enrolled_at: datetime
    """When the seed that counts now was stored."""


def normalised(name: str, parameter: str = "name") -> str:
    """The name in lower case, without spaces around it. Raises BadParameter."""
    found = name.strip().lower()
    if not APPROVER_NAME.fullmatch(found):
        raise BadParameter(parameter, name, "a letter, then up to 62 letters without accents, digits, dots, _ and -")
    return found


def read_approvers(connection: Connection) -> list[Approver]:
    """By name."""
    rows = connection.execute("SELECT name, enrolled_at FROM approver ORDER BY name").fetchall()
    return [Approver(str(row["name"]), datetime.fromisoformat(str(row["enrolled_at"])).astimezone(UTC)) for row in rows]


def is_enrolled(connection: Connection, name: str) -> bool:
    return name in _names(connection)


def prove(connection: Connection, name: str, code: str, now: float | None = None) -> None:
    """Accept the code as a proof that `name` gave it, once. Raises WrongCode, the same for an unknown name.

    `now` is a Unix time. In a transaction of the caller's the code is used when that commits.
    Raises Refused when the seed cannot be opened.
    """
    digits = read_code(code)
    if not APPROVER_NAME.fullmatch(name):
        raise wrong_code()
    row = connection.execute("SELECT seed FROM approver WHERE name = %s", [name]).fetchone()
    of_nobody = encrypt(_SEED_OF_NOBODY, name)  # for known names as well: an unknown one takes no longer
    encrypted = str(row["seed"]) if row else of_nobody
    step = step_of(decrypt(encrypted, name), digits, now)
    # Asked whatever was found: time would tell a guesser an unknown name, and a right code that was used before.
    # By its seed: an approver who was reset or removed in this moment is not proven by the old device.
    used = connection.execute(
        "UPDATE approver SET last_step = %(step)s WHERE name = %(name)s AND seed = %(seed)s AND last_step < %(step)s",
        {"step": step, "name": name, "seed": encrypted},
    )
    if used.rowcount != 1:
        raise wrong_code()


def check_add(connection: Connection, name: str, approved_by: str | None) -> None:
    """Raises Refused when `name` is enrolled, or `approved_by` cannot approve it: nobody, if it is the first."""
    enrolled = _names(connection)
    if name in enrolled:
        raise Refused(
            f"{name} is enrolled already.",
            f"`backstop approvers reset {name}` is for a new device. Nothing was changed.",
        )
    if not enrolled and approved_by is None:
        return
    _check_approval(enrolled, approved_by)


def check_replace(connection: Connection, name: str, approved_by: str | None) -> None:
    """Raises Refused when `name` is not enrolled, or `approved_by` is not another one who is."""
    enrolled = _names(connection)
    _check_enrolled(enrolled, name)
    if enrolled == [name]:
        raise Refused(
            f"{name} is the only approver: there is nobody to approve a new device.",
            f"`backstop approvers remove {name} --approved-by {name}`, then `backstop approvers add {name}`."
            " Nothing was changed.",
        )
    _check_approval([other for other in enrolled if other != name], approved_by)


def check_remove(connection: Connection, name: str, approved_by: str | None) -> None:
    """Raises Refused when `name` is not enrolled, or `approved_by` is not another one, or the only one, who is."""
    enrolled = _names(connection)
    _check_enrolled(enrolled, name)
    _check_approval([other for other in enrolled if other != name or len(enrolled) == 1], approved_by)


def add(
    connection: Connection, name: str, seed: str, *, step: int = 0, approved_by: str | None = None, asked_by: str = ""
) -> None:
    """Enrol. `step` is that of the code which confirmed the seed: it counts no more.

    Whoever calls has proven `approved_by`. Raises as `check_add` does.
    """
    with _changing(connection):
        check_add(connection, name, approved_by)
        connection.execute(
            "INSERT INTO approver (name, seed, last_step) VALUES (%s, %s, %s)", [name, encrypt(seed, name), step]
        )
        _record(connection, "approver enrolled", name, approved_by, asked_by)


def replace_seed(
    connection: Connection, name: str, seed: str, *, step: int = 0, approved_by: str | None, asked_by: str = ""
) -> None:
    """Another seed for another device; the codes of the one before prove nothing from now on.

    Whoever calls has proven `approved_by`. Raises as `check_replace` does.
    """
    with _changing(connection):
        check_replace(connection, name, approved_by)
        connection.execute(
            "UPDATE approver SET seed = %s, last_step = greatest(last_step, %s), enrolled_at = now() WHERE name = %s",
            [encrypt(seed, name), step, name],
        )
        _record(connection, "approver reset", name, approved_by, asked_by)


def remove(connection: Connection, name: str, *, approved_by: str | None, asked_by: str = "") -> None:
    """Whoever calls has proven `approved_by`. Raises as `check_remove` does."""
    with _changing(connection):
        check_remove(connection, name, approved_by)
        connection.execute("DELETE FROM approver WHERE name = %s", [name])
        _record(connection, "approver removed", name, approved_by, asked_by)


@contextmanager
def _changing(connection: Connection) -> Iterator[None]:
    """One after the other: of two who come first one is, and who was removed meanwhile approves nothing."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('backstop approvers'))")
        yield


def _names(connection: Connection) -> list[str]:
    return [approver.name for approver in read_approvers(connection)]


def _check_enrolled(enrolled: list[str], name: str) -> None:
    if name not in enrolled:
        raise Refused(f"{name} is not enrolled.", "`backstop approvers list` shows who is. Nothing was changed.")


def _check_approval(allowed: list[str], approved_by: str | None) -> None:
    if approved_by in allowed:
        return
    who = f"{approved_by} cannot approve this" if approved_by else "One who is enrolled has to approve this"
    hint = f"Name one of {', '.join(allowed)} with --approved-by." if allowed else "Nobody is enrolled who could."
    raise Refused(f"{who}.", f"{hint} Nothing was changed.")


def _record(connection: Connection, event: str, name: str, approved_by: str | None, asked_by: str) -> None:
    detail = {"name": name, "asked_by": asked_by, "approved_by": approved_by}
    trail.append(connection, event, run_id="", environment="", actor=approved_by or FIRST, detail=detail)
