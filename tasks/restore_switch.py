"""The switch from the live database to the restored one, and back: an exchange of names, or one variable."""

from typing import Protocol

from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel

from blocks.database import MAIN
from blocks.environment import Environment
from blocks.errors import Refused, SomebodyElseChangedIt
from blocks.manifest import HeldContent
from blocks.postgres.connection import NobodyThere, with_database
from blocks.postgres.databases import Database, read_database, rename_databases, require_database
from tasks.deploy_plan import read_traffic_before
from tasks.effect import effect, read_last_effect
from tasks.ledger import current_run
from tasks.live_database import application_url, logins_of, read_live
from tasks.restore_plan import RestorePlan
from tasks.retry import is_passing
from tasks.server_session import connect_as_restorer, translate
from tasks.traffic import TrafficBefore, read_main_release
from tasks.writes import end_all_sessions


class SwitchBefore(BaseModel):
    """Which database is live before the switch, and which after it."""

    live: str
    live_oid: int
    """0 where it was gone."""
    new_oid: int
    kept: str
    """What the live one is called after the switch."""
    new: str
    """What the new one is called before it, and again after a switch back."""
    backup: str
    """Its id, or the point in time of a clone."""
    may_connect: list[str]
    """Who may connect to the live one; empty text: everybody."""
    opens_to: list[str] | None = None
    """Who may connect to the restored one, where the live one was closed already: whoever closed it opens it again."""
    live_instance: str = MAIN
    """The server of the live one."""
    instance: str = MAIN
    """The server of the new one."""
    variable: str = ""
    """Platform variable that is changed; empty: the two exchange their names."""
    content: HeldContent | None = None
    """What the new one held when it was made, where no backup tells."""
    traffic: TrafficBefore | None = None
    """Where a variable is changed: the releases that were started with the one of before."""

    @property
    def restored(self) -> str:
        """What the restored database is called while it is live."""
        return self.new if self.variable else self.live

    @property
    def may_connect_after(self) -> list[str]:
        return self.may_connect if self.opens_to is None else self.opens_to

    @property
    def moves(self) -> bool:
        """Whether the application gets another server."""
        return self.instance != self.live_instance


def switch_before(
    environment: Environment, plan: RestorePlan, created: Database, opens_to: list[str] | None = None
) -> SwitchBefore:
    return SwitchBefore(
        live=plan.live.name,
        live_oid=plan.live.oid,
        new_oid=created.oid,
        kept=plan.kept_name,
        new=plan.new_name,
        backup=plan.backup.id,
        may_connect=sorted(plan.live.may_connect),
        opens_to=opens_to,
        live_instance=plan.live_instance,
        instance=plan.instance,
        variable=plan.variable,
        traffic=read_started_before(environment) if plan.variable else None,
    )


def read_started_before(environment: Environment) -> TrafficBefore:
    """The releases that were started with the variable of before."""
    main = read_main_release(environment.platform)
    return read_traffic_before(environment.platform, main.version if main else "")


class Planned(Protocol):
    """What a plan says of the live database that it was made for."""

    environment: str
    live: Database
    live_instance: str

    @property
    def is_live_there(self) -> bool: ...
    @property
    def moves(self) -> bool: ...


def require_as_planned(environment: Environment, plan: Planned) -> None:
    """Under the lock, before any change. Raises Refused when the live database changed since the plan was made."""
    instance, live = _read_live_as_planned(environment, plan)
    again = "Start this restore again: it makes a new plan. Nothing was changed."
    if (instance, live.oid if live else 0) != (plan.live_instance, plan.live.oid):
        raise Refused(f"In {plan.environment} another database is live than when this restore was planned.", again)
    if live and live.may_connect != plan.live.may_connect:
        raise Refused(f"In {plan.environment} others may connect than when this restore was planned.", again)


def require_same_live(environment: Environment, plan: Planned) -> None:
    """Raises SomebodyElseChangedIt when another database has become live while this one was restored."""
    instance, live = _read_live_as_planned(environment, plan)
    oid = live.oid if live else 0
    if (instance, oid) != (plan.live_instance, plan.live.oid):
        raise SomebodyElseChangedIt(
            f"The live database is {_told(instance, oid)} now. When this restore was planned it was"
            f" {_told(plan.live_instance, plan.live.oid)}.",
            "It was left as it is. Look who restored or renamed it, then start this restore again.",
        )


def _read_live_as_planned(environment: Environment, plan: Planned) -> tuple[str, Database | None]:
    """Its server, and the database; none either where that server has been away since the plan was made."""
    live = read_live(environment)
    try:
        with connect_as_restorer(environment, live.instance) as connection:
            return live.instance, read_database(connection, live.name)
    except NobodyThere:
        if plan.is_live_there or not plan.moves:
            raise
        return live.instance, None


def find_last_switch(environment: Environment) -> SwitchBefore:
    """As the audit trail tells it. Raises Refused where no restore ever switched the databases of this environment."""
    found = read_last_effect(current_run(), "switch databases", "effect done")
    if found is None:
        raise Refused(f"No restore has switched the databases of {environment.environment}.")
    before = SwitchBefore.model_validate(found)
    if not before.live_oid:
        raise Refused(
            f"There was no database {before.live} before the restore of {before.backup}: nothing to go back to.",
            "Restore another backup with restore-and-verify. Nothing was changed.",
        )
    return before.model_copy(update={"may_connect": before.may_connect_after, "opens_to": None})


def is_switched(environment: Environment, before: SwitchBefore) -> bool:
    """Whether the application finds the restored database. Raises SomebodyElseChangedIt when it finds a third one."""
    if before.moves and not before.live_oid and read_live(environment) == (before.live_instance, before.live):
        return False  # what that server holds, should it have come back, this run has not touched
    instance, oid = read_live_oid(environment)
    if (instance, oid) == (before.instance, before.new_oid):
        return True
    if (instance, oid) == (before.live_instance, before.live_oid):
        return False
    raise _unexplained(before, instance, oid)


def read_live_oid(environment: Environment) -> tuple[str, int]:
    """The server of the database that the application finds, and its oid there: 0 when there is none."""
    instance, name = read_live(environment)
    with connect_as_restorer(environment, instance) as connection:
        live = read_database(connection, name)
    return instance, live.oid if live else 0


# Repeating is safe: it looks which database bears the name.
@task(name="Switch databases", cache_policy=NO_CACHE, retries=5, retry_delay_seconds=0.5, retry_condition_fn=is_passing)
def exchange_names(environment: Environment, before: SwitchBefore) -> None:
    """The new database takes the live name, in one transaction. Raises SomebodyElseChangedIt."""
    if is_switched(environment, before):
        return
    with connect_as_restorer(environment) as connection:
        new = require_database(connection, oid=before.new_oid)
        bearer = read_database(connection, before.live)
        with effect("switch databases", **before.model_dump(mode="json")):
            renames = [(new.name, before.live)]
            if bearer:
                end_all_sessions(connection, bearer)
                renames.insert(0, (before.live, before.kept))
            translate(lambda: rename_databases(connection, renames))


# Repeating is safe: it looks which database bears the name.
@task(
    name="Switch databases back",
    cache_policy=NO_CACHE,
    retries=20,
    retry_delay_seconds=1,
    retry_condition_fn=is_passing,
)
def exchange_names_back(environment: Environment, before: SwitchBefore) -> None:
    """Both databases are called again what they were called before the switch."""
    if not is_switched(environment, before):
        return
    with connect_as_restorer(environment) as connection:
        restored = require_database(connection, before.live)
        renames = [(before.live, before.new)]
        if before.live_oid:
            old = read_database(connection, oid=before.live_oid)
            if old is None:
                raise _unexplained(before, before.instance, restored.oid)
            renames.append((old.name, before.live))
        with effect("switch databases back", **before.model_dump(mode="json")):
            end_all_sessions(connection, restored)
            translate(lambda: rename_databases(connection, renames))


# Repeating is safe: the variable is set to what it is to be.
@task(
    name="Point the application to a database",
    cache_policy=NO_CACHE,
    retries=5,
    retry_delay_seconds=1,
    retry_condition_fn=is_passing,
)
def point_application(environment: Environment, before: SwitchBefore, back: bool = False) -> None:
    """Releases that are started from now on find the new database, or again the one of before.

    Raises SomebodyElseChangedIt when the variable names a third one.
    """
    if is_switched(environment, before) != back:
        return
    platform, name = environment.platform, before.live if back else before.new
    server = application_url(environment)
    if before.moves:
        server = logins_of(environment, before.live_instance if back else before.instance).url
    url = with_database(server, name)
    with effect("switch databases back" if back else "switch databases", **before.model_dump(mode="json")):
        platform.set_variables({**platform.read_variables(), before.variable: url})


def _unexplained(before: SwitchBefore, instance: str, oid: int) -> SomebodyElseChangedIt:
    return SomebodyElseChangedIt(
        f"The live database is {_told(instance, oid)} now. Before this run it was"
        f" {_told(before.live_instance, before.live_oid)}; the run made {_told(before.instance, before.new_oid)}."
    )


def _told(instance: str, oid: int) -> str:
    place = "" if instance == MAIN else f" on {instance}"
    return f"{oid or 'gone'}{place}"
