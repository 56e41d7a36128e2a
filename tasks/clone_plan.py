"""What going back to a point in time is about to do, as data: a clone at Google comes in place of the live server."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel

from blocks.cloud_sql import CloudSql, SqlInstance
from blocks.database import MAIN
from blocks.environment import Environment
from blocks.errors import BadParameter, Refused, Unmet
from blocks.postgres.connection import Connection, NobodyThere, read_conninfo, with_host
from blocks.postgres.databases import PUBLIC, Database, read_database
from tasks.catalogue import parse_time
from tasks.ledger import current_run
from tasks.live_database import Live, cloud_sql_of, logins_of, read_live
from tasks.markdown import plain
from tasks.prerequisite import Prerequisite
from tasks.restore_prerequisites import check_live, check_may_close, check_way_back
from tasks.server_session import connect_as_restorer


class ClonePlan(BaseModel):
    """Everything that going back to a point in time follows."""

    environment: str
    point_in_time: datetime
    source: str
    """The instance that the live database is on, as Cloud SQL calls it."""
    clone: str
    """The instance that will be made: this run's alone."""
    live: Database
    """Where it is gone, its oid is 0, and its name all that is known."""
    live_instance: str
    """As the environment calls the server of the live database."""
    variable: str
    prerequisites: list[Prerequisite]
    notes: list[str]

    @property
    def is_live_there(self) -> bool:
        return self.live.oid != 0

    @property
    def moves(self) -> bool:
        """The application always gets another server."""
        return True

    @property
    def moment(self) -> str:
        """The point in time, in words."""
        return f"{self.point_in_time:%Y-%m-%d %H:%M:%S %Z}"

    @property
    def fingerprint(self) -> str:
        """Of what comes in place of what."""
        what = f"{self.point_in_time.isoformat()} {self.source} {self.clone} {self.live.oid} {self.live.name}"
        what += f" {self.variable} {sorted(self.live.may_connect)} {self.live_instance}"
        return hashlib.sha256(what.encode()).hexdigest()[:16]


def require_alone(point_in_time: str, **others: str) -> None:
    """A restore is of a backup or of a point in time. Raises BadParameter where both are named."""
    for name, value in others.items():
        if value not in ("", "latest"):
            allowed = f"none beside point_in_time={point_in_time}: the one is of a backup, the other of a server"
            raise BadParameter(name, value, allowed)


@task(name="Plan clone", cache_policy=NO_CACHE)
def plan_clone(environment: Environment, point_in_time: str) -> ClonePlan:
    """Read everything that it depends on. Raises BadParameter or Refused when it is impossible to say."""
    cloud_sql, found = cloud_sql_of(environment), read_live(environment)
    source = _source(cloud_sql, found)
    with_host(logins_of(environment, found.instance).url, source)  # a socket would refuse that
    instance = cloud_sql.read_instance(source)
    at = _checked(cloud_sql, instance, point_in_time)
    with ExitStack() as stack:
        try:
            here = stack.enter_context(connect_as_restorer(environment, found.instance))
        except NobodyThere:
            here = None
        live = (read_database(here, found.name) if here else None) or _gone(found.name)
        lines = list(_prerequisites(environment, instance, found, live, here))
    return ClonePlan(
        environment=environment.environment,
        point_in_time=at,
        source=source,
        clone=cloud_sql.clone_name(current_run().id),
        live=live,
        live_instance=found.instance,
        variable=(environment.database.variable or "") if environment.database else "",
        prerequisites=lines,
        notes=list(_not_undone(instance)),
    )


def publish_clone_plan(plan: ClonePlan) -> None:
    told = {"plan": plan.fingerprint, "point_in_time": plan.point_in_time.isoformat(), "clone": plan.clone}
    current_run().record("plan made", **told)
    current_run().facts.update(told)
    description = f"Bring {plan.environment} back to {plan.moment}"
    create_markdown_artifact("\n".join(_page(plan)), key="plan", description=description)


def require_possible(plan: ClonePlan) -> None:
    """Raises Unmet with every prerequisite that does not hold."""
    if unmet := [f"{line.name}: {line.detail}" for line in plan.prerequisites if not line.met]:
        raise Unmet(f"{plan.environment} cannot be brought back to {plan.moment} ({'; '.join(unmet)}).")


def _source(cloud_sql: CloudSql, live: Live) -> str:
    if live.instance == MAIN:
        return cloud_sql.instance
    if cloud_sql.is_clone(live.instance):
        return live.instance
    raise Refused(
        f"The live database is on {live.instance}, and database.cloud_sql is about {MAIN}.",
        "Restore a backup instead. Nothing was changed.",
    )


def _checked(cloud_sql: CloudSql, instance: SqlInstance, point_in_time: str) -> datetime:
    """The moment, in UTC. Raises BadParameter for one that Google cannot go back to, or nobody could."""
    at = parse_time(point_in_time, "point_in_time")
    if at is None:
        raise BadParameter("point_in_time", point_in_time, "a time as 2026-11-21T02:00:00+00:00")
    at = at.astimezone(UTC)
    if instance.recovers_to_points:
        window = cloud_sql.read_window(instance.name)
        if not window.earliest <= at <= window.latest:
            allowed = (
                f"from {_in_words(window.earliest)} to {_in_words(window.latest)}, which is what {instance.name} has"
            )
            raise BadParameter("point_in_time", point_in_time, allowed)
    return at


def _prerequisites(
    environment: Environment, instance: SqlInstance, found: Live, live: Database, here: Connection | None
) -> Iterator[Prerequisite]:
    told = f"switch it on for {instance.name}; until then nothing can be brought back so"
    yield Prerequisite.told("point-in-time recovery on", instance.recovers_to_points, instance.name, told)
    yield check_way_back(environment, found)
    if here and live.oid:
        user = read_conninfo(logins_of(environment, found.instance).url).get("user", "")
        is_let_in = user in {live.owner, *live.may_connect} or PUBLIC in live.may_connect
        yield Prerequisite.told("application's role is let in", is_let_in, user, f"{user} is kept out of {live.name}")
        yield check_may_close(here, found.instance, live)
        yield from check_live(here, live)


def _not_undone(instance: SqlInstance) -> Iterator[str]:
    """What no undo takes back."""
    yield (
        f"The clone costs what {instance.name} ({instance.settings.tier}) does, from now until somebody deletes it,"
        " also where this run is put back: Backstop deletes no instance."
    )
    yield f"{instance.name} stays, closed to the application, and costs on."
    yield f"Google may restart {instance.name} while it clones it: so it says of this call."
    replicas = ", ".join(instance.replicaNames)
    yield f"Replicas are not cloned: {replicas or 'there are none'}."
    yield "The clone's own backups and points in time begin with it; earlier ones are those of the present instance."
    yield "Logins have the passwords of that time. Those that the environment names get the present ones."
    yield "Alerts, dashboards, firewalls and whatever else names the present instance do not know the clone."


def _gone(name: str) -> Database:
    return Database(
        oid=0,
        name=name,
        owner="",
        encoding="",
        collation="",
        character_type="",
        locale_provider="",
        icu_locale=None,
        connection_limit=-1,
        comment=None,
        size=0,
        grants=[],
        settings=[],
    )


def _in_words(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _page(plan: ClonePlan) -> Iterator[str]:
    yield f"# Bring {plan.environment} back to {plan.moment}"
    yield f"A clone of `{plan.source}` as of then · plan `{plan.fingerprint}`"
    yield ""
    yield (
        f"- **Into:** a new Cloud SQL instance `{plan.clone}`, to which the platform's variable `{plan.variable}` will"
        " point, and the release is started anew, once it is verified."
    )
    kept = f"the present database `{plan.live.name}` on `{plan.source}`; nobody but the restoring role can enter it."
    yield (
        f"- **Kept:** {kept}" if plan.is_live_there else f"- The database `{plan.live.name}` is gone, or its server is."
    )
    yield "- **While it is cloned and verified:** the service goes on. It is down only for the switch."
    yield "- **Proven before the switch:** the clone answers, all of it can be read, the assertions hold."
    yield "- **Not proven:** that its rows are those of that moment. There is no backup to compare them with."
    yield "- **Undo:** variable and access as they are now."
    yield ""
    yield "## What would be lost"
    yield (
        f"What was written since {plan.moment}. In which tables, the clone shows: it is compared before writes are"
        " stopped, and a table that `accept_loss` does not name ends the run there."
    )
    yield ""
    yield "## What is not undone"
    yield from (f"- {note}" for note in plan.notes)
    yield ""
    yield "## Prerequisites"
    yield "| what must hold | | how it stands |"
    yield "|---|---|---|"
    yield from (f"| {line.name} | {'✓' if line.met else '✗'} | {plain(line.detail)} |" for line in plan.prerequisites)
