"""What a restore is about to do, as data: what comes in place of what, what would be lost, what stands in the way."""

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel

from blocks.environment import Environment
from blocks.errors import BackstopError, Refused, Unmet
from blocks.manifest import HeldContent, Manifest
from blocks.postgres.connection import read_conninfo
from blocks.postgres.databases import Database, read_database
from blocks.postgres.programs import find_programs_for
from blocks.postgres.snapshot import open_snapshot
from tasks.catalogue import find_backup, parse_time
from tasks.database_content import ContentSink, Source, dump_into
from tasks.ledger import current_run
from tasks.live_database import restore_url
from tasks.markdown import plain
from tasks.prerequisite import Prerequisite
from tasks.restore_prerequisites import PROVEN, Servers, check_prerequisites, connected_servers, read_missing_roles

LARGE_OBJECTS = "large-objects"
"""As `accept_loss` names them: they belong to no table."""
_NAME_BYTES = 63
_OWN_SUFFIX = re.compile(r"_from_\d{14}$")


class Loss(BaseModel):
    """What a table holds now and would not hold afterwards."""

    table: str
    """As public.tasks."""
    rows_now: int
    rows_then: int

    def __str__(self) -> str:
        difference = self.rows_now - self.rows_then
        return f"{self.table}: {self.rows_now} rows now, {self.rows_then} then ({difference:+d})"


class RestorePlan(BaseModel):
    """Everything that the restore follows."""

    environment: str
    backup: Manifest
    proven: bool
    live: Database
    """Where it is gone, what the backup says of it; its oid is 0 then."""
    live_instance: str
    """The server of the live database."""
    instance: str
    """The server that is restored into."""
    server_major: int
    """PostgreSQL's version there."""
    roles_to_make: list[str]
    """Those that the other server lacks, and the backup describes."""
    variable: str
    """Platform variable that the switch changes; empty: the databases exchange their names."""
    new_name: str
    kept_name: str
    losses: list[Loss] | None
    """None where the live database could not be read."""
    meanwhile: str
    """What visitors meet while it goes on."""
    prerequisites: list[Prerequisite]
    notes: list[str]

    @property
    def is_live_there(self) -> bool:
        return self.live.oid != 0

    @property
    def moves(self) -> bool:
        """Whether the application gets another server."""
        return self.instance != self.live_instance

    @property
    def kept(self) -> str:
        """The database of before, in words."""
        return f"{self.kept_name} on {self.live_instance}" if self.moves else self.kept_name

    @property
    def fingerprint(self) -> str:
        """Of what is restored over what. What would be lost changes as long as somebody writes."""
        what = f"{self.backup.id} {self.live.oid} {self.live.name} {self.variable} {sorted(self.live.may_connect)}"
        what += f" {self.live_instance} {self.instance} {self.roles_to_make}"
        return hashlib.sha256(what.encode()).hexdigest()[:16]


@task(name="Plan restore", cache_policy=NO_CACHE)
def plan_restore(environment: Environment, which: str, at: str, instance: str = "") -> RestorePlan:
    """Read everything that the restore depends on; `instance`: the server to restore into, if not the live one's.

    Raises BadParameter or Refused when it is impossible to say.
    """
    backup = find_backup(environment, which, parse_time(at))
    if backup.manifest.kind != "full":
        raise Refused(f"{backup.id} has the schema only: nothing can be restored from it.")
    variable = (environment.database.variable or "") if environment.database else ""
    with connected_servers(environment, instance) as servers:
        name = servers.live.name
        found = read_database(servers.here, name) if servers.here else None
        live = found or _as_backed_up(backup.manifest, name)
        missing_roles = read_missing_roles(servers.there, backup.manifest, live)
        lines = list(check_prerequisites(servers, backup, live, missing_roles))
        notes = list(_notes(servers, live, backup.manifest))
        server_major = servers.there.info.server_version // 10_000
    stem = _OWN_SUFFIX.sub("", live.name)[: _NAME_BYTES - 24]
    now = f"{datetime.now(UTC):%Y%m%d%H%M%S}"
    return RestorePlan(
        environment=environment.environment,
        backup=backup.manifest,
        proven=backup.is_proven,
        live=live,
        live_instance=servers.live.instance,
        instance=servers.instance,
        server_major=server_major,
        roles_to_make=sorted(missing_roles) if servers.moves else [],
        variable=variable,
        new_name=f"{stem}_from_{now}" if variable else f"{stem}_new_{current_run().id.replace('-', '')[:8]}",
        kept_name=live.name if variable else f"{stem}_until_{now}",
        losses=read_losses(environment, backup.manifest, live.name, servers.live.instance),
        meanwhile=environment.platform.meanwhile,
        prerequisites=lines,
        notes=notes,
    )


def read_held(environment: Environment, database: str, instance: str = "") -> HeldContent:
    """With a digest of every table: all of it is read. Raises BackstopError."""
    url, sink = restore_url(environment, instance), ContentSink()
    with open_snapshot(url, current_run().id, database) as snapshot:
        facts = snapshot.read_facts()
        programs = find_programs_for(facts.server_version // 10_000)
        dump_into(sink, Source(url, programs, database), snapshot)
        tables = sink.tables(programs, snapshot.read_tables())
    return HeldContent(
        taken_at=facts.taken_at,
        tables=[one.model_copy(update={"columns": []}) for one in tables],
        large_objects=facts.large_objects,
        large_objects_sha256=sink.large_objects_sha256,
    )


def read_losses(
    environment: Environment, before: Manifest | HeldContent, database: str, instance: str = ""
) -> list[Loss] | None:
    """Every table whose rows differ from those of before; None where the database cannot be read."""
    try:
        held = read_held(environment, database, instance)
    except BackstopError:
        return None
    now = {f"{one.schema_name}.{one.name}": one for one in held.tables}
    then = {f"{one.schema_name}.{one.name}": one for one in before.tables}
    losses = [
        Loss(table=name, rows_now=table.rows, rows_then=then[name].rows if name in then else 0)
        for name, table in now.items()
        if name not in then or then[name].sha256 != table.sha256
    ]
    if held.large_objects_sha256 != before.large_objects_sha256:
        losses.append(Loss(table=LARGE_OBJECTS, rows_now=held.large_objects, rows_then=before.large_objects))
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


def _notes(servers: Servers, live: Database, manifest: Manifest) -> Iterator[str]:
    if servers.here:
        slots = servers.here.execute(
            "SELECT slot_name::text FROM pg_replication_slots WHERE database = %s", [live.name]
        )
        for (slot,) in slots:
            yield f"Replication slot {slot} stays with the old database: its subscriber has to start anew."
    else:
        yield (
            f"The server {servers.live.instance} does not answer: nobody can be kept from writing to it, should it come"
            " back while this goes on. Afterwards the application does not know it any more."
        )
    if servers.here and not live.oid:
        yield f"There is no database {live.name} on the server: it is made as the backup describes it."
    if not live.oid:
        yield from (f"The setting {name} is in no backup: set it again." for name in manifest.custom_settings)
    if servers.moves:
        address = read_conninfo(restore_url(servers.environment, servers.instance))
        host, port = address.get("host", "a socket of this machine"), address.get("port", "5432")
        yield f"The application moves from the server {servers.live.instance} to {servers.instance} ({host}, {port})."
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
    on = f" on the server `{plan.instance}`" if plan.moves else ""
    yield f"- **Into:** a new database `{plan.new_name}`{on}, {_switch(plan)} once it is verified."
    if plan.is_live_there:
        yield f"- **Kept:** the present one, as `{plan.kept}`; nobody but the restoring role can enter it."
    yield f"- **While it goes on:** nobody can connect to the database; {plain(plan.meanwhile)}."
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
