"""Login roles of a server: their passwords, who may log in, and who is."""

from typing import LiteralString, NamedTuple

from psycopg import sql

from blocks.postgres.connection import Connection


class LoginRole(NamedTuple):
    acts_as: str
    """The role that its sessions act as from their beginning; empty: itself."""
    may_act_as: bool
    """Whether it is a member of that one."""
    alterable: bool
    """By the role of this connection."""


def read_role(connection: Connection, name: str) -> LoginRole | None:
    """None when there is none."""
    with_option = connection.info.server_version >= 160_000
    row = connection.execute(_ROLE, {"name": name, "with_option": with_option}).fetchone()
    return LoginRole(str(row[0]), bool(row[1]), bool(row[2])) if row else None


def set_password(connection: Connection, role: str, password: str) -> None:
    """The role may log in with it from now on. The server is sent a verifier: its log cannot hold the password."""
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    statement = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}")
    connection.execute(statement.format(sql.Identifier(role), sql.Literal(verifier.decode())))


def refuse_logins(connection: Connection, role: str) -> None:
    """Nobody logs in as it any more; who is logged in stays."""
    connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL").format(sql.Identifier(role)))


def read_sessions(connection: Connection, role: str) -> list[str]:
    """Who is logged in as it, by the names that they call themselves."""
    rows = connection.execute(
        "SELECT DISTINCT coalesce(nullif(application_name, ''), 'without a name') FROM pg_stat_activity"
        " WHERE usename = %s ORDER BY 1",
        [role],
    )
    return [str(name) for (name,) in rows]


def may_end_sessions(connection: Connection, role: str) -> bool:
    """Whether the role of this connection may."""
    row = connection.execute(
        "SELECT pg_has_role('pg_signal_backend', 'USAGE') OR pg_has_role(%s, 'USAGE')", [role]
    ).fetchone()
    return row is not None and bool(row[0])


def end_sessions(connection: Connection, role: str) -> None:
    """Of whoever is logged in as it."""
    connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [role])


_ROLE: LiteralString = """
SELECT coalesce(acts_as, ''), coalesce(pg_has_role(role.rolname, acts_as, 'MEMBER'), true),
       me.rolsuper OR me.rolcreaterole AND (
         NOT %(with_option)s OR pg_has_role(role.oid, 'MEMBER WITH ADMIN OPTION'))
FROM pg_roles role
JOIN pg_roles me ON me.rolname = current_user
LEFT JOIN LATERAL (
  SELECT substr(entry, 6) AS acts_as FROM unnest(role.rolconfig) entry WHERE entry LIKE 'role=%%'
) config ON true
WHERE role.rolname = %(name)s
"""
"""Since PostgreSQL 16 the right to make roles is not the right to change any role."""
