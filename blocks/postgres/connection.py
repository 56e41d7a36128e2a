"""Connecting to an application's database: connection strings as they are in the wild, direct, bounded in time."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from blocks.errors import Refused, Unreachable
from blocks.postgres.scratch import scratch_folder
from blocks.surroundings import BARE

CONNECT_SECONDS = 10
NOT_OF_LIBPQ = frozenset(
    {"schema", "pgbouncer", "connection_limit", "pool_timeout", "socket_timeout", "statement_cache_size", "sslaccept"}
)
"""What Prisma and other tools write into a URL and the server's own library refuses."""

_NO_TIMEOUT_BETWEEN_STATEMENTS: LiteralString = (
    "SELECT set_config(name, '0', false) FROM pg_settings"
    " WHERE name IN ('idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout')"
)
"""A snapshot is held open, idle, for as long as the dump takes. Older servers do not know all of these."""

_REFUSAL = re.compile(r"FATAL: +(.+)")
_QUOTED = re.compile(r' "[^"]*"')

Connection = psycopg.Connection[tuple[object, ...]]


class NobodyThere(Unreachable):
    """Not even a no: there may be no server any more, or no way to it."""


def application_name(purpose: str) -> str:
    """How a session is recognised on the server; for a run, its id is the purpose."""
    return f"backstop {purpose}"[:63]


def read_conninfo(url: str) -> dict[str, str]:
    """Host, port, user, password, dbname … of a URL or keyword string. Raises Refused without quoting it."""
    try:
        parts = urlsplit(url)
        if parts.scheme.startswith("postgresql+"):  # SQLAlchemy's: the driver belongs to it, not to the server
            url = f"postgresql{url[len(parts.scheme) :]}"
            parts = parts._replace(scheme="postgresql")
        if parts.scheme in ("postgres", "postgresql") and parts.query:
            query = [(name, value) for name, value in parse_qsl(parts.query) if name not in NOT_OF_LIBPQ]
            # Not urlunsplit, which takes the slashes from a URL without a host. libpq takes + for a plus.
            url = f"{url.partition('?')[0]}?{urlencode(query, quote_via=quote)}"
        return {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    except (psycopg.Error, ValueError):
        raise Refused("A database URL cannot be understood.", "Look at its reference. Nothing was changed.") from None


def with_database(url: str, name: str) -> str:
    """The same server, login and options, for another database. A URL stays one, as the application's library wants."""
    read_conninfo(url)
    parts = urlsplit(url)
    if parts.netloc:
        return urlunsplit(parts._replace(path=f"/{quote(name, safe='')}"))
    return make_conninfo("", **{**conninfo_to_dict(url), "dbname": name})


def with_host(url: str, host: str) -> str:
    """The same login, database, options and port, at another host. A URL stays one, as the application's library wants.

    Raises Refused for one that leads to a socket, where a host has no port.
    """
    conninfo = read_conninfo(url)
    if not conninfo.get("host") or conninfo["host"].startswith("/"):
        raise Refused(
            "A database URL leads to a socket: another server is not reached by changing its host.",
            "Use the server's address in it. Nothing was changed.",
        )
    parts = urlsplit(url)
    if not parts.netloc:
        return make_conninfo("", **{**conninfo_to_dict(url), "host": host, "hostaddr": None})
    login, at, _ = parts.netloc.rpartition("@")
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit(parts._replace(netloc=f"{login}{at}{host}{port}"))


def with_login(url: str, user: str, password: str) -> str:
    """The same server, database and options, for another login. A URL stays one, as the application's library wants."""
    read_conninfo(url)
    parts = urlsplit(url)
    if not parts.netloc:
        return make_conninfo("", **{**conninfo_to_dict(url), "user": user, "password": password})
    address = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{address}"))


def as_role(url: str, role: str) -> str:
    """The same login, acting as another role that it is a member of: what it makes belongs to that one."""
    conninfo = read_conninfo(url)
    if conninfo.get("user") == role:
        return url
    quoted = role.replace("\\", "\\\\").replace(" ", "\\ ")
    options = " ".join(filter(None, [conninfo.get("options"), f"-c role={quoted}"]))
    parts = urlsplit(url)
    if not parts.netloc and not parts.scheme:
        return make_conninfo("", **{**conninfo, "options": options})
    query = [(name, value) for name, value in parse_qsl(parts.query) if name != "options"]
    return f"{url.partition('?')[0]}?{urlencode([*query, ('options', options)], quote_via=quote)}"


def says_pooled(url: str) -> bool:
    """Whether the URL itself says that a transaction pooler stands in between."""
    return dict(parse_qsl(urlsplit(url).query)).get("pgbouncer") == "true"


def connect(url: str, purpose: str, database: str = "", statement_seconds: float = 0) -> Connection:
    """An autocommit connection whose application_name is `backstop PURPOSE`; 0 seconds: no limit.

    `database` in place of the one that the URL names. Raises Unreachable, as NobodyThere where no server says no, or
    Refused when a transaction pooler stands in between: there no session is one's own.
    """
    conninfo = {
        **read_conninfo(url),
        **({"dbname": database} if database else {}),
        "connect_timeout": str(CONNECT_SECONDS),
        "application_name": application_name(purpose),
        "keepalives_idle": "10",
        "keepalives_interval": "5",
        "keepalives_count": "3",
    }
    try:
        connection = psycopg.connect(make_conninfo("", **conninfo), autocommit=True)
        _require_own_session(connection, says_pooled(url))  # before anything is set: a pooler hands it on to others
        connection.execute("SELECT set_config('statement_timeout', %s, false)", [f"{int(statement_seconds * 1000)}"])
        connection.execute(_NO_TIMEOUT_BETWEEN_STATEMENTS)
    except psycopg.Error as error:
        reason = _reason(error)
        message = f"The database does not answer ({type(error).__name__}: {reason or 'no connection'})."
        raise Unreachable(message) if reason else NobodyThere(message) from None
    return connection


@contextmanager
def libpq_environment(url: str, purpose: str, database: str = "") -> Iterator[dict[str, str]]:
    """Variables for PostgreSQL's own programs. The password stands in a file of its own, not in them."""
    conninfo = read_conninfo(url)
    with scratch_folder("password") as folder:
        passfile = folder / "pgpass"
        passfile.touch(mode=0o600)
        if "password" in conninfo:
            passfile.write_text(f"*:*:*:*:{_escaped(conninfo['password'])}\n")
        names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
        names |= {"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "hostaddr": "PGHOSTADDR"}
        names |= {"sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY", "options": "PGOPTIONS"}
        yield {
            **BARE,
            **{variable: conninfo[name] for name, variable in names.items() if name in conninfo},
            **({"PGDATABASE": database} if database else {}),
            "PGPASSFILE": str(passfile),
            "PGAPPNAME": application_name(purpose),
            "PGCONNECT_TIMEOUT": str(CONNECT_SECONDS),
        }


def _require_own_session(connection: Connection, pooled: bool) -> None:
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    if pooled or row is None or row[0] != connection.info.backend_pid:
        connection.close()
        raise Refused(
            "The database is reached through a transaction pooler, where no session is one's own.",
            "Give the server's direct address. Nothing was changed.",
        )


def _escaped(password: str) -> str:
    return password.replace("\\", "\\\\").replace(":", "\\:")


def _reason(error: psycopg.Error) -> str:
    """The server's word for it, without names; libpq's own text would quote address and user.

    A login that is turned away has its reason in that text only. Empty where no server says anything.
    """
    told = error.diag.message_primary or _REFUSAL.search(str(error))
    return _QUOTED.sub("", told if isinstance(told, str) else told[1]) if told else ""
