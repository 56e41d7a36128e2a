"""What was backed up comes back as it was, on real servers, read by a role that may do nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from blocks.errors import Refused
from blocks.postgres.connection import connect
from blocks.postgres.dump import LARGE_BYTES
from tasks.archive import Target, archive_of, restore_into
from tasks.catalogue import Backup, find_newest
from tasks.verification import check_assertions, compare_content, proof_target
from tests.benchmarks.backups import FILL, measure
from tests.databases.comparison import read_as_text
from tests.databases.practice import Practice

NEXT_VALUES = """
SELECT nextval('customer_id_seq'), nextval('hen_id_seq'), nextval('never_asked'), nextval('descending')
"""


A_LARGE_TABLE = FILL[:2]
SIZE_AND_CONTENT = "SELECT pg_table_size('visit'), sum(hashtextextended(visit::text, 0)) FROM visit"
MOST_MEGABYTES, MOST_SCRATCH = 300, 100


@contextmanager
def restored(practice: Practice, backup: Backup) -> Iterator[Target]:
    """In the throw-away server that a proof takes."""
    environment, manifest = practice.environment, backup.manifest
    with practice.run("proofs"), proof_target(environment, manifest) as (target, options):
        restore_into(target, archive_of(environment, manifest), options)
        yield target


MUTATIONS = {
    "UPDATE customer SET done = 9 WHERE id = 7": "public.customer has the 502 rows that it had, but not their content.",
    "UPDATE large SET content = content || ' ' WHERE id = 7": "public.large has the 100 rows that it had, but not their"
    " content.",
    "DELETE FROM no_key WHERE ctid = '(0,1)'": "public.no_key has 29 rows; it had 30.",
    "INSERT INTO empty VALUES (1)": "public.empty has 1 rows; it had 0.",
    "DROP TABLE forgetful": "public.forgetful was not restored.",
    "CREATE TABLE foreign_body ()": "public.foreign_body was restored, and the backup's snapshot had no such table.",
    "SELECT setval('hen_id_seq', 1, false)": "Sequence public.hen_id_seq stands behind where it stood.",
    "SELECT lo_put(max(oid), 5, 'x') FROM pg_largeobject_metadata": "The large objects differ.",
}
"""A change of what was restored → what is found."""

ON_ONE_VERSION = pytest.mark.parametrize("postgres", [18], indirect=True, ids=["PostgreSQL 18"])


def test_one_of_everything_comes_back_as_it_was(everything: Practice) -> None:
    before = read_as_text(everything.server.url(), everything.database, everything.major)
    backup = everything.back_up("why")

    assert everything.verify(backup) == []
    assert everything.verify(backup, full=False) == []
    with restored(everything, backup) as target:
        assert read_as_text(target.url, target.database, everything.major) == before
        with connect(target.url, "next values", target.database) as connection:
            assert connection.execute(NEXT_VALUES).fetchone() == (503, 21, 7, 94)
    assert read_as_text(everything.server.url(), everything.database, everything.major) == before


@pytest.mark.drill
@ON_ONE_VERSION
def test_a_table_of_half_a_gigabyte_takes_no_more_memory_and_disk_than_a_small_one(empty: Practice) -> None:
    for statement in A_LARGE_TABLE:
        empty.execute(statement)
    ((size, content),) = empty.server.execute(SIZE_AND_CONTENT, empty.database)
    assert size > 500e6

    made = measure(empty.back_up)
    backup = find_newest(empty.environment)
    findings: list[str] = []
    proven = measure(lambda: findings.extend(empty.verify(backup)))

    assert findings == []
    for cost in (made, proven):
        assert cost.megabytes < MOST_MEGABYTES
        assert cost.scratch < MOST_SCRATCH
    with restored(empty, backup) as target, connect(target.url, "content", target.database) as connection:
        assert connection.execute(SIZE_AND_CONTENT.encode()).fetchone()[1] == content


def test_the_manifest_says_what_the_database_held(everything: Practice) -> None:
    manifest = everything.back_up("why").manifest

    rows = {(table.schema_name, table.name): table.rows for table in manifest.tables}
    assert rows[("public", "customer")] == 502
    assert rows[("Mixed Case", 'Or"der\n of; -- things')] == 2
    assert rows[("Mixed Case", "customer")] == 1
    assert (rows[("public", "empty")], rows[("public", "no_columns")], rows[("public", "forgetful")]) == (0, 2, 1)
    assert (
        rows[("public", "visit_2025")] + rows[("public", "visit_2026_home")] + rows[("public", "visit_2026_other")]
        == 401
    )
    assert (rows[("public", "parent")], rows[("public", "child")], rows[("public", "private")]) == (1, 1, 2)
    assert len([member for member in manifest.members if member.size > LARGE_BYTES]) == 2
    assert (manifest.large_objects, manifest.label, manifest.kind) == (12, "why", "full")
    assert "everything_reader" in manifest.roles
    assert manifest.globals
    assert all(piece.name.endswith(".zst.age") for piece in manifest.pieces)


def test_every_change_in_what_was_restored_is_found_and_named(everything: Practice) -> None:
    with restored(everything, everything.unchanged) as target:
        with connect(target.url, "mutation", target.database) as connection:
            for statement in MUTATIONS:
                connection.execute(statement.encode())
        assert sorted(compare_content(everything.unchanged.manifest, target)) == sorted(MUTATIONS.values())


def test_a_sequence_that_went_on_while_the_dump_was_read_is_no_finding(everything: Practice) -> None:
    with restored(everything, everything.unchanged) as target:
        with connect(target.url, "sequence", target.database) as connection:
            connection.execute("SELECT nextval('hen_id_seq')")
        assert list(compare_content(everything.unchanged.manifest, target)) == []


def test_an_empty_database_is_backed_up_and_proven(empty: Practice) -> None:
    backup = empty.back_up()
    assert (backup.manifest.tables, backup.manifest.members, backup.manifest.rows) == ([], [], 0)
    assert empty.verify(backup) == []


@ON_ONE_VERSION
def test_a_schema_only_backup_is_never_the_newest_and_never_proven(empty: Practice) -> None:
    empty.execute("CREATE TABLE word (text text); INSERT INTO word VALUES ('x')")
    backup = empty.back_up(schema_only=True)
    assert (backup.manifest.kind, backup.manifest.tables) == ("schema-only", [])
    assert empty.verify(backup, full=False) == []
    with pytest.raises(Refused, match="schema-only"):
        empty.verify(backup)
    with pytest.raises(Refused, match="has no backup"):
        find_newest(empty.environment)


@ON_ONE_VERSION
def test_without_recipients_it_is_compressed_only(empty: Practice) -> None:
    empty.execute("CREATE TABLE word (text text); INSERT INTO word VALUES ('readable')")
    empty.environment = empty.describe(recipients=[], identity=None)
    backup = empty.back_up()
    assert {piece.name for piece in backup.manifest.pieces} == {"files.tar.zst", "globals.sql.zst"}
    assert empty.verify(backup) == []


@ON_ONE_VERSION
def test_assertions_are_asked_of_what_was_restored(empty: Practice) -> None:
    empty.execute("CREATE TABLE word (text text); INSERT INTO word VALUES ('x')")
    asked = {"two words": "SELECT count(*) = 2 FROM word", "no such": "SELECT true FROM nowhere"}
    asked |= {"one word": "SELECT count(*) = 1 FROM word", "changes": "DELETE FROM word RETURNING true"}
    empty.environment = empty.describe(assertions=[{"name": name, "sql": sql} for name, sql in asked.items()])
    with restored(empty, empty.back_up()) as target:
        found = list(check_assertions(empty.environment.backups.assertions, target))
    assert found == [
        "'two words' does not hold: the query says False.",
        "'no such' could not be asked: relation \"nowhere\" does not exist.",
        "'changes' could not be asked: cannot execute DELETE in a read-only transaction.",
    ]
