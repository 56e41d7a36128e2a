"""Which database of the server is live, and how it is reached for which purpose."""

from blocks.environment import Environment
from blocks.errors import Refused
from blocks.platforms.interface import Capability
from blocks.postgres.connection import read_conninfo, with_database
from blocks.reference import resolve

MAINTENANCE_DATABASE = "postgres"
"""Of every server: the one to be in while others are made, renamed and dropped."""


def live_name(environment: Environment) -> str:
    """What the live database is called."""
    return read_conninfo(backup_url(environment)).get("dbname", "")


def backup_url(environment: Environment) -> str:
    """Of the role that reads the live database. Raises Refused where the environment has no database."""
    if environment.database is None:
        raise Refused(
            f"{environment.environment} has no database.",
            "Add the part `database` to its file and apply it. Nothing was changed.",
        )
    url = resolve(environment.database.backup_url or environment.database.url)
    if environment.database.variable is None:
        return url
    application = read_application_url(environment, environment.database.variable)
    return with_database(url, read_conninfo(application).get("dbname", ""))


def restore_url(environment: Environment) -> str:
    """Of the role that may create databases beside the live one; the application's own where none is named.

    Whoever uses it names the database. Raises Refused where the environment has none.
    """
    url = backup_url(environment)
    database = environment.database
    return resolve(database.restore_url or database.url) if database else url


def read_application_url(environment: Environment, variable: str) -> str:
    """What the platform gives the application. Raises Refused where it does not tell, or has no such variable."""
    platform = environment.platform
    if Capability.READ_VARIABLES not in platform.capabilities:
        raise Refused(
            f"{environment.environment}'s platform does not tell the value of {variable}.",
            "Leave out database.variable: restores exchange names then. Nothing was changed.",
        )
    url = platform.read_variables().get(variable)
    if url is None:
        raise Refused(
            f"{environment.environment}'s platform has no variable {variable}.",
            "Set database.variable to the one that holds the application's database URL. Nothing was changed.",
        )
    return url
