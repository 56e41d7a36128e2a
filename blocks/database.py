"""The application's PostgreSQL database."""

import psycopg
from pydantic import Field

from blocks.errors import Unreachable
from blocks.part import Part
from blocks.reference import Secret, resolve


class PostgresDatabase(Part):
    """The application's PostgreSQL database."""

    _block_type_name = "PostgreSQL database"
    _block_type_slug = "postgresql-database"
    _description = "The application's PostgreSQL database."

    url: Secret = Field(description="Reference to its connection URL.")
    backup_url: Secret | None = Field(
        default=None, description="Reference to the URL of the role that reads backups; empty: the application's."
    )
    restore_url: Secret | None = Field(
        default=None, description="Reference to the URL of the role that may create and rename databases."
    )
    variable: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        max_length=200,
        description="Platform variable with the application's URL: set it where databases cannot be renamed."
        " A restore changes it then, and it says which database is live.",
    )
    timeout: int = Field(default=5, ge=1, le=60, description="Seconds that connecting and asking may take.")

    def read_time(self) -> str:
        """`select now()`. Raises Unreachable; the URL is never in the message."""
        options = f"-c statement_timeout={self.timeout}s"
        try:
            with psycopg.connect(
                resolve(self.url),
                connect_timeout=self.timeout,
                options=options,
                application_name="backstop health",
            ) as connection:
                row = connection.execute("SELECT now()::text").fetchone()
        except psycopg.Error as error:
            raise Unreachable(f"The database does not answer ({type(error).__name__}).") from None
        return str(row[0]) if row else ""
