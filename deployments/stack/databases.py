"""The databases of the stack, each owned by a role of its own."""

import psycopg
from psycopg import sql

from deployments.stack.layout import Layout, first_login, logins

_CONNECT_SECONDS = 2


def is_answering(layout: Layout) -> bool:
    try:
        _connect(layout, "postgres").close()
    except psycopg.OperationalError:
        return False
    return True


def create_databases(layout: Layout) -> None:
    """Create the roles and databases that are missing; those that exist are left as they are."""
    with _connect(layout, "postgres") as connection:
        roles = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
        databases = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
        for role, password in layout.database_passwords.items():
            if role not in roles:
                _create_role(connection, role, password)
            if role not in databases:
                _create_database(connection, role)
        for role, password in layout.operating_passwords.items():
            if role not in roles:
                _create_role(connection, role, password)
        for environment in layout.environments:
            _create_logins(connection, environment, roles)
        if layout.sample:
            _allow_operating(connection, layout.environments)


def _create_role(connection: psycopg.Connection, role: str, password: str) -> None:
    # Hashed here: the server never sees the password, so it cannot log it.
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
    connection.execute(statement.format(sql.Identifier(role), sql.Literal(verifier.decode())))


def _create_logins(connection: psycopg.Connection, environment: str, there: set[str]) -> None:
    """Two roles that act as the owner; the second cannot log in before the first rotation."""
    owner = sql.Identifier(f"shop_{environment}")
    for role in logins(environment):
        name = sql.Identifier(role)
        if role not in there and role != first_login(environment):
            connection.execute(sql.SQL("CREATE ROLE {}").format(name))
        connection.execute(sql.SQL("GRANT {} TO {}").format(owner, name))
        connection.execute(sql.SQL("ALTER ROLE {} SET role = {}").format(name, owner))
        connection.execute(sql.SQL("GRANT {} TO shop_rotate WITH ADMIN TRUE, INHERIT FALSE, SET FALSE").format(name))


def _allow_operating(connection: psycopg.Connection, environments: tuple[str, ...]) -> None:
    """What docs/database-roles.md says of these roles. Repeating it changes nothing."""
    connection.execute("GRANT pg_read_all_data TO shop_backup")
    connection.execute("ALTER ROLE shop_restore CREATEDB")
    connection.execute("GRANT pg_signal_backend TO shop_restore")
    connection.execute("ALTER ROLE shop_rotate CREATEROLE")
    connection.execute("GRANT pg_signal_backend TO shop_rotate")
    for environment in environments:
        database = sql.Identifier(f"shop_{environment}")
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO shop_backup, shop_restore").format(database))
        connection.execute(sql.SQL("GRANT {} TO shop_restore").format(database))


def _create_database(connection: psycopg.Connection, owner: str) -> None:
    name = sql.Identifier(owner)
    connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, name))
    connection.execute(sql.SQL("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC").format(name))


def _connect(layout: Layout, database: str) -> psycopg.Connection:
    return psycopg.connect(
        host="127.0.0.1",
        port=layout.ports["postgres"],
        user="postgres",
        password=layout.credentials.postgres_password,
        dbname=database,
        connect_timeout=_CONNECT_SECONDS,
        application_name="backstop-stack",
        autocommit=True,
    )
