"""Stands in for `prisma` where its engine cannot be downloaded: `migrate deploy` and `migrate resolve`.

Its words are those that Prisma's error reference and public issue threads show; its record is the table that
Prisma's schema engine documents (schema-engine/ARCHITECTURE.md). It reads the URL as Prisma's driver does:
no PG* variable has an effect.
"""

import os
import sys
import uuid
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import psycopg

TABLE = """
CREATE TABLE IF NOT EXISTS _prisma_migrations (
    id VARCHAR(36) PRIMARY KEY NOT NULL, checksum VARCHAR(64) NOT NULL, finished_at TIMESTAMPTZ,
    migration_name VARCHAR(255) NOT NULL, logs TEXT, rolled_back_at TIMESTAMPTZ,
    started_at TIMESTAMPTZ NOT NULL DEFAULT now(), applied_steps_count INTEGER NOT NULL DEFAULT 0
)
"""
FOUND_FAILED = """Error: P3009

migrate found failed migrations in the target database, new migrations will not be applied. Read more about how to \
resolve migration issues in a production database: https://pris.ly/d/migrate-resolve
The `{name}` migration started at {at} UTC failed
"""
FAILED = """Error: P3018

A migration failed to apply. New migrations cannot be applied before the error is recovered from. Read more about \
how to resolve migration issues in a production database: https://pris.ly/d/migrate-resolve

Migration name: {name}

Database error code: {code}

Database error:
ERROR: {message}
"""
NOT_FAILED = """Error: P3012

Migration `{name}` cannot be rolled back because it is not in a failed state.
"""
NEVER_APPLIED = """Error: P3011

Migration `{name}` cannot be rolled back because it was never applied to the database.
"""


def connect() -> psycopg.Connection:
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]
    parts = urlsplit(os.environ["DATABASE_URL"])
    known = [(name, value) for name, value in parse_qsl(parts.query) if name in ("options", "application_name")]
    url = urlunsplit(parts._replace(query=urlencode(known, quote_via=quote)))
    return psycopg.connect(url, autocommit=True, connect_timeout=5)


def deploy(connection: psycopg.Connection) -> None:
    connection.execute(TABLE)
    rows = connection.execute(
        "SELECT migration_name, finished_at, started_at AT TIME ZONE 'UTC' FROM _prisma_migrations"
        " WHERE rolled_back_at IS NULL"
    ).fetchall()
    if failed := [(name, at) for name, finished, at in rows if finished is None]:
        sys.exit(FOUND_FAILED.format(name=failed[0][0], at=failed[0][1]))
    scripts = sorted(Path("prisma/migrations").glob("*/migration.sql"))
    print(f"{len(scripts)} migrations found in prisma/migrations\n")
    pending = [script for script in scripts if script.parent.name not in {name for name, *_ in rows}]
    for script in pending:
        print(f"Applying migration `{script.parent.name}`", flush=True)
        apply(connection, script)
    print("\nAll migrations have been successfully applied." if pending else "\nNo pending migrations to apply.")


def apply(connection: psycopg.Connection, script: Path) -> None:
    name, text = script.parent.name, script.read_bytes()
    record = str(uuid.uuid4())
    connection.execute(
        "INSERT INTO _prisma_migrations (id, checksum, migration_name) VALUES (%s, %s, %s)",
        [record, sha256(text).hexdigest(), name],
    )
    try:
        connection.execute(text)  # as one query: PostgreSQL makes one transaction of all its statements
    except psycopg.Error as error:
        message = FAILED.format(name=name, code=error.sqlstate, message=error.diag.message_primary)
        connection.execute("UPDATE _prisma_migrations SET logs = %s WHERE id = %s", [message, record])
        sys.exit(message)
    connection.execute(
        "UPDATE _prisma_migrations SET finished_at = now(), applied_steps_count = 1 WHERE id = %s", [record]
    )


def roll_back(connection: psycopg.Connection, name: str) -> None:
    rows = connection.execute(
        "SELECT finished_at FROM _prisma_migrations WHERE migration_name = %s AND rolled_back_at IS NULL", [name]
    ).fetchall()
    if not rows:
        sys.exit(NEVER_APPLIED.format(name=name))
    if all(finished for (finished,) in rows):
        sys.exit(NOT_FAILED.format(name=name))
    connection.execute(
        "UPDATE _prisma_migrations SET rolled_back_at = now() WHERE migration_name = %s AND finished_at IS NULL", [name]
    )
    print(f"Migration {name} marked as rolled back.")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["migrate", "deploy"]:
            deploy(connect())
        case ["migrate", "resolve", "--rolled-back", migration]:
            roll_back(connect(), migration)
        case _:
            sys.exit(f"unknown: {sys.argv[1:]}")
