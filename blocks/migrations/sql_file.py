"""The files of a folder of SQL migrations."""

import hashlib
import re
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from blocks.errors import Refused
from blocks.postgres.statements import first_words, has_atomic_body, split_statements

NO_TRANSACTION = re.compile(r"\s*--[ \t]*backstop:[ \t]*no-transaction\s")
_NAME = re.compile(r"(?P<name>\d+_[\w.\-]+?)(?:\.(?P<direction>up|down))?\.sql")
_OF_TRANSACTIONS = frozenset({"BEGIN", "START", "COMMIT", "ROLLBACK", "END", "ABORT"})


class Script:
    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            content = path.read_bytes()
            self.text = content.decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise _refused(path, f"cannot be read ({type(error).__name__})") from None
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.in_transaction = not NO_TRANSACTION.match(self.text)
        if has_atomic_body(self.text):
            if not self.in_transaction:
                raise _refused(path, "has BEGIN ATOMIC and no transaction: give that function a file of its own")
        elif any(first_words(statement, 1) in _OF_TRANSACTIONS for statement in self.statements):
            raise _refused(path, "begins or ends a transaction itself: its transaction is Backstop's business")

    @cached_property
    def statements(self) -> list[str]:
        return split_statements(self.text)


class SqlFile(NamedTuple):
    name: str
    up: Script
    down: Script | None


def read_files(folder: Path) -> dict[str, SqlFile]:
    """Name → file, by number. Raises Refused for names that do not fit, twice the same, or unreadable ones."""
    if not folder.is_dir():
        raise Refused(f"The checkout has no folder {folder.name}.", "Look at the tool's `folder`. Nothing was changed.")
    scripts: dict[tuple[str, str], Script] = {}
    for path in sorted(folder.glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise _refused(path, "is not named as 0001_name.up.sql, 0001_name.down.sql or 0001_name.sql")
        key = (match["name"], match["direction"] or "up")
        if key in scripts:
            raise _refused(path, f"and {scripts[key].path.name} are the same migration")
        scripts[key] = Script(path)
    for (name, direction), script in scripts.items():
        if direction == "down" and (name, "up") not in scripts:
            raise _refused(script.path, "has no script for the way up")
    names = sorted((name for name, direction in scripts if direction == "up"), key=_by_number)
    return {name: SqlFile(name, scripts[name, "up"], scripts.get((name, "down"))) for name in names}


def _by_number(name: str) -> tuple[int, str]:
    return int(name.partition("_")[0]), name


def _refused(path: Path, reason: str) -> Refused:
    return Refused(f"{path.name} {reason}.", "Nothing was changed.")
