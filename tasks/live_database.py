"""Which database of which server is live, and how it is reached for which purpose."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from blocks.cloud_sql import CloudSql
from blocks.database import MAIN, Instance, PostgresDatabase
from blocks.environment import Environment
from blocks.errors import BadParameter, Refused, Unreachable
from blocks.platforms.interface import Capability
from blocks.postgres.connection import read_conninfo, with_database, with_host
from blocks.reference import resolve

MAINTENANCE_DATABASE = "postgres"
"""Of every server: the one to be in while others are made, renamed and dropped."""
_PORT = "5432"


class Live(NamedTuple):
    """Where the application finds its database."""

    instance: str
    """`main`, the name that the environment gives to another server, or that of a clone in Cloud SQL."""
    name: str


@dataclass(frozen=True)
class Logins:
    """The URLs of a server, each looked up when it is asked for."""

    named: PostgresDatabase | Instance
    host: str = ""
    """Of a clone: all else of the URLs is as on the server that it was cloned from."""

    @property
    def url(self) -> str:
        return self._at_host(self.named.url)

    @property
    def backup_url(self) -> str:
        """The application's where none is named, as for the next one."""
        return self._at_host(self.named.backup_url or self.named.url)

    @property
    def restore_url(self) -> str:
        return self._at_host(self.named.restore_url or self.named.url)

    def _at_host(self, reference: str) -> str:
        url = resolve(reference)
        return with_host(url, self.host) if self.host else url


def read_live(environment: Environment) -> Live:
    """Raises Refused where the environment has no database, or its variable leads to a server that it does not name."""
    database = _database_of(environment)
    if database.variable is None:
        return Live(MAIN, read_conninfo(resolve(database.backup_url or database.url)).get("dbname", ""))
    application = application_url(environment)
    several = database.instances or database.cloud_sql
    instance = _instance_of(environment, application) if several else MAIN
    return Live(instance, read_conninfo(application).get("dbname", ""))


def live_name(environment: Environment) -> str:
    """What the live database is called."""
    return read_live(environment).name


def logins_of(environment: Environment, instance: str) -> Logins:
    """The URLs of a server. Raises BadParameter for one that the environment does not name, and is no clone of it."""
    database = _database_of(environment)
    if instance == MAIN:
        return Logins(database)
    if database.cloud_sql and database.cloud_sql.is_clone(instance):
        host = database.cloud_sql.read_instance(instance).address(database.cloud_sql.ip)
        if not host:
            raise Unreachable(f"The clone {instance} has no {database.cloud_sql.ip} IP address yet.")
        return Logins(database, host)
    if instance not in database.instances:
        raise BadParameter("instance", instance, f"one of {', '.join([MAIN, *sorted(database.instances)])}")
    return Logins(database.instances[instance])


def cloud_sql_of(environment: Environment) -> CloudSql:
    """Raises Refused where the environment names none."""
    cloud_sql = _database_of(environment).cloud_sql
    if cloud_sql is None:
        raise Refused(
            f"{environment.environment} names no Cloud SQL instance, so it goes back to no point in time.",
            "Name it in database.cloud_sql, or restore a backup. Nothing was changed.",
        )
    return cloud_sql


def instances_of(environment: Environment) -> Iterator[str]:
    """All servers that its database may be on; none where it has no database. Google is asked last."""
    database = environment.database
    if database is None:
        return
    yield MAIN
    yield from database.instances
    if cloud_sql := database.cloud_sql:
        yield from (clone.name for clone in cloud_sql.read_clones() if clone.address(cloud_sql.ip))


def application_url(environment: Environment) -> str:
    """With which the application reaches the live database."""
    database = _database_of(environment)
    return read_application_url(environment, database.variable) if database.variable else resolve(database.url)


def backup_url(environment: Environment) -> str:
    """Of the role that reads the live database. Raises Refused where the environment has no database."""
    live = read_live(environment)
    logins = logins_of(environment, live.instance)
    url = logins.backup_url
    return with_database(url, live.name) if _database_of(environment).variable else url


def restore_url(environment: Environment, instance: str = "") -> str:
    """Of the role that may create databases there; the application's own where none is named.

    `instance`: that of the live database where it is empty. Whoever uses it names the database. Raises Refused where
    the environment has none.
    """
    return logins_of(environment, instance or read_live(environment).instance).restore_url


def read_application_url(environment: Environment, variable: str) -> str:
    """What the platform gives the application. Raises Refused where it does not tell, or has no such variable."""
    platform = environment.platform
    if Capability.READ_VARIABLES not in platform.capabilities:
        raise Refused(
            f"{environment.environment}'s platform does not tell the value of {variable}.",
            "Leave out database.variable: restores exchange names then. Nothing was changed.",
        )
    url = platform.read_variables().get(variable)
    if url is None and variable in platform.read_sealed():
        raise Refused(
            f"{environment.environment}'s platform has {variable} and gives it back to nobody.",
            "Make it one that can be read: what it was has to be put back if anything fails. Nothing was changed.",
        )
    if url is None:
        raise Refused(
            f"{environment.environment}'s platform has no variable {variable}.",
            "Set database.variable to the one that holds the application's database URL. Nothing was changed.",
        )
    return url


def _database_of(environment: Environment) -> PostgresDatabase:
    if environment.database is None:
        raise Refused(
            f"{environment.environment} has no database.",
            "Add the part `database` to its file and apply it. Nothing was changed.",
        )
    return environment.database


def _instance_of(environment: Environment, application: str) -> str:
    for instance in instances_of(environment):
        if _server_of(logins_of(environment, instance).url) == _server_of(application):
            return instance
    raise Refused(
        f"{environment.environment}'s application uses a database server that the environment does not name.",
        "Name it in database.instances, with the host and port that the platform's variable has. Nothing was changed.",
    )


def _server_of(url: str) -> tuple[str, ...]:
    conninfo = read_conninfo(url)
    return conninfo.get("host", ""), conninfo.get("hostaddr", ""), conninfo.get("port", _PORT)
