"""Roles of a server: as `pg_dumpall --globals-only` writes them down, made anew on another one."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import psycopg
from psycopg import sql

from blocks.postgres.connection import Connection

_IDENTIFIER = r'("(?:[^"]|"")+"|\w+)'
_ROLE = re.compile(rf"^CREATE ROLE {_IDENTIFIER};$", re.MULTILINE)
_ATTRIBUTES = re.compile(rf"^ALTER ROLE {_IDENTIFIER} WITH (.+);$", re.MULTILINE)
_SETTING = re.compile(rf"^ALTER ROLE {_IDENTIFIER} SET {_IDENTIFIER} TO (.+);$", re.MULTILINE)
_MEMBERSHIP = re.compile(rf"^GRANT {_IDENTIFIER} TO {_IDENTIFIER}(?: WITH (.+?))?(?: GRANTED BY .+)?;$", re.MULTILINE)
_LITERAL = re.compile(r"'((?:[^']|'')*)'")
_ORDINARY = ("LOGIN", "NOINHERIT")
"""Attributes that whoever may create roles may give."""
_SPECIAL = ("CREATEDB", "CREATEROLE", "REPLICATION", "BYPASSRLS", "SUPERUSER")
"""Those that only a role gives that has them."""


class Role(NamedTuple):
    """One role, but for its password."""

    name: str
    attributes: list[str]
    """As LOGIN; those that a role has anyhow are left out."""
    connection_limit: int
    """-1: none."""
    valid_until: str
    """Empty: for ever."""
    settings: list[tuple[str, list[str]]]
    """Name and values of each `ALTER ROLE … SET`."""
    memberships: list[tuple[str, bool]]
    """Which roles it is a member of, and whether it may let others become it."""

    @property
    def logs_in(self) -> bool:
        return "LOGIN" in self.attributes


def read_globals(script: str) -> dict[str, Role]:
    """Name → role. Only what stands in the script in the form that pg_dumpall gives it is taken."""
    roles = {}
    attributes = {_unquoted(name): words for name, words in _ATTRIBUTES.findall(script)}
    for name in map(_unquoted, _ROLE.findall(script)):
        words = attributes.get(name, "")
        limit = re.search(r"CONNECTION LIMIT (\d+)", words)
        until = re.search(r"VALID UNTIL '([^']*)'", words)
        roles[name] = Role(
            name=name,
            attributes=[word for word in (*_ORDINARY, *_SPECIAL) if word in words.split()],
            connection_limit=int(limit[1]) if limit else -1,
            valid_until=until[1] if until else "",
            settings=[
                (_unquoted(what), _literals(to)) for who, what, to in _SETTING.findall(script) if _unquoted(who) == name
            ],
            memberships=[
                (_unquoted(of), "ADMIN" in how)
                for of, who, how in _MEMBERSHIP.findall(script)
                if _unquoted(who) == name
            ],
        )
    return roles


def create_roles(
    connection: Connection, roles: Iterable[Role], passwords: Mapping[str, str], made_by: str
) -> list[str]:
    """All of them or none, each with `made_by` as its comment; this connection's role becomes a member of each.

    Returns what could not be brought over, a sentence each. Raises psycopg's errors.
    """
    roles, left = list(roles), []
    with connection.transaction():
        for role in roles:
            connection.execute(_create(connection, role, passwords.get(role.name)))
            name = sql.Identifier(role.name)
            connection.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(name, sql.Literal(made_by)))
            connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(name))
        for role in roles:
            left += _give(connection, role)
            if role.logs_in and role.name not in passwords:
                left.append(f"Role {role.name} has no password there: set one.")
    return left


def drop_roles(connection: Connection, names: Iterable[str], made_by: str) -> None:
    """Those of them that bear this comment. Raises psycopg's DependentObjectsStillExist for one that has been used."""
    with connection.transaction():
        found = connection.execute(
            "SELECT rolname::text FROM pg_roles WHERE rolname = ANY(%s) AND shobj_description(oid, 'pg_authid') = %s",
            [list(names), made_by],
        ).fetchall()
        for (name,) in found:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(str(name))))


def _create(connection: Connection, role: Role, password: str | None) -> sql.Composed:
    parts: list[sql.Composable] = [sql.SQL("CREATE ROLE {}").format(sql.Identifier(role.name))]
    parts += [sql.SQL(word) for word in _ORDINARY if word in role.attributes]
    parts.append(sql.SQL("CONNECTION LIMIT {}").format(sql.Literal(role.connection_limit)))
    if role.valid_until:
        parts.append(sql.SQL("VALID UNTIL {}").format(sql.Literal(role.valid_until)))
    if password:
        # Hashed here: the server never sees the password, so it cannot log it.
        verifier = connection.pgconn.encrypt_password(password.encode(), role.name.encode(), b"scram-sha-256")
        parts.append(sql.SQL("PASSWORD {}").format(sql.Literal(verifier.decode())))
    return sql.SQL(" ").join(parts)


def _give(connection: Connection, role: Role) -> list[str]:
    """What takes a right that this connection's role may not have."""
    name, left = sql.Identifier(role.name), []
    statements = [
        (word, sql.SQL("ALTER ROLE {} {}").format(name, sql.SQL(word))) for word in _SPECIAL if word in role.attributes
    ]
    statements += [
        (
            f"the setting {setting}",
            sql.SQL("ALTER ROLE {} SET {} TO {}").format(
                name, _setting_name(setting), sql.SQL(", ").join(map(sql.Literal, values))
            ),
        )
        for setting, values in role.settings
    ]
    statements += [
        (
            f"its membership in {of}",
            sql.SQL("GRANT {} TO {}{}").format(
                sql.Identifier(of), name, sql.SQL(" WITH ADMIN OPTION" if is_admin else "")
            ),
        )
        for of, is_admin in role.memberships
    ]
    for what, statement in statements:
        try:
            with connection.transaction():
                connection.execute(statement)
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject) as error:
            reason = error.diag.message_primary
            left.append(f"Role {role.name} was made without {what}: {reason}.")
    return left


def _setting_name(name: str) -> sql.Composable:
    return sql.SQL(".").join(sql.Identifier(part) for part in name.split("."))


def _literals(text: str) -> list[str]:
    return [value.replace("''", "'") for value in _LITERAL.findall(text)]


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
