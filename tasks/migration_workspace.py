"""The release's own files, checked out where its migration tool can run."""

from collections.abc import Iterator
from contextlib import contextmanager

from blocks.environment import Environment
from blocks.errors import Refused
from blocks.migrations.interface import MigrationTool, Workspace
from blocks.postgres.connection import as_role, with_database
from blocks.postgres.scratch import scratch_folder
from tasks.ledger import current_run
from tasks.live_database import restore_url
from tasks.server_session import read_live_database


def tool_of(environment: Environment) -> MigrationTool:
    """Raises Refused where the environment names none."""
    if environment.migrations is None:
        raise Refused(
            f"{environment.environment} names no migration tool.",
            "Add the part `migrations` to its file and apply it. Nothing was changed.",
        )
    return environment.migrations


def migration_url(environment: Environment) -> str:
    """Of the live database, for the role that restores, acting as its owner: nobody else needs to be let in."""
    live = read_live_database(environment)
    return as_role(with_database(restore_url(environment), live.name), live.owner)


@contextmanager
def checked_out(environment: Environment, commit: str) -> Iterator[Workspace]:
    """With the live database; for another one, `_replace(url=…)`. Raises Refused when it cannot be made ready."""
    with scratch_folder("checkout") as folder:
        environment.source.export(commit, folder)
        workspace = Workspace(folder, migration_url(environment), current_run().id)
        tool_of(environment).prepare(workspace)
        yield workspace
