"""What a PostgreSQL server was told to do with its databases, by its own log of statements."""

import re
from collections import defaultdict
from pathlib import Path

from tests.flows.shop_database import NAME, ShopDatabase

ROLE = "shop_restore"
"""Whatever creates, renames and drops a database of the sample service does so by this role."""
_LINE = re.compile(r"\[(?P<session>\d+)\] (?P<kind>LOG|ERROR):  (?:(?:statement|execute [^:]+): (?P<said>.*))?")
_CREATE = re.compile(r'CREATE DATABASE "(\w+)"')
_RENAME = re.compile(r'ALTER DATABASE "(\w+)" RENAME TO "(\w+)"')
_DROP = re.compile(r'DROP DATABASE IF EXISTS "(\w+)"')


class DatabaseLog:
    """Of what was carried out: a transaction counts when it was committed, a statement unless it failed."""

    def __init__(self, shop: ShopDatabase) -> None:
        self._file: Path = shop.stack.state.log("postgres")
        self._from = 0
        self._names: dict[str, str] = {}
        shop.ask(f"ALTER ROLE {ROLE} SET log_statement = 'all'", "postgres")

    def begin(self, other: str = "") -> None:
        """A new one, of a server where the environment has one database, or beside it `other`, which is to be live."""
        self._from = self._file.stat().st_size
        self._names = {NAME: "live", **({other: "new"} if other else {})}

    def check(self, is_done: bool) -> None:
        """The names were exchanged once and stay so, or were exchanged back once; what was made is dropped once."""
        names, made, renamed, dropped = dict(self._names), 0, 0, 0
        told = self._statements()
        for said in told:
            if found := _CREATE.match(said):
                names[found[1]] = "new"
                made += 1
            elif found := _RENAME.match(said):
                names[found[2]] = names.pop(found[1])
                renamed += 1
            elif (found := _DROP.match(said)) and names.pop(found[1], None):
                dropped += 1
        assert made <= 1, f"made {made} times; the server's log: {told}"
        assert dropped == (0 if is_done else made), f"dropped {dropped} times; the server's log: {told}"
        assert renamed in ([2] if is_done else [0, 4]), f"{renamed} renames; the server's log: {told}"
        assert names[NAME] == ("new" if is_done else "live"), f"the wrong one is live; the server's log: {told}"

    def _statements(self) -> list[str]:
        """Those that took effect, in their order."""
        sessions: defaultdict[str, _Session] = defaultdict(_Session)
        with open(self._file, errors="replace") as file:
            file.seek(self._from)
            for number, line in enumerate(file):
                if found := _LINE.search(line):
                    sessions[found["session"]].hear(number, found["kind"], found["said"] or "")
        effects = [effect for session in sessions.values() for effect in session.effects()]
        return [said for _, said in sorted(effects) if _CREATE.match(said) or _RENAME.match(said) or _DROP.match(said)]


class _Session:
    """One connection. A statement failed when an error is the next that is heard of it."""

    def __init__(self) -> None:
        self._effects: list[tuple[int, str]] = []
        self._open: list[str] | None = None

    def hear(self, number: int, kind: str, said: str) -> None:
        if kind == "ERROR":
            del (self._effects if self._open is None else self._open)[-1:]
        elif said == "BEGIN":
            self._open = []
        elif said in ("COMMIT", "ROLLBACK"):
            self._effects += [(number, one) for one in self._open or [] if said == "COMMIT"]
            self._open = None
        elif self._open is None:
            self._effects.append((number, said))
        else:
            self._open.append(said)

    def effects(self) -> list[tuple[int, str]]:
        """By the number of the line where they took effect."""
        return self._effects
