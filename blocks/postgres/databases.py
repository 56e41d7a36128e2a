"""The databases of a server: what they are called, who may connect, and what no dump carries."""

from typing import Any, LiteralString

import psycopg
from psycopg import sql
from pydantic import BaseModel

from blocks.errors import BackstopError
from blocks.postgres.connection import Connection

PUBLIC = ""
"""The grantee that is everybody."""


class Grant(BaseModel):
    """One privilege on a database."""

    grantee: str
    privilege: str
    grantable: bool


class Setting(BaseModel):
    """One `ALTER DATABASE … SET`, or `ALTER ROLE … IN DATABASE … SET`."""

    role: str
    """Empty: every role."""
    name: str
    value: str

    @property
    def is_custom(self) -> bool:
        """Made up by an application or an extension."""
        return "." in self.name


class Database(BaseModel):
    """One database. Its `oid` stays when it is renamed."""

    oid: int
    name: str
    owner: str
    encoding: str
    collation: str
    character_type: str
    locale_provider: str
    icu_locale: str | None
    connection_limit: int
    comment: str | None
    size: int
    grants: list[Grant]
    settings: list[Setting]

    @property
    def may_connect(self) -> set[str]:
        return {grant.grantee for grant in self.grants if grant.privilege == "CONNECT"}


def read_database(connection: Connection, name: str = "", oid: int = 0) -> Database | None:
    """By name or by oid; None when there is none."""
    locale = "datlocale" if connection.info.server_version >= 170_000 else "daticulocale"
    statement = sql.SQL(_DATABASE).format(sql.Identifier(locale))
    row = connection.execute(statement, {"name": name, "oid": oid}).fetchone()
    if row is None:
        return None
    fields: dict[str, Any] = dict(zip(_FIELDS, row, strict=True))
    grants = [
        Grant(grantee=str(grantee), privilege=str(privilege), grantable=bool(grantable))
        for grantee, privilege, grantable in connection.execute(_GRANTS, [fields["oid"]])
    ]
    settings = []
    for role, entries in connection.execute(_SETTINGS, [fields["oid"]]):
        for entry in entries:  # type: ignore[attr-defined]
            setting, _, value = entry.partition("=")
            settings.append(Setting(role=str(role), name=setting, value=value))
    return Database(**fields, grants=grants, settings=settings)


def require_database(connection: Connection, name: str = "", oid: int = 0) -> Database:
    """Raises BackstopError when there is none."""
    found = read_database(connection, name, oid)
    if found is None:
        raise BackstopError(f"There is no database {name or f'of oid {oid}'} on the server.")
    return found


def create_database_like(connection: Connection, model: Database, name: str) -> Database:
    """An empty one with the model's owner, encoding and locale, that nobody but its owner's members can enter."""
    icu = model.icu_locale if model.locale_provider == "i" else None
    statement = sql.SQL(
        "CREATE DATABASE {name} OWNER {owner} TEMPLATE template0 ENCODING {encoding}"
        " LC_COLLATE {collation} LC_CTYPE {ctype}{icu}"
    ).format(
        name=sql.Identifier(name),
        owner=sql.Identifier(model.owner),
        encoding=sql.Literal(model.encoding),
        collation=sql.Literal(model.collation),
        ctype=sql.Literal(model.character_type),
        icu=sql.SQL(" LOCALE_PROVIDER icu ICU_LOCALE {}").format(sql.Literal(icu)) if icu else sql.SQL(""),
    )
    connection.execute(statement)
    created = require_database(connection, name)
    close_to_all(connection, created)
    return created


def close_to_all(connection: Connection, database: Database) -> None:
    """Refuse new connections to every role but the one that this connection has (and superusers)."""
    name = sql.Identifier(database.name)
    with connection.transaction():
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO CURRENT_USER").format(name))
        for grantee in sorted(database.may_connect):
            if grantee != connection.info.user:
                revoke = sql.SQL("REVOKE CONNECT ON DATABASE {} FROM {}")
                connection.execute(revoke.format(name, _grantee(grantee)))


def open_to(connection: Connection, database: Database, grantees: set[str]) -> None:
    """Let exactly these connect. Repeating it changes nothing."""
    name = sql.Identifier(database.name)
    with connection.transaction():
        for grantee in sorted(grantees):
            connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(name, _grantee(grantee)))
        for grantee in sorted(database.may_connect - grantees):
            connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM {}").format(name, _grantee(grantee)))


def end_sessions_of(connection: Connection, application_names: list[str]) -> int:
    """End the sessions of these names, wherever on the server; returns how many there were.

    Raises psycopg's InsufficientPrivilege.
    """
    ended = connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = ANY(%s) AND pid <> pg_backend_pid() AND usesysid IS NOT NULL",
        [application_names],
    )
    return ended.rowcount


def end_sessions(connection: Connection, database: Database) -> list[str]:
    """End every session in the database but this one; returns who could not be ended, as `user (application)`.

    A session is somebody's. What kind of process it is, the server tells only to those who may know.
    """
    rows = connection.execute(
        "SELECT usename, application_name, pid FROM pg_stat_activity"
        " WHERE datid = %s AND pid <> pg_backend_pid() AND usesysid IS NOT NULL",
        [database.oid],
    ).fetchall()
    left = []
    for user, application, pid in rows:
        try:
            connection.execute("SELECT pg_terminate_backend(%s)", [pid])
        except psycopg.errors.InsufficientPrivilege:
            left.append(f"{user} ({application})")
    return left


def count_sessions(connection: Connection, database: Database) -> int:
    row = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datid = %s AND pid <> pg_backend_pid() AND usesysid IS NOT NULL",
        [database.oid],
    ).fetchone()
    return int(str(row[0])) if row else 0


def carry_over(connection: Connection, model: Database, to: str) -> list[str]:
    """Give a database what no dump carries: settings, limit, comment, privileges other than CONNECT.

    Returns what the role was not allowed to set, a sentence each.
    """
    name, left = sql.Identifier(to), []
    statements: list[tuple[str, sql.Composed]] = [
        (f"{grant.privilege} to {grant.grantee or 'everybody'}", _grant(grant, name))
        for grant in model.grants
        if grant.privilege != "CONNECT"
    ]
    statements += [(f"the setting {setting.name}", _set(setting, name)) for setting in model.settings]
    limit = sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(name, sql.Literal(model.connection_limit))
    statements.append(("the connection limit", limit))
    if model.comment:
        comment = sql.SQL("COMMENT ON DATABASE {} IS {}").format(name, sql.Literal(model.comment))
        statements.append(("the comment", comment))
    public = sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(name)
    if not any(grant.grantee == PUBLIC and grant.privilege == "TEMPORARY" for grant in model.grants):
        statements.insert(0, ("no TEMPORARY for everybody", public))
    for what, statement in statements:
        try:
            with connection.transaction():
                connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege as error:
            left.append(f"{what} could not be carried over: {error.diag.message_primary}.")
    return left


def rename_databases(connection: Connection, renames: list[tuple[str, str]]) -> None:
    """Old name → new name, in their order, in one transaction: all, or none."""
    with connection.transaction():
        for old, new in renames:
            rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
            connection.execute(rename.format(sql.Identifier(old), sql.Identifier(new)))


def drop_database(connection: Connection, database: Database) -> None:
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
    connection.execute(drop.format(sql.Identifier(database.name)))


def _grantee(name: str) -> sql.Composable:
    return sql.SQL("PUBLIC") if name == PUBLIC else sql.Identifier(name)


def _grant(grant: Grant, database: sql.Identifier) -> sql.Composed:
    grantable = sql.SQL(" WITH GRANT OPTION") if grant.grantable else sql.SQL("")
    privilege = sql.SQL({"CREATE": "CREATE", "TEMPORARY": "TEMPORARY"}[grant.privilege])
    return sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(privilege, database, _grantee(grant.grantee), grantable)


def _set(setting: Setting, database: sql.Identifier) -> sql.Composed:
    value = sql.SQL(", ").join(sql.Literal(part) for part in _parts(setting))
    if setting.role:
        # As the role itself, which may set its own: otherwise it takes the right to change any role.
        statement = sql.SQL("SET LOCAL ROLE {0}; ALTER ROLE {0} IN DATABASE {1} SET {2} TO {3}")
        return statement.format(sql.Identifier(setting.role), database, _setting_name(setting), value)
    return sql.SQL("ALTER DATABASE {} SET {} TO {}").format(database, _setting_name(setting), value)


def _setting_name(setting: Setting) -> sql.Composable:
    return sql.SQL(".").join(sql.Identifier(part) for part in setting.name.split("."))


def _parts(setting: Setting) -> list[str]:
    """A list such as search_path is stored as one text of quoted names."""
    if setting.name not in ("search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries"):
        return [setting.value]
    return [part.strip().strip('"') for part in setting.value.split(",")]


_FIELDS = (
    *("oid", "name", "owner", "encoding", "collation", "character_type", "locale_provider"),
    *("icu_locale", "connection_limit", "comment", "size"),
)

_DATABASE: LiteralString = """
SELECT oid, datname::text, pg_get_userbyid(datdba)::text, pg_encoding_to_char(encoding)::text, datcollate::text,
       datctype::text, datlocprovider::text, {}::text, datconnlimit, shobj_description(oid, 'pg_database'),
       CASE WHEN has_database_privilege(oid, 'CONNECT') THEN pg_database_size(oid) ELSE 0 END
FROM pg_database WHERE datname = %(name)s OR oid = %(oid)s
"""

_GRANTS: LiteralString = """
SELECT CASE WHEN grantee = 0 THEN '' ELSE pg_get_userbyid(grantee)::text END, privilege_type, is_grantable
FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) WHERE oid = %s
ORDER BY 1, 2
"""

_SETTINGS: LiteralString = """
SELECT CASE WHEN setrole = 0 THEN '' ELSE pg_get_userbyid(setrole)::text END, setconfig
FROM pg_db_role_setting WHERE setdatabase = %s ORDER BY 1
"""
