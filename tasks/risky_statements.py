"""What in a migration may block or break the running release, named by rule, with the safer way: squawk's verdict."""

import subprocess
import sys
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from blocks.errors import Refused
from blocks.migrations.sql_file import NO_TRANSACTION
from blocks.postgres.statements import first_words, locate_statements, split_statements
from blocks.surroundings import BARE

SECONDS = 60
MOST_CHARACTERS = 300
_PROGRAM = Path(sys.executable).with_name("squawk")
_NOT_A_RISK = frozenset(
    # Matters of taste.
    {"prefer-bigint-over-int", "prefer-bigint-over-smallint", "prefer-identity", "prefer-text-field"}
    | {"prefer-timestamp-tz", "prefer-robust-stmts", "ban-char-field", "identifier-too-long"}
    # Every session of a migration has these limits, whether the script sets them or not.
    | {"require-timeout-settings", "require-lock-timeout", "require-statement-timeout"}
    # How the tool's own BEGIN and COMMIT look to squawk.
    | {"transaction-nesting", "ban-uncommitted-transaction"}
)
_ELSE = "Rehearse it on a copy, and look how long it holds its lock."

_SAFER_WAYS = {
    "ban-drop-column": "Deploy a release that no longer uses it first; drop it one release later.",
    "ban-drop-table": "Deploy a release that no longer uses it first; drop it one release later.",
    "ban-drop-not-null": "Deploy a release that reads an empty value first.",
    "ban-drop-database": "Leave it out: a migration never drops a database.",
    "ban-truncate-cascade": "Name the tables one by one, so that no other one is emptied with them.",
    "renaming-column": "Add the new column, write both, fill it, switch the readers; drop the old one a release later.",
    "renaming-table": "Make a view under the new name first; rename once no release uses the old name.",
    "changing-column-type": "Add a column of the new type, write both, fill it in batches, and switch over.",
    "adding-required-field": "Add it nullable or with a constant default; fill it, then require it.",
    "adding-serial-primary-key-field": "Add the column, fill it in batches, and make the key from a unique index.",
    "disallowed-unique-constraint": "CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT … USING INDEX.",
    "ban-concurrent-index-creation-in-transaction": "Give it a migration of its own, without a transaction.",
    "syntax-error": "Look at it by hand: squawk does not understand it.",
}
"""Where squawk names none itself."""


class Risk(BaseModel):
    migration: str
    statement: str
    """Its first lines."""
    rule: str
    why: str
    safer_way: str


class _Finding(BaseModel):
    line: int
    """Counted from 0."""
    column: int
    message: str
    help: str | None = None
    rule_name: str


def find_risks(scripts: dict[str, str], server_major: int | None = None) -> list[Risk]:
    """Id of a migration → its SQL, as `MigrationTool.read_sql` gives it. Raises Refused when squawk cannot be run.

    `server_major`: the server's version; what is risky depends on it.
    """
    return [
        Risk(
            migration=migration,
            statement=_statement_at(script, finding),
            rule=finding.rule_name,
            why=finding.message,
            safer_way=_SAFER_WAYS.get(finding.rule_name) or finding.help or _ELSE,
        )
        for migration, script in scripts.items()
        for finding in _ask_squawk(script, server_major)
        if finding.rule_name not in _NOT_A_RISK
    ]


def _ask_squawk(script: str, server_major: int | None) -> list[_Finding]:
    command = [str(_PROGRAM), "--reporter=json", "--stdin-filepath=migration.sql"]
    command += ["--assume-in-transaction"] if _runs_in_one_transaction(script) else []
    command += [f"--pg-version={server_major}.0"] if server_major else []
    try:
        answer = subprocess.run(
            command, input=script, env=BARE, cwd="/", capture_output=True, text=True, timeout=SECONDS, check=False
        )
        return TypeAdapter(list[_Finding]).validate_json(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValidationError) as error:
        raise Refused(f"squawk could not judge the migrations ({type(error).__name__}).") from None


def _runs_in_one_transaction(script: str) -> bool:
    """As its tool will run it, unless the script says otherwise. A single statement needs none."""
    words = [first_words(statement, 1) for statement in split_statements(script)]
    return len(words) > 1 and not NO_TRANSACTION.match(script) and not {"BEGIN", "COMMIT"} & set(words)


def _statement_at(script: str, finding: _Finding) -> str:
    """The whole statement that the finding stands in, shortened, on one line."""
    offset = sum(len(line) for line in script.splitlines(keepends=True)[: finding.line]) + finding.column
    before = [one for one in locate_statements(script) if one.at <= offset]
    text = " ".join((before[-1].text if before else script).split())
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"
