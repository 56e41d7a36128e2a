"""The application's PostgreSQL database."""

import re

import psycopg
from psycopg.conninfo import make_conninfo
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from blocks.cloud_sql import CloudSql
from blocks.errors import Unreachable
from blocks.part import Part
from blocks.postgres.connection import read_conninfo
from blocks.reference import Secret

MAIN = "main"
"""The server of the database's own URLs, where several are named."""
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class Instance(BaseModel):
    """Another server, to which a restore may move the application."""

    model_config = ConfigDict(extra="forbid")

    url: Secret = Field(description="Reference to the URL that `variable` gets, but for the database's name.")
    backup_url: Secret | None = Field(
        default=None, description="Reference to the URL of the role that reads backups there; empty: the application's."
    )
    restore_url: Secret | None = Field(
        default=None, description="Reference to the URL of the role that may create databases there."
    )


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
    instances: dict[str, Instance] = Field(
        default={}, description="Name → another server, to which a restore may move the application; needs `variable`."
    )
    cloud_sql: CloudSql | None = Field(
        default=None, description="The Cloud SQL instance that it is on: a restore may take a point in time of it."
    )
    timeout: int = Field(default=5, ge=1, le=60, description="Seconds that connecting and asking may take.")

    @field_validator("instances")
    @classmethod
    def _can_be_moved_to(cls, instances: dict[str, Instance], info: ValidationInfo) -> dict[str, Instance]:
        for name in instances:
            if not _NAME.fullmatch(name) or name == MAIN:
                raise ValueError(f"{name!r}: a name has small letters, digits and dashes, and {MAIN} is the own server")
        if instances and not info.data.get("variable"):
            raise ValueError("need `variable`: the application is moved by changing it")
        return instances

    @field_validator("cloud_sql")
    @classmethod
    def _can_be_moved_from(cls, cloud_sql: CloudSql | None, info: ValidationInfo) -> CloudSql | None:
        if cloud_sql and not info.data.get("variable"):
            raise ValueError("needs `variable`: the application is moved to a clone by changing it")
        if cloud_sql and (taken := [one for one in info.data.get("instances", {}) if cloud_sql.is_clone(one)]):
            raise ValueError(f"its clones are called as the instance {taken[0]} is: give that another name")
        return cloud_sql

    def read_time(self, url: str) -> str:
        """`select now()` with the application's login. Raises Unreachable; the URL is never in the message."""
        conninfo = {
            **read_conninfo(url),
            "connect_timeout": str(self.timeout),
            "options": f"-c statement_timeout={self.timeout}s",
            "application_name": "backstop health",
        }
        try:
            with psycopg.connect(make_conninfo("", **conninfo)) as connection:
                row = connection.execute("SELECT now()::text").fetchone()
        except psycopg.Error as error:
            raise Unreachable(f"The database does not answer ({type(error).__name__}).") from None
        return str(row[0]) if row else ""
