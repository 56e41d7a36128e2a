"""Roles that the data of a backup needs and a server lacks: made there as the backup describes them."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.environment import Environment
from blocks.errors import BackupIsBad
from blocks.manifest import Manifest
from blocks.postgres.connection import read_conninfo
from blocks.postgres.described_roles import Role, create_roles, drop_roles, read_globals
from blocks.sealing import Unsealing
from tasks.archive import archive_of
from tasks.effect import effect
from tasks.ledger import current_run
from tasks.live_database import logins_of
from tasks.pieces import read_pieces
from tasks.retry import is_passing
from tasks.server_session import connect_as_restorer, translate


def read_described(environment: Environment, manifest: Manifest) -> dict[str, Role]:
    """The roles of the server that was dumped; none where the backup has no globals. Raises BackupIsBad."""
    if manifest.globals is None:
        return {}
    archive = archive_of(environment, manifest)
    chunks = read_pieces(archive.store, archive.folder, [manifest.globals])
    with Unsealing(chunks, manifest.globals.name, archive.identity) as opened:
        script = opened.file.read()
    try:
        return read_globals(script.decode())
    except UnicodeDecodeError:
        raise BackupIsBad(f"{manifest.globals.name} is no script of roles: it is not UTF-8.") from None


# Never repeated by itself: roles that a first attempt made are in the way of a second.
@task(name="Make roles", cache_policy=NO_CACHE)
def make_roles(environment: Environment, instance: str, manifest: Manifest, names: list[str]) -> list[str]:
    """With the passwords that the environment has for that server; returns what could not be brought over."""
    described = read_described(environment, manifest)
    with connect_as_restorer(environment, instance) as connection, effect("make roles", roles=names, instance=instance):
        wanted, passwords = [described[name] for name in names], _passwords(environment, instance)
        return translate(lambda: create_roles(connection, wanted, passwords, _mark(current_run().id)))


# Repeating is safe: what is gone stays gone.
@task(name="Drop roles", cache_policy=NO_CACHE, retries=5, retry_delay_seconds=1, retry_condition_fn=is_passing)
def drop_made_roles(environment: Environment, instance: str, names: list[str], made_by: str) -> None:
    """Only those that this run made, which their comment says."""
    with connect_as_restorer(environment, instance) as connection, effect("drop roles", roles=names, instance=instance):
        translate(lambda: drop_roles(connection, names, _mark(made_by)))


def _mark(run_id: str) -> str:
    return f"Made by Backstop's run {run_id}"


def _passwords(environment: Environment, instance: str) -> dict[str, str]:
    logins = logins_of(environment, instance)
    found = [read_conninfo(url) for url in (logins.url, logins.backup_url)]
    return {login["user"]: login["password"] for login in found if login.keys() >= {"user", "password"}}
