"""Whether two databases are the same, by another way than the one that is tested: pg_dump's plain text."""

import subprocess

from blocks.postgres.connection import libpq_environment
from blocks.postgres.programs import find_programs_for


def read_as_text(url: str, database: str, major: int) -> list[str]:
    """Every statement that makes the database, but for the key that a dump draws at random."""
    with libpq_environment(url, "comparison", database) as environment:
        dumped = subprocess.run(
            [find_programs_for(major, major).path("pg_dump"), "--no-password", "--no-sync"],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
    return [line for line in dumped.stdout.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]
