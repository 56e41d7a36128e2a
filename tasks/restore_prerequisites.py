"""What must hold before a restore stops anything: a line of the plan each. Nothing is changed."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import NamedTuple

import psycopg

from blocks.environment import Environment
from blocks.manifest import Manifest
from blocks.postgres.connection import Connection, NobodyThere, read_conninfo, with_database
from blocks.postgres.databases import Database
from tasks.catalogue import Backup
from tasks.live_database import Live, application_url, logins_of, read_live, restore_url
from tasks.prerequisite import Prerequisite
from tasks.restore_roles import read_described
from tasks.server_session import connect_as_restorer
from tasks.transfer_progress import in_words

PROVEN = "backup proven"
_LOCAL = ("", "127.0.0.1", "::1", "localhost")
_SPARE = 1.2
"""Disk that the new database may take beside the size of the one that was dumped."""


class Servers(NamedTuple):
    """Where the live database is, and where the new one is to be; mostly one and the same."""

    environment: Environment
    live: Live
    instance: str
    """The server that is restored into."""
    here: Connection | None
    """To the live database's server; None where it does not answer, and another one is restored into."""
    there: Connection
    """To the server that is restored into."""

    @property
    def moves(self) -> bool:
        return self.instance != self.live.instance


@contextmanager
def connected_servers(environment: Environment, instance: str) -> Iterator[Servers]:
    """`instance`: that of the live database where it is empty. Raises Unreachable, BadParameter for an unknown one."""
    live = read_live(environment)
    instance = instance or live.instance
    logins_of(environment, instance)
    with ExitStack() as stack:
        here = None
        try:
            here = stack.enter_context(connect_as_restorer(environment, live.instance))
        except NobodyThere:
            if instance == live.instance:
                raise
        moves = here is None or instance != live.instance
        there = stack.enter_context(connect_as_restorer(environment, instance)) if here is None or moves else here
        yield Servers(environment, live, instance, here, there)


def read_missing_roles(there: Connection, manifest: Manifest, live: Database) -> set[str]:
    """What the restored database needs and the server does not have."""
    named = {live.owner, *live.may_connect, *(setting.role for setting in live.settings)} - {""}
    roles = {str(name) for (name,) in there.execute("SELECT rolname::text FROM pg_roles")}
    return {*manifest.roles, manifest.owner, *named} - roles


def check_prerequisites(
    servers: Servers, backup: Backup, live: Database, missing_roles: set[str]
) -> Iterator[Prerequisite]:
    manifest, there = backup.manifest, servers.there
    yield Prerequisite.told(PROVEN, backup.is_proven, "its rows were compared after a test restore", "prove it first")
    yield from _of_role(servers, live, missing_roles)
    yield _roles(servers, manifest, missing_roles)
    available = {str(name) for (name,) in there.execute("SELECT name::text FROM pg_available_extensions")}
    yield _missing("extensions available", set(manifest.extensions) - available)
    server = there.info.server_version // 10_000
    not_newer = manifest.server_version // 10_000 <= server
    told = f"PostgreSQL {server}; the backup is of {manifest.server_version // 10_000}"
    yield Prerequisite.told("server not older", not_newer, told, told)
    if servers.here:
        yield from check_live(servers.here, live)
    yield _enough_room(servers, manifest)
    if servers.moves:
        yield from _of_move(servers, live)


def _of_role(servers: Servers, live: Database, missing_roles: set[str]) -> Iterator[Prerequisite]:
    user, creates, owns = _read_rights(servers.there, live)
    owns = owns or (servers.moves and live.owner in missing_roles)  # whoever makes a role becomes a member of it
    yield Prerequisite.told("role may create databases", creates, user, f"ALTER ROLE {user} CREATEDB")
    yield Prerequisite.told("role owns the database", owns, str(live.owner), f"GRANT {live.owner} TO {user}")
    if servers.moves and servers.here:
        yield check_may_close(servers.here, servers.live.instance, live)


def check_may_close(here: Connection, instance: str, live: Database) -> Prerequisite:
    user, _, owns = _read_rights(here, live)
    told = f"on {instance}: GRANT {live.owner} TO {user}"
    return Prerequisite.told("role may close the live database", owns, str(live.owner), told)


def _read_rights(connection: Connection, live: Database) -> tuple[str, bool, bool]:
    """Who restores, whether he may create databases, and whether he may act as the owner."""
    user, creates, owns = connection.execute(
        "SELECT current_user::text, rolsuper OR rolcreatedb, pg_has_role(to_regrole(quote_ident(%(owner)s)), 'MEMBER')"
        " FROM pg_roles WHERE rolname = current_user",
        {"owner": live.owner},
    ).fetchone() or ("", False, False)
    return str(user), bool(creates), bool(owns)


def _roles(servers: Servers, manifest: Manifest, missing: set[str]) -> Prerequisite:
    if not missing or not servers.moves:
        return _missing("roles exist", missing)
    if unknown := missing - read_described(servers.environment, manifest).keys():
        return _missing("roles exist", unknown)
    user, may_create = servers.there.execute(
        "SELECT current_user::text, rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
    ).fetchone() or ("", False)
    names = ", ".join(sorted(missing))
    told = f"missing: {names}; create them on {servers.instance}, or there ALTER ROLE {user} CREATEROLE"
    return Prerequisite.told("roles exist", bool(may_create), f"made as the backup describes them: {names}", told)


def check_live(here: Connection, live: Database) -> Iterator[Prerequisite]:
    """That it can be closed, and that nobody goes on writing to it then."""
    user, signals = here.execute(
        "SELECT current_user::text, rolsuper OR pg_has_role('pg_signal_backend', 'USAGE') FROM pg_roles"
        " WHERE rolname = current_user"
    ).fetchone() or ("", False)
    yield Prerequisite.told("role may end sessions", bool(signals), str(user), f"GRANT pg_signal_backend TO {user}")
    others = here.execute(
        "SELECT DISTINCT usename::text FROM pg_stat_activity JOIN pg_roles ON rolname = usename"
        " WHERE datid = %s AND rolsuper AND usename <> current_user",
        [live.oid],
    ).fetchall()
    told = f"{', '.join(str(name) for (name,) in others)}: nothing keeps a superuser out"
    yield Prerequisite.told("no superuser writes", not others, "no session of one", told)
    prepared = here.execute("SELECT gid FROM pg_prepared_xacts WHERE database = %s ORDER BY 1", [live.name]).fetchall()
    yield Prerequisite.told(
        "no prepared transactions", not prepared, "none", f"end them first: {[gid for (gid,) in prepared]}"
    )
    senders = here.execute(
        "SELECT usename::text FROM pg_stat_activity WHERE datid = %s AND backend_type = 'walsender'", [live.oid]
    ).fetchall()
    yield Prerequisite.told(
        "no logical replication running", not senders, "none", f"stop its subscribers first: {senders}"
    )


def _enough_room(servers: Servers, manifest: Manifest) -> Prerequisite:
    wanted = int(manifest.database_bytes * _SPARE)
    name = "room for it" if servers.moves else "room for a second copy"
    host = read_conninfo(restore_url(servers.environment, servers.instance)).get("host", "")
    with suppress(psycopg.errors.InsufficientPrivilege, OSError):
        row = servers.there.execute("SHOW data_directory").fetchone()
        if row and host in _LOCAL:
            free = shutil.disk_usage(str(row[0])).free
            told = f"{in_words(free)} free, {in_words(wanted)} wanted"
            return Prerequisite.told(name, free >= wanted, told, told)
    told = f"could not be measured; {in_words(wanted)} will be taken"
    return Prerequisite.told(name, True, told, told)


def check_way_back(environment: Environment, live: Live) -> Prerequisite:
    """It writes the variable as the environment's file has it: that must be what stands there now."""
    url, now = logins_of(environment, live.instance).url, application_url(environment)
    is_known = with_database(now, live.name) == with_database(url, live.name)
    good = f"the variable holds what {live.instance}'s URL says"
    bad = f"the platform's variable and the URL that the environment has for {live.instance} differ: make them the same"
    return Prerequisite.told("way back known", is_known, good, bad)


def _of_move(servers: Servers, live: Database) -> Iterator[Prerequisite]:
    yield check_way_back(servers.environment, servers.live)
    now, after = application_url(servers.environment), servers.instance
    user, there = (read_conninfo(one).get("user", "") for one in (now, logins_of(servers.environment, after).url))
    told = f"{user} here, {there} on {after}, which is not let into the live database: take one that is"
    is_let_in = there in {user, live.owner, *live.may_connect}
    yield Prerequisite.told("application's role is let in", is_let_in, there, told)


def _missing(name: str, missing: set[str]) -> Prerequisite:
    return Prerequisite.told(name, not missing, "all of them", f"missing: {', '.join(sorted(missing))}")
