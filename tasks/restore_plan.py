"""What a restore is about to do, as data: what comes in place of what, what would be lost, what stands in the way."""

import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import psycopg
from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel

from blocks.environment import Environment
from blocks.errors import BackstopError, Refused, Unmet
from blocks.manifest import Manifest
from blocks.postgres.connection import Connection, connect, read_conninfo
from blocks.postgres.databases import Database, read_database
from blocks.postgres.programs import find_programs_for
from blocks.postgres.snapshot import open_snapshot
from tasks.catalogue import Backup, find_backup, parse_time
from tasks.database_content import ContentSink, Source, dump_into
from tasks.ledger import current_run
from tasks.live_database import MAINTENANCE_DATABASE, live_name, restore_url
from tasks.markdown import plain
from tasks.prerequisite import Prerequisite
from tasks.transfer_progress import in_words

LARGE_OBJECTS = "large-objects"
"""As `accept_loss` names them: they belong to no table."""
_LOCAL = ("", "127.0.0.1", "::1", "localhost")
PROVEN = "backup proven"
_NAME_BYTES = 63
_OWN_SUFFIX = re.compile(r"_from_\d{14}$")
_SPARE = 1.2
"""Disk that the new database may take beside the size of the one that was dumped."""


class Loss(BaseModel):
    """What a table holds now and would not hold afterwards."""

    table: str
    """As public.tasks."""
    rows_now: int
    rows_then: int

    def __str__(self) -> str:
        difference = self.rows_now - self.rows_then
        return f"{self.table}: {self.rows_now} rows now, {self.rows_then} in the backup ({difference:+d})"


class RestorePlan(BaseModel):
    """Everything that the restore follows."""

    environment: str
    backup: Manifest
    proven: bool
    live: Database
    """Where it is gone, what the backup says of it; its oid is 0 then."""
    variable: str
    """Platform variable that the switch changes; empty: the databases exchange their names."""
    new_name: str
    kept_name: str
    losses: list[Loss] | None
    """None where the live database could not be read."""
    prerequisites: list[Prerequisite]
    notes: list[str]

    @property
    def is_live_there(self) -> bool:
        return self.live.oid != 0

    @property
    def fingerprint(self) -> str:
        """Of what is restored over what. What would be lost changes as long as somebody writes."""
        what = f"{self.backup.id} {self.live.oid} {self.live.name} {self.variable} {sorted(self.live.may_connect)}"
        return hashlib.sha256(what.encode()).hexdigest()[:16]


@task(name="Plan restore", cache_policy=NO_CACHE)
def plan_restore(environment: Environment, which: str, at: str) -> RestorePlan:
    """Read everything that the restore depends on. Raises BadParameter or Refused when it is impossible to say."""
    backup = find_backup(environment, which, parse_time(at))
    if backup.manifest.kind != "full":
        raise Refused(f"{backup.id} has the schema only: nothing can be restored from it.")
    url = restore_url(environment)
    name = live_name(environment)
    variable = (environment.database.variable or "") if environment.database else ""
    with connect(url, current_run().id, MAINTENANCE_DATABASE, 30) as connection:
        live = read_database(connection, name) or _as_backed_up(backup.manifest, name)
        lines = list(_prerequisites(connection, environment, backup, live))
        notes = list(_notes(connection, live, backup.manifest))
    stem = _OWN_SUFFIX.sub("", live.name)[: _NAME_BYTES - 24]
    now = f"{datetime.now(UTC):%Y%m%d%H%M%S}"
    return RestorePlan(
        environment=environment.environment,
        backup=backup.manifest,
        proven=backup.is_proven,
        live=live,
        variable=variable,
        new_name=f"{stem}_from_{now}" if variable else f"{stem}_new_{current_run().id.replace('-', '')[:8]}",
        kept_name=live.name if variable else f"{stem}_until_{now}",
        losses=read_losses(environment, backup.manifest, live.name),
        prerequisites=lines,
        notes=notes,
    )


def read_losses(environment: Environment, manifest: Manifest, database: str) -> list[Loss] | None:
    """Every table whose rows differ from those in the backup; None where the database cannot be read."""
    url = restore_url(environment)
    sink = ContentSink()
    try:
        with open_snapshot(url, current_run().id, database) as snapshot:
            facts = snapshot.read_facts()
            programs = find_programs_for(facts.server_version // 10_000)
            dump_into(sink, Source(url, programs, database), snapshot)
            now = {f"{one.schema_name}.{one.name}": one for one in sink.tables(programs, snapshot.read_tables())}
    except BackstopError:
        return None
    then = {f"{one.schema_name}.{one.name}": one for one in manifest.tables}
    losses = [
        Loss(table=name, rows_now=table.rows, rows_then=then[name].rows if name in then else 0)
        for name, table in now.items()
        if name not in then or then[name].sha256 != table.sha256
    ]
    if sink.large_objects_sha256 != manifest.large_objects_sha256:
        losses.append(Loss(table=LARGE_OBJECTS, rows_now=facts.large_objects, rows_then=manifest.large_objects))
    return losses


def publish_restore_plan(plan: RestorePlan) -> None:
    current_run().record("plan made", fingerprint=plan.fingerprint, backup=plan.backup.id, losses=_told(plan.losses))
    current_run().facts.update(backup=plan.backup.id, plan=plan.fingerprint, losses=_told(plan.losses))
    create_markdown_artifact(
        "\n".join(_page(plan)), key="plan", description=f"Restore {plan.backup.id} into {plan.environment}"
    )


def require_possible(plan: RestorePlan, proven: bool = True) -> None:
    """Raises Unmet with every prerequisite that does not hold; without `proven` the proof is none of them."""
    lines = [line for line in plan.prerequisites if proven or line.name != PROVEN]
    unmet = [f"{line.name}: {line.detail}" for line in lines if not line.met]
    if unmet:
        raise Unmet(f"{plan.backup.id} cannot be restored into {plan.environment} ({'; '.join(unmet)}).")


class LossNotAccepted(Refused):
    """Something was written that going on would lose, and nobody named it."""


def require_accepted(losses: list[Loss] | None, accepted: str, since: datetime) -> None:
    """The report tells them. Raises LossNotAccepted unless each is named in `accepted`, Refused where nobody knows."""
    names = {name.strip() for name in accepted.split(",") if name.strip()}
    if losses is None and "unknown" not in names:
        raise Refused(
            "The live database is gone or cannot be read, so nobody knows what would be lost.",
            f"Accept that with accept_loss=unknown. Everything since {since:%Y-%m-%d %H:%M:%S %Z} may be lost."
            " Nothing was changed.",
        )
    refused = [loss for loss in losses or [] if loss.table not in names]
    if refused:
        raise LossNotAccepted(
            f"What was written since {since:%Y-%m-%d %H:%M:%S %Z} would be lost: {'; '.join(map(str, refused))}.",
            f"Accept it with accept_loss={','.join(loss.table for loss in losses or [])}. Nothing was changed.",
        )
    current_run().record("loss accepted", losses=_told(losses))
    current_run().facts["losses"] = _told(losses)


def _prerequisites(
    connection: Connection, environment: Environment, backup: Backup, live: Database
) -> Iterator[Prerequisite]:
    manifest = backup.manifest
    yield Prerequisite.told(PROVEN, backup.is_proven, "its rows were compared after a test restore", "prove it first")
    yield from _of_role(connection, live)
    roles = {str(name) for (name,) in connection.execute("SELECT rolname::text FROM pg_roles")}
    named = {live.owner, *live.may_connect, *(setting.role for setting in live.settings)} - {""}
    yield _missing("roles exist", {*manifest.roles, manifest.owner, *named} - roles)
    available = {str(name) for (name,) in connection.execute("SELECT name::text FROM pg_available_extensions")}
    yield _missing("extensions available", set(manifest.extensions) - available)
    server = connection.info.server_version // 10_000
    not_newer = manifest.server_version // 10_000 <= server
    told = f"PostgreSQL {server}; the backup is of {manifest.server_version // 10_000}"
    yield Prerequisite.told("server not older", not_newer, told, told)
    prepared = connection.execute(
        "SELECT gid FROM pg_prepared_xacts WHERE database = %s ORDER BY 1", [live.name]
    ).fetchall()
    yield Prerequisite.told(
        "no prepared transactions", not prepared, "none", f"end them first: {[gid for (gid,) in prepared]}"
    )
    senders = connection.execute(
        "SELECT usename::text FROM pg_stat_activity WHERE datid = %s AND backend_type = 'walsender'", [live.oid]
    ).fetchall()
    yield Prerequisite.told(
        "no logical replication running", not senders, "none", f"stop its subscribers first: {senders}"
    )
    yield _enough_room(connection, environment, manifest)


def _of_role(connection: Connection, live: Database) -> Iterator[Prerequisite]:
    row = connection.execute(
        "SELECT current_user::text, rolsuper OR rolcreatedb, pg_has_role(to_regrole(quote_ident(%(owner)s)), 'MEMBER'),"
        " rolsuper OR pg_has_role('pg_signal_backend', 'USAGE') FROM pg_roles WHERE rolname = current_user",
        {"owner": live.owner},
    ).fetchone() or ("", False, False, False)
    user, creates, owns, signals = row
    yield Prerequisite.told("role may create databases", bool(creates), str(user), f"ALTER ROLE {user} CREATEDB")
    yield Prerequisite.told("role owns the database", bool(owns), str(live.owner), f"GRANT {live.owner} TO {user}")
    yield Prerequisite.told("role may end sessions", bool(signals), str(user), f"GRANT pg_signal_backend TO {user}")
    others = connection.execute(
        "SELECT DISTINCT usename::text FROM pg_stat_activity JOIN pg_roles ON rolname = usename"
        " WHERE datid = %s AND rolsuper AND usename <> current_user",
        [live.oid],
    ).fetchall()
    told = f"{', '.join(str(name) for (name,) in others)}: nothing keeps a superuser out"
    yield Prerequisite.told("no superuser writes", not others, "no session of one", told)


def _enough_room(connection: Connection, environment: Environment, manifest: Manifest) -> Prerequisite:
    wanted = int(manifest.database_bytes * _SPARE)
    host = read_conninfo(restore_url(environment)).get("host", "")
    with suppress(psycopg.errors.InsufficientPrivilege, OSError):
        row = connection.execute("SHOW data_directory").fetchone()
        if row and host in _LOCAL:
            free = shutil.disk_usage(str(row[0])).free
            told = f"{in_words(free)} free, {in_words(wanted)} wanted for a second copy"
            return Prerequisite.told("room for a second copy", free >= wanted, told, told)
    told = f"could not be measured; {in_words(wanted)} will be taken"
    return Prerequisite.told("room for a second copy", True, told, told)


def _missing(name: str, missing: set[str]) -> Prerequisite:
    return Prerequisite.told(name, not missing, "all of them", f"missing: {', '.join(sorted(missing))}")


def _notes(connection: Connection, live: Database, manifest: Manifest) -> Iterator[str]:
    slots = connection.execute("SELECT slot_name::text FROM pg_replication_slots WHERE database = %s", [live.name])
    for (slot,) in slots:
        yield f"Replication slot {slot} stays with the old database: its subscriber has to start anew."
    if not live.oid:
        yield f"There is no database {live.name} on the server: it is made as the backup describes it."
        yield from (f"The setting {name} is in no backup: set it again." for name in manifest.custom_settings)
    yield "Subscriptions are not restored: they would draw from the publisher a second time."
    if manifest.release:
        yield f"When the backup was taken, release {manifest.release} had the traffic."


def _switch(plan: RestorePlan) -> str:
    if not plan.variable:
        return f"which takes the name `{plan.live.name}`"
    return f"to which the platform's variable `{plan.variable}` will point, and the release is started anew,"


def _as_backed_up(manifest: Manifest, name: str) -> Database:
    """The database as the backup describes it, for one that is gone."""
    if manifest.described:
        return manifest.described.model_copy(update={"oid": 0, "name": name, "size": 0})
    raise Refused(
        f"There is no database {name} on the server, and {manifest.id} does not say what it was like.",
        f"Create it empty, with its owner and privileges, and restore again: CREATE DATABASE {name} OWNER"
        f" {manifest.owner}. Nothing was changed.",
    )


def _told(losses: list[Loss] | None) -> list[str]:
    return ["unknown"] if losses is None else [str(loss) for loss in losses]


def _page(plan: RestorePlan) -> Iterator[str]:
    yield f"# Restore {plan.backup.id} into {plan.environment}"
    taken_at = f"{plan.backup.taken_at:%Y-%m-%d %H:%M:%S %Z}"
    yield f"Taken at **{taken_at}**, {plan.backup.rows} rows · plan `{plan.fingerprint}`"
    yield ""
    yield f"- **Into:** a new database `{plan.new_name}`, {_switch(plan)} once it is verified."
    if plan.is_live_there:
        yield f"- **Kept:** the present one, as `{plan.kept_name}`; nobody but the restoring role can enter it."
    yield "- **While it goes on:** nobody can connect to the database; the service answers with errors."
    yield "- **Undo:** names and access as they are now; the new database is dropped."
    yield from (f"- {note}" for note in plan.notes)
    yield ""
    yield "## What would be lost"
    if plan.losses is None:
        yield "Unknown: the present database is gone or cannot be read."
    elif not plan.losses:
        yield "Nothing: every row is as it was when the backup was taken."
    else:
        yield "| table | rows now | rows in the backup |"
        yield "|---|--:|--:|"
        yield from (f"| {plain(loss.table)} | {loss.rows_now} | {loss.rows_then} |" for loss in plan.losses)
    yield ""
    yield "## Prerequisites"
    yield "| what must hold | | how it stands |"
    yield "|---|---|---|"
    yield from (f"| {line.name} | {'✓' if line.met else '✗'} | {plain(line.detail)} |" for line in plan.prerequisites)
