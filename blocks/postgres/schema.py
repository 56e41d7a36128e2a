"""The schema as text that can be compared, and what of it PostgreSQL itself calls invalid."""

import difflib
import hashlib
import re
import subprocess
import tempfile
from typing import Literal, LiteralString, NamedTuple

from blocks.errors import BackstopError
from blocks.postgres.child import running
from blocks.postgres.connection import Connection, libpq_environment
from blocks.postgres.programs import Programs
from blocks.postgres.statements import split_statements, without_comments

_SECONDS = 300
_OPTIONS = [
    *("--schema-only", "--no-owner", "--no-privileges", "--no-tablespaces", "--no-security-labels"),
    *("--no-publications", "--no-subscriptions", "--no-password"),
]
_RANDOM = re.compile(r"^\\(?:un)?restrict \w+$", re.MULTILINE)
_SETTING = re.compile(r"SET |SELECT pg_catalog\.set_config\(")

_INVALID: LiteralString = """
SELECT 'index', c.relname::text, t.relname::text, n.nspname::text FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT (i.indisvalid AND i.indisready) AND c.relkind = 'i' AND c.relpersistence <> 't'
UNION ALL
SELECT 'constraint', k.conname::text, coalesce(t.relname, y.typname)::text, n.nspname::text FROM pg_constraint k
JOIN pg_namespace n ON n.oid = k.connamespace
LEFT JOIN pg_class t ON t.oid = k.conrelid LEFT JOIN pg_type y ON y.oid = k.contypid
WHERE NOT k.convalidated
ORDER BY 1, 2, 3
"""


class Invalid(NamedTuple):
    kind: Literal["index", "constraint"]
    name: str
    table: str
    """Or the domain that a constraint belongs to."""
    schema: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} of {self.table}"


def read_invalid(connection: Connection) -> list[Invalid]:
    """Indexes that a concurrent build left behind, and constraints that were never validated.

    A constraint may be so on purpose (NOT VALID): compare with what was there before.
    """
    return [Invalid(*row) for row in connection.execute(_INVALID).fetchall()]  # type: ignore[arg-type]


def read_schema(
    url: str, programs: Programs, purpose: str = "schema", database: str = "", without_table: str = ""
) -> str:
    """All that pg_dump says about the schema, but for owners and privileges, without what differs each time.

    Two equal texts are equal schemas. Two that differ may be: after a restore the server may spell an
    expression differently, so compare schemas that were made the same way. Raises BackstopError.
    """
    command = [programs.path("pg_dump"), *_OPTIONS]
    if without_table:  # and the sequence of its serial id, which is an object of its own
        command += [f'--exclude-table=*."{name}"' for name in (without_table, f"{without_table}_id_seq")]
    with (
        libpq_environment(url, purpose, database) as environment,
        tempfile.TemporaryFile() as output,
        running(command, environment, output=output) as child,
    ):
        try:
            code: int | None = child.process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        if code != 0:
            raise BackstopError(f"The schema could not be read: {child.read_complaint() or 'no answer in time'}.")
        output.seek(0)
        return _canonical(output.read().decode())


Change = tuple[frozenset[str], frozenset[str]]
"""Lines of the schema that went, and that came, each with the statement that it belongs to."""


def schema_change(before: str, after: str) -> Change:
    """What a migration did, line by line: the same for a live database and a restored copy of it.

    What the server spells differently since a restore stands in both texts, and so in neither part.
    """
    old, new = _lines(before), _lines(after)
    return old - new, new - old


def schema_digest(schema: str) -> str:
    return hashlib.sha256(schema.encode()).hexdigest()


def schema_difference(before: str, after: str, most_lines: int = 60) -> str:
    """Removed lines with `-`, added ones with `+`, and a little around them; empty when they are equal."""
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), "before", "after", n=2, lineterm=""))
    left_out = len(lines) - most_lines
    return "\n".join(lines[:most_lines] + ([f"… and {left_out} more lines"] if left_out > 0 else []))


def _lines(schema: str) -> frozenset[str]:
    found = set()
    for statement in split_statements(schema):
        head, *rest = statement.splitlines()
        found.add(head)
        found.update(f"{head} … {line.strip().rstrip(',')}" for line in rest)
    return frozenset(found)


def _canonical(dump: str) -> str:
    """Without comments, settings, and the word that pg_dump makes up each time."""
    statements = split_statements(without_comments(_RANDOM.sub("", dump)))
    return "".join(f"{one};\n" for one in statements if not _SETTING.match(one))
