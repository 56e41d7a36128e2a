"""A clone of the live server at a point in time, beside it: made, let into, and looked at."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel

from blocks.environment import Environment
from blocks.errors import BackstopError, BackupIsBad, Unreachable
from blocks.manifest import HeldContent
from blocks.postgres.connection import NobodyThere, connect, read_conninfo
from blocks.postgres.databases import read_database
from blocks.postgres.programs import find_programs_for
from tasks.archive import Target
from tasks.clone_plan import ClonePlan
from tasks.effect import effect
from tasks.ledger import current_run
from tasks.live_database import cloud_sql_of, logins_of, restore_url
from tasks.notice import announce
from tasks.restore_plan import read_held
from tasks.restore_switch import SwitchBefore, read_started_before
from tasks.retry import is_passing
from tasks.run_page import ProgressBar
from tasks.server_session import connect_as_restorer
from tasks.verification import check_assertions

_HINT = "Look at the clone, or take another point in time."


class Clone(BaseModel):
    """The live database as it is there."""

    oid: int
    may_connect: list[str]
    content: HeldContent


# Repeating is safe: a clone of this run's own name is found again, and waited for.
@task(name="Clone instance", cache_policy=NO_CACHE, retries=3, retry_delay_seconds=2, retry_condition_fn=is_passing)
def clone_instance(environment: Environment, plan: ClonePlan) -> None:
    """Waits until it runs. Raises Unreachable or RefusedByPlatform."""
    cloud_sql, what = cloud_sql_of(environment), f"Cloning {plan.source} as {plan.clone}"
    bar = ProgressBar("clone", what)

    def show(seconds: float) -> None:
        bar.show(min(99.0, 100 * seconds / cloud_sql.operation_seconds), f"{what}: for {seconds:.0f} s so far")

    with effect("clone instance", source=plan.source, clone=plan.clone, at=plan.point_in_time.isoformat()):
        cloud_sql.clone(plan.source, plan.clone, plan.point_in_time, show)
    bar.finish(f"{plan.clone} runs")


# Repeating is safe: a login that is let in is left as it is.
@task(name="Bring passwords", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=2, retry_condition_fn=is_passing)
def bring_passwords(environment: Environment, plan: ClonePlan) -> None:
    """A clone has the passwords of its time: those logins that the environment has get the present ones."""
    logins = logins_of(environment, plan.clone)
    for url in dict.fromkeys([logins.restore_url, logins.url, logins.backup_url]):
        login = read_conninfo(url)
        if login.keys() >= {"user", "password"} and _is_turned_away(url, plan.live.name):
            with effect("set password", role=login["user"], clone=plan.clone):
                cloud_sql_of(environment).set_password(plan.clone, login["user"], login["password"])


# Repeating is safe: it only reads.
@task(name="Verify clone", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=2, retry_condition_fn=is_passing)
def verify_clone(environment: Environment, plan: ClonePlan) -> Clone:
    """It answers, all of it can be read, the assertions hold. Raises BackupIsBad."""
    name = plan.live.name
    with connect_as_restorer(environment, plan.clone) as connection:
        found = read_database(connection, name)
        roles = {str(role) for (role,) in connection.execute("SELECT rolname::text FROM pg_roles")}
        major = connection.info.server_version // 10_000
    if found is None:
        raise BackupIsBad(f"At {plan.moment} there was no database {name}.", _HINT)
    wanted = sorted(plan.live.may_connect if plan.is_live_there else found.may_connect)
    if missing := set(wanted) - roles - {""}:
        raise BackupIsBad(f"At {plan.moment} there was no role {', '.join(sorted(missing))}.", _HINT)
    held = read_held(environment, name, plan.clone).model_copy(update={"taken_at": plan.point_in_time})
    target = Target(restore_url(environment, plan.clone), name, find_programs_for(major))
    if findings := list(check_assertions(environment.backups.assertions, target)):
        raise BackupIsBad(f"The clone as of {plan.moment} is not sound: {' '.join(findings)}", _HINT)
    return Clone(oid=found.oid, may_connect=wanted, content=held)


def switch_before_clone(environment: Environment, plan: ClonePlan, clone: Clone) -> SwitchBefore:
    return SwitchBefore(
        live=plan.live.name,
        live_oid=plan.live.oid,
        new_oid=clone.oid,
        kept=plan.live.name,
        new=plan.live.name,
        backup=plan.point_in_time.isoformat(),
        may_connect=clone.may_connect,
        live_instance=plan.live_instance,
        instance=plan.clone,
        variable=plan.variable,
        content=clone.content,
        traffic=read_started_before(environment),
    )


# Repeating is safe: it looks, and tells once more.
@task(name="Tell of a clone that stays", cache_policy=NO_CACHE)
def tell_of_clone(environment: Environment, name: str) -> str:
    """What became of it. A Google that does not answer is no reason to leave an undo undone."""
    try:
        found = cloud_sql_of(environment).find_instance(name)
    except BackstopError as error:
        told = f"Whether there is a clone {name} at Cloud SQL nobody could see. {error.message}"
    else:
        told = f"{clone_stays(name)} It is {found.state} now." if found else f"There is no clone {name}."
        if found is None:
            return told
    announce(environment, f"A clone of {environment.environment}'s database may stay", told)
    return told


def clone_stays(name: str) -> str:
    return f"The clone {name} stays, and costs money until somebody deletes it: gcloud sql instances delete {name}."


def _is_turned_away(url: str, database: str) -> bool:
    """By a server that is there."""
    try:
        connect(url, current_run().id, database).close()
    except NobodyThere:
        raise
    except Unreachable as error:
        current_run().record("login turned away", role=read_conninfo(url).get("user", ""), reason=error.message)
        return True
    return False
