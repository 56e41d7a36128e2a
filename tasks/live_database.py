"""Which database of which server is live, and how it is reached for which purpose."""

from typing import NamedTuple

from blocks.database import MAIN, Instance, PostgresDatabase
from blocks.environment import Environment
from blocks.errors import BadParameter, Refused
from blocks.platforms.interface import Capability
from blocks.postgres.connection import read_conninfo, with_database
from blocks.reference import resolve

MAINTENANCE_DATABASE = "postgres"
"""Of every server: the one to be in while others are made, renamed and dropped."""
_PORT = "5432"


class Live(NamedTuple):
    """Where the application finds its database."""

    instance: str
    """`main`, or the name that the environment gives to another server."""
    name: str


def read_live(environment: Environment) -> Live:
    """Raises Refused where the environment has no database, or its variable leads to a server that it does not name."""
    database = _database_of(environment)
    if database.variable is None:
        return Live(MAIN, read_conninfo(resolve(database.backup_url or database.url)).get("dbname", ""))
    application = application_url(environment)
    instance = _instance_of(environment, application) if database.instances else MAIN
    return Live(instance, read_conninfo(application).get("dbname", ""))


def live_name(environment: Environment) -> str:
    """What the live database is called."""
    return read_live(environment).name


def logins_of(environment: Environment, instance: str) -> PostgresDatabase | Instance:
    """The URLs of a server. Raises BadParameter for one that the environment does not name."""
    database = _database_of(environment)
    if instance == MAIN:
        return database
    if instance not in database.instances:
        raise BadParameter("instance", instance, f"one of {', '.join([MAIN, *sorted(database.instances)])}")
    return database.instances[instance]


def instances_of(environment: Environment) -> list[str]:
    """All servers that its database may be on; none where it has no database."""
    return [MAIN, *environment.database.instances] if environment.database else []


def application_url(environment: Environment) -> str:
    """With which the application reaches the live database."""
    database = _database_of(environment)
    return read_application_url(environment, database.variable) if database.variable else resolve(database.url)


def backup_url(environment: Environment) -> str:
    """Of the role that reads the live database. Raises Refused where the environment has no database."""
    live = read_live(environment)
    logins = logins_of(environment, live.instance)
    url = resolve(logins.backup_url or logins.url)
    return with_database(url, live.name) if _database_of(environment).variable else url


def restore_url(environment: Environment, instance: str = "") -> str:
    """Of the role that may create databases there; the application's own where none is named.

    `instance`: that of the live database where it is empty. Whoever uses it names the database. Raises Refused where
    the environment has none.
    """
    logins = logins_of(environment, instance or read_live(environment).instance)
    return resolve(logins.restore_url or logins.url)


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
        if _server_of(resolve(logins_of(environment, instance).url)) == _server_of(application):
            return instance
    raise Refused(
        f"{environment.environment}'s application uses a database server that the environment does not name.",
        "Name it in database.instances, with the host and port that the platform's variable has. Nothing was changed.",
    )


def _server_of(url: str) -> tuple[str, ...]:
    conninfo = read_conninfo(url)
    return conninfo.get("host", ""), conninfo.get("hostaddr", ""), conninfo.get("port", _PORT)
