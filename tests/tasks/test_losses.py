"""What a restore would lose is found and named, whatever it is that was written since."""

import pytest

from tasks.restore_plan import LARGE_OBJECTS, read_losses
from tests.databases.practice import Practice

pytestmark = pytest.mark.parametrize("postgres", [16], indirect=True, ids=["PostgreSQL 16"])


def losses(practice: Practice) -> list[tuple[str, int, int]]:
    manifest = practice.unchanged.manifest
    with practice.run("proofs"):
        found = read_losses(practice.environment, manifest, practice.database)
    assert found is not None
    return [(loss.table, loss.rows_now, loss.rows_then) for loss in found]


def test_rows_tables_and_large_objects(empty: Practice) -> None:
    empty.execute("CREATE TABLE kept AS SELECT 1 AS id; SELECT lo_from_bytea(0, 'before')")
    assert losses(empty) == []
    empty.execute("UPDATE kept SET id = 2; CREATE TABLE added AS SELECT 7 AS id; SELECT lo_from_bytea(0, 'since')")
    assert losses(empty) == [("public.added", 1, 0), ("public.kept", 1, 1), (LARGE_OBJECTS, 2, 1)]
