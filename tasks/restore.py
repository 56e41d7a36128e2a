"""Restore into a new database beside the live one, and verify it there."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.environment import Environment
from blocks.errors import BackupIsBad, SomebodyElseChangedIt
from blocks.manifest import Manifest
from blocks.postgres.connection import connect
from blocks.postgres.databases import Database, carry_over, create_database_like, drop_database, read_database
from blocks.postgres.programs import find_programs_for
from tasks.archive import Target, archive_of, restore_into
from tasks.effect import effect
from tasks.ledger import current_run
from tasks.live_database import read_live, restore_url
from tasks.restore_plan import RestorePlan
from tasks.retry import is_passing
from tasks.server_session import connect_as_restorer, translate
from tasks.transfer_progress import TransferProgress
from tasks.verification import check_assertions, compare_content


# Repeating is safe: a database of this run's own name is found again.
@task(name="Create database", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=1, retry_condition_fn=is_passing)
def create_new_database(environment: Environment, plan: RestorePlan) -> Database:
    with connect_as_restorer(environment, plan.instance) as connection:
        found = read_database(connection, plan.new_name)
        if found:
            return found
        with effect("create database", database=plan.new_name):
            return translate(lambda: create_database_like(connection, plan.live, plan.new_name))


# Never repeated by itself: what a first attempt left in the database is in the way of a second.
@task(name="Restore into new database", cache_policy=NO_CACHE)
def restore_into_new(environment: Environment, plan: RestorePlan) -> None:
    manifest, progress = plan.backup, TransferProgress(f"Restoring {plan.backup.id}", plan.backup.content_bytes)
    roles = set(manifest.roles) | {manifest.owner}
    options = ["--no-subscriptions", *([f"--role={manifest.owner}"] if len(roles) == 1 else [])]
    with effect("restore", database=plan.new_name, backup=manifest.id):
        restore_into(_target(environment, plan), archive_of(environment, manifest), options, progress.show)
    progress.finish()


# Repeating is safe: it only reads.
@task(name="Verify restored database", cache_policy=NO_CACHE)
def verify_restored(environment: Environment, plan: RestorePlan) -> None:
    """Raises BackupIsBad when a row differs from the backup's, or an assertion does not hold."""
    target = _target(environment, plan)
    findings = [*compare_content(plan.backup, target), *check_assertions(environment.backups.assertions, target)]
    if findings:
        raise BackupIsBad(f"What was restored from {plan.backup.id} is not what was backed up: {' '.join(findings)}")


# Repeating is safe: every setting is set to what the live database has.
@task(
    name="Carry over settings", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=1, retry_condition_fn=is_passing
)
def carry_over_settings(environment: Environment, plan: RestorePlan) -> list[str]:
    """What no dump carries, and the planner's statistics; returns what could not be carried over."""
    with effect("carry over settings", database=plan.new_name):
        with connect_as_restorer(environment, plan.instance) as connection:
            left = translate(lambda: carry_over(connection, plan.live, plan.new_name))
        with connect(restore_url(environment, plan.instance), current_run().id, plan.new_name) as connection:
            translate(lambda: connection.execute("ANALYZE"))
    if not plan.is_live_there:
        left += [f"The setting {name} is in no backup: set it again." for name in plan.backup.custom_settings]
    return left


# Repeating is safe: what is gone stays gone.
@task(name="Drop database", cache_policy=NO_CACHE, retries=5, retry_delay_seconds=1, retry_condition_fn=is_passing)
def drop_new_database(environment: Environment, name: str, instance: str) -> None:
    """Only a database of this very name, which no application has ever had. Raises SomebodyElseChangedIt for one."""
    if (instance, name) == read_live(environment):
        raise SomebodyElseChangedIt(f"{name} is the live database: it was left.")
    with connect_as_restorer(environment, instance) as connection:
        database = read_database(connection, name)
        if database is None:
            return
        with effect("drop database", database=name):
            translate(lambda: drop_database(connection, database))


def _target(environment: Environment, plan: RestorePlan) -> Target:
    manifest: Manifest = plan.backup
    least = max(plan.server_major, int(manifest.dump_version.partition(".")[0]))
    return Target(restore_url(environment, plan.instance), plan.new_name, find_programs_for(least))
