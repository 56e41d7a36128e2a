"""Make a backup of ours out of a dump that others made, by way of a throw-away server."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from prefect import task
from prefect.cache_policies import NO_CACHE
from psycopg import sql

from blocks.environment import Environment
from blocks.errors import BadParameter, Refused
from blocks.postgres.connection import connect, libpq_environment, read_conninfo
from blocks.postgres.databases import Database, require_database
from blocks.postgres.foreign import ForeignDump, read_roles, recognise, restore_foreign
from blocks.postgres.programs import Programs, find_programs_for
from blocks.postgres.throwaway import USER, throwaway_server
from blocks.reference import resolve
from tasks.ledger import current_run
from tasks.live_database import backup_url

_NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9._+=@ -]{0,199}(/[A-Za-z0-9_][A-Za-z0-9._+=@ -]{0,199}){0,9}")


class Importable(NamedTuple):
    """A dump, and the database that it is to stand in for."""

    dump: ForeignDump
    identity: str | None
    model: Database
    programs: Programs


@task(name="Look at the dump", cache_policy=NO_CACHE)
def read_importable(environment: Environment, file: str) -> Importable:
    """Raises BadParameter for a file outside the import folder, Refused for what is no dump."""
    identity = resolve(environment.backups.identity) if environment.backups.identity else None
    dump = recognise(_find(environment, file), identity)
    url = backup_url(environment)
    with connect(url, current_run().id, statement_seconds=30) as connection:
        model = require_database(connection, read_conninfo(url).get("dbname", ""))
        server = connection.info.server_version // 10_000
    return Importable(dump, identity, model, find_programs_for(server))


@contextmanager
def imported(found: Importable) -> Iterator[str]:
    """URL of a database in a throw-away server that holds what the dump holds. Raises RestoreFailed."""
    owner = found.model.owner
    with throwaway_server(found.programs) as url:
        with connect(url, current_run().id) as connection:
            known = {str(name) for (name,) in connection.execute("SELECT rolname::text FROM pg_roles")}
            for role in sorted({owner, *read_roles(found.dump, found.identity)} - known):
                connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
            connection.execute(sql.SQL("ALTER ROLE {} LOGIN SUPERUSER").format(sql.Identifier(owner)))
            create = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING {}")
            name, encoding = sql.Identifier(found.model.name), sql.Literal(found.model.encoding)
            connection.execute(create.format(name, sql.Identifier(owner), encoding))
        as_owner = url.replace(f"//{USER}@/", f"//{_quoted(owner)}@/")
        with libpq_environment(as_owner, current_run().id, found.model.name) as environment:
            restore_foreign(found.dump, found.programs, environment, found.identity)
        yield url.replace("/postgres?", f"/{_quoted(found.model.name)}?")


def _find(environment: Environment, file: str) -> Path:
    folder = environment.backups.import_folder
    if not folder:
        raise Refused(
            f"{environment.environment} names no folder to import from.",
            "Set backups.import_folder and apply it. Nothing was changed.",
        )
    path = Path(resolve(folder)) / file
    if not _NAME.fullmatch(file) or not path.resolve().is_relative_to(Path(resolve(folder)).resolve()):
        raise BadParameter("file", file, "the path of a dump inside backups.import_folder")
    if not path.exists():
        raise BadParameter("file", file, f"one of {', '.join(_known(path.parent)) or 'none: the folder is empty'}")
    return path


def _known(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())[:20] if folder.is_dir() else []


def _quoted(name: str) -> str:
    return quote(name, safe="")
