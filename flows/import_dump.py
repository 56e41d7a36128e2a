"""Make a backup of ours out of a dump that others made: whatever its name, it is recognised by its content.

look at it → restore into a throw-away server → back that up to the store, as any other → proof and restore as usual
"""

from typing import Annotated

from pydantic import Field

from blocks.environment import Environment
from flows.guards.lock import locked
from flows.guards.parameters import RequestedBy
from flows.guards.procedure import procedure
from tasks.backup import plan_backup, write_backup
from tasks.dump_import import imported, read_importable
from tasks.ledger import phase

File = Annotated[str, Field(max_length=1000, description="Path of the dump inside the environment's import folder.")]


@procedure("import-dump", run_name="import {file!s:.60} into {environment!s:.60}")
def import_dump(
    environment: Environment,
    file: File,
    requested_by: RequestedBy = "",
) -> str:
    """Turn a dump (plain, gzip, custom, tar, directory …) into a backup that can be proven and restored."""
    with phase("look"):
        found = read_importable(environment, file)
        plan = plan_backup(environment, f"imported from {file}"[:100], schema_only=False)
    with locked(environment, aspect="backups"), phase("restore beside"), imported(found) as url:
        backup = write_backup(environment, plan, url)
    return f"{file} ({found.dump}) became backup {backup.id}: {len(backup.tables)} tables, {backup.rows} rows."
