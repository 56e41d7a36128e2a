"""Rows of single tables come out of a backup as they went in, are told apart from the live ones, and lead back."""

from typing import Any

import pytest

from blocks.errors import BackstopError, Refused, RefusedByPlatform, SomebodyElseChangedIt, Unmet
from blocks.postgres.tables import title_of
from tasks.catalogue import Backup
from tasks.ledger import current_run
from tasks.table_restore.compare import Comparison, compare_tables
from tasks.table_restore.load import drop_restored, restore_tables_beside
from tasks.table_restore.model import Mode, TableRestorePlan
from tasks.table_restore.plan import plan_table_restore
from tasks.table_restore.write import Change, change_of, find_last_change, put_rows_back, write_rows_of_backup
from tests.databases.practice import Practice
from tests.databases.roles import make_role

TABLES = """
CREATE TABLE author (id serial PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE book (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, author int NOT NULL REFERENCES author, title text,
    shouted text GENERATED ALWAYS AS (upper(title)) STORED
);
CREATE TABLE "Line Up" ("Select" int, "or" text, price json, PRIMARY KEY ("or", "Select"));
CREATE TABLE visit (page text);
INSERT INTO author (name) VALUES ('Ada'), ('Bob');
INSERT INTO book (author, title) VALUES (1, 'one'), (1, 'two'), (2, 'three');
INSERT INTO "Line Up" VALUES (1, 'a', '{"n":1}'), (2, 'a', '{}'), (1, 'b', NULL);
INSERT INTO visit SELECT 'home' FROM generate_series(1, 3);
"""
MIXED = '"Line Up"'


@pytest.fixture
def practice(empty: Practice) -> Practice:
    """A database of the role `app`, whose tables the role of docs/database-roles.md restores."""
    if not empty.server.execute("SELECT 1 FROM pg_roles WHERE rolname = 'app'"):
        empty.server.execute("CREATE ROLE app LOGIN")
    empty.server.execute(f"ALTER DATABASE {empty.database} OWNER TO app")
    empty.execute("ALTER SCHEMA public OWNER TO app")
    url = make_role(empty.server, empty.database, "restore_url")
    empty.server.execute(f"ALTER ROLE owner IN DATABASE {empty.database} SET role = app")
    empty.execute(TABLES)
    return restored_by(empty, url)


def restored_by(practice: Practice, url: str) -> Practice:
    (practice.folder / "restore_url").write_text(url)
    assert practice.environment.database
    practice.environment.database.restore_url = f"file:{practice.folder}/restore_url"
    return practice


@pytest.fixture
def backup(practice: Practice) -> Backup:
    return practice.back_up()


def plan_for(practice: Practice, backup: Backup, tables: str, mode: Mode = "beside") -> TableRestorePlan:
    return plan_table_restore.fn(practice.environment, tables, backup.id, "", mode)


def compared(practice: Practice, plan: TableRestorePlan) -> list[Comparison]:
    restore_tables_beside.fn(practice.environment, plan)
    return compare_tables.fn(practice.environment, plan)


def write(practice: Practice, backup: Backup, tables: str, mode: Mode, accept_loss: str = "") -> Change:
    with practice.run(""):
        plan = plan_for(practice, backup, tables, mode)
        compared(practice, plan)
        change = change_of(plan)
        try:
            write_rows_of_backup.fn(practice.environment, plan, change, accept_loss)
        finally:
            drop_restored.fn(practice.environment, plan.restored, current_run().id)
        return change


def undo(practice: Practice, change: Change, accept_loss: str = "") -> bool:
    with practice.run(""):
        return put_rows_back.fn(practice.environment, change, accept_loss)


def ask(practice: Practice, statement: str) -> list[Any]:
    return practice.server.execute(statement, practice.database)


def content(practice: Practice, *tables: str) -> dict[str, list[str]]:
    """The rows of each table, in an order of their own."""
    found = {}
    for table in tables or ("author", "book", MIXED, "visit"):
        found[table] = sorted(map(str, ask(practice, f"TABLE {table}")))
    return found


def schemas(practice: Practice) -> list[str]:
    rows = ask(practice, "SELECT nspname FROM pg_namespace WHERE nspname ~ '^(restored|before|after)_' ORDER BY 1")
    return [str(name) for (name,) in rows]


def test_every_kind_of_table_is_restored_beside_and_found_equal(everything: Practice) -> None:
    restored_by(everything, everything.server.url(everything.database))
    backup = everything.back_up()
    tables = ",".join(title_of(one.schema_name, one.name) for one in backup.manifest.tables)
    with everything.run(""):
        plan = plan_for(everything, backup, tables)
        try:
            comparisons = compared(everything, plan)
            assert len(schemas(everything)) == 1
        finally:
            drop_restored.fn(everything.environment, plan.restored, current_run().id)
    assert len(comparisons) == len(backup.manifest.tables) > 15
    assert [str(one) for one in comparisons if any(one.counts.values()) or one.retyped] == []
    assert all(one.is_unchanged for one in plan.tables)
    assert schemas(everything) == []


def test_differences_are_counted_and_named_by_their_keys(practice: Practice, backup: Backup) -> None:
    practice.execute("DELETE FROM book WHERE id = 2; UPDATE book SET title = 'changed' WHERE id = 3")
    practice.execute("INSERT INTO book (author, title) VALUES (1, 'secret title'); DELETE FROM \"Line Up\"")
    practice.execute("DELETE FROM visit; INSERT INTO visit VALUES ('home'), ('new')")
    with practice.run(""):
        plan = plan_for(practice, backup, f"book,{MIXED},visit")
        mixed, book, visit = compared(practice, plan)
    assert book.counts == {"only in the backup": 1, "only live": 1, "differing": 1}
    assert book.keys == {"only in the backup": ["2"], "only live": ["4"], "differing": ["3"]}
    assert mixed.keys == {"only in the backup": ["a, 1", "a, 2", "b, 1"]}
    assert visit.counts == {"only in the backup": 2, "only live": 1}
    assert "secret title" not in str([mixed, book, visit])


def test_a_merge_brings_back_what_is_missing_and_overwrites_nothing(practice: Practice, backup: Backup) -> None:
    practice.execute("DELETE FROM book WHERE id < 3; UPDATE book SET title = 'newer'")
    practice.execute("INSERT INTO book (author, title) VALUES (2, 'since')")
    before = content(practice)

    change = write(practice, backup, "public.book", "merge")

    assert ask(practice, "SELECT id, title, shouted FROM book ORDER BY id") == [
        (1, "one", "ONE"),
        (2, "two", "TWO"),
        (3, "newer", "NEWER"),
        (4, "since", "SINCE"),
    ]
    assert schemas(practice) == [change.after, change.before]
    assert undo(practice, change)
    assert content(practice) == before
    assert schemas(practice) == []
    assert not undo(practice, change)


def test_a_replacement_leaves_the_rows_of_the_backup_and_its_undo_those_of_before(
    practice: Practice, backup: Backup
) -> None:
    then = content(practice)
    practice.execute("DELETE FROM book WHERE id = 1; UPDATE author SET name = 'Eve' WHERE id = 1")
    practice.execute("INSERT INTO author (name) VALUES ('Cem'); INSERT INTO book (author, title) VALUES (3, 'his')")
    practice.execute("UPDATE \"Line Up\" SET price = '[]'; DELETE FROM visit; INSERT INTO visit VALUES ('new')")
    before = content(practice)
    tables = f"visit,author,{MIXED},book"

    change = write(practice, backup, tables, "replace", tables)

    assert content(practice) == then
    assert undo(practice, change)
    assert content(practice) == before


def test_a_loss_that_nobody_accepted_is_not_written(practice: Practice, backup: Backup) -> None:
    practice.execute("UPDATE author SET name = 'Eve' WHERE id = 1")
    before = content(practice)
    with pytest.raises(Refused, match=r"accept_loss=public\.author"):
        write(practice, backup, "author", "replace", "public.book")
    assert content(practice) == before
    assert schemas(practice) == []


def test_a_foreign_key_that_would_not_hold_aborts_all(practice: Practice, backup: Backup) -> None:
    practice.execute("INSERT INTO author (name) VALUES ('Cem'); INSERT INTO book (author, title) VALUES (3, 'his')")
    practice.execute("DELETE FROM visit")
    before = content(practice)
    with pytest.raises(RefusedByPlatform, match="book_author_fkey"):
        write(practice, backup, "author,visit", "replace", "author,visit")
    assert content(practice) == before
    assert schemas(practice) == []


def test_rows_of_other_tables_do_not_go_with_those_that_vanish(practice: Practice) -> None:
    practice.execute("CREATE TABLE note (author int REFERENCES author ON DELETE CASCADE, word text)")
    backup = practice.back_up()
    practice.execute("INSERT INTO author (name) VALUES ('Cem'); INSERT INTO note VALUES (3, 'dear')")
    with pytest.raises(RefusedByPlatform, match=r"1 rows of public.note refer to rows of public.author"):
        write(practice, backup, "author", "replace", "author")
    assert ask(practice, "SELECT word FROM note") == [("dear",)]

    write(practice, backup, "author,note", "replace", "author,note")
    assert ask(practice, "SELECT count(*) FROM author, (SELECT count(*) FROM note) n") == [(2,)]


def test_triggers_do_not_run_and_are_as_before_afterwards(practice: Practice) -> None:
    practice.execute(
        "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.title := 'stamped'; RETURN NEW; END $$;"
        " CREATE TRIGGER stamps BEFORE INSERT ON book FOR EACH ROW EXECUTE FUNCTION stamp();"
        " CREATE TRIGGER off BEFORE INSERT ON book FOR EACH ROW EXECUTE FUNCTION stamp();"
        " CREATE TRIGGER always BEFORE INSERT ON book FOR EACH ROW EXECUTE FUNCTION stamp();"
        " ALTER TABLE book DISABLE TRIGGER off; ALTER TABLE book ENABLE ALWAYS TRIGGER always"
    )
    backup = practice.back_up()
    states = "SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1"
    before = ask(practice, states)
    practice.execute("DELETE FROM book WHERE id = 2")

    write(practice, backup, "book", "merge")

    assert ask(practice, "SELECT title FROM book WHERE id = 2") == [("two",)]
    assert ask(practice, states) == before


def test_no_number_is_given_twice_after_a_merge(practice: Practice, backup: Backup) -> None:
    practice.execute("TRUNCATE book, author RESTART IDENTITY")
    write(practice, backup, "book,author", "merge")
    practice.execute("INSERT INTO author (name) VALUES ('Cem'); INSERT INTO book (author) VALUES (1)")
    assert ask(practice, "SELECT max(id), (SELECT max(id) FROM book) FROM author") == [(3, 4)]


def test_a_column_added_since_keeps_its_values_and_gets_its_default(practice: Practice, backup: Backup) -> None:
    practice.execute("ALTER TABLE author ADD email text DEFAULT 'none'; UPDATE author SET email = id || '@b.c'")
    practice.execute("DELETE FROM book; DELETE FROM author WHERE id = 1; UPDATE author SET name = 'Eve'")
    before = content(practice)
    change = write(practice, backup, "author", "replace", "author")
    assert ask(practice, "SELECT * FROM author ORDER BY 1") == [(1, "Ada", "none"), (2, "Bob", "2@b.c")]
    undo(practice, change)
    assert content(practice) == before


@pytest.mark.parametrize(
    ("since", "tables", "mode", "words"),
    [
        ("ALTER TABLE author DROP name", "author", "merge", "no column name any more"),
        ("ALTER TABLE author DROP name", "author", "replace", "no column name any more"),
        ("DROP TABLE visit", "visit", "merge", "not in the live database"),
        ("SELECT", "visit", "merge", "no primary key"),
        ("ALTER TABLE visit ADD at date", "visit", "replace", "values of at would be lost"),
    ],
)
def test_what_cannot_come_back_into_the_live_table_is_told_and_restored_beside(
    practice: Practice, backup: Backup, since: str, tables: str, mode: Mode, words: str
) -> None:
    practice.execute(since)
    with practice.run(""):
        refused = plan_for(practice, backup, tables, mode)
        assert words in " ".join(line.detail for line in refused.prerequisites if not line.met)
        plan = plan_for(practice, backup, tables)
        assert [line for line in plan.prerequisites if not line.met] == []
        compared(practice, plan)
    assert len(ask(practice, f"TABLE {plan.restored}.{tables}")) == plan.tables[0].content.rows


def test_a_column_of_another_type_is_restored_as_it_was_and_not_written(practice: Practice, backup: Backup) -> None:
    practice.execute("ALTER TABLE author ALTER name TYPE varchar(3)")
    with practice.run(""):
        (comparison,) = compared(practice, plan_for(practice, backup, "author"))
        assert comparison.retyped == ["name is character varying(3), text in the backup"]
        assert not any(comparison.counts.values())
    with pytest.raises(Unmet, match="name is character varying"):
        write(practice, backup, "author", "replace", "author")


def test_an_undo_refuses_to_lose_what_was_written_since(practice: Practice, backup: Backup) -> None:
    practice.execute("DELETE FROM book")
    change = write(practice, backup, "book", "merge")
    practice.execute("UPDATE book SET title = 'worked on' WHERE id = 1; INSERT INTO book (author) VALUES (1)")
    with pytest.raises(Refused, match=r"public\.book: 1 rows"):
        undo(practice, change)
    with practice.run(""):
        assert find_last_change(practice.environment) == change
    assert undo(practice, change, "book")
    assert ask(practice, "SELECT id FROM book") == [(4,)]


def test_an_undo_leaves_a_table_alone_that_is_another_one_now(practice: Practice, backup: Backup) -> None:
    practice.execute("DELETE FROM visit")
    change = write(practice, backup, "visit", "replace")
    practice.execute("DROP TABLE visit; CREATE TABLE visit (page text)")
    with pytest.raises(SomebodyElseChangedIt):
        undo(practice, change)


def test_a_busy_table_is_given_up_and_nobody_queues_meanwhile(
    practice: Practice, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.table_restore.write.BUSY_SECONDS", 0.5)
    practice.execute("DELETE FROM book")
    with practice.server.connect(practice.database) as writer, writer.transaction():
        writer.execute("INSERT INTO author (name) VALUES ('Cem')")
        with pytest.raises(RefusedByPlatform, match=r"public\.author"):
            write(practice, backup, "author,book", "merge")
        with practice.server.connect(practice.database) as other:
            other.execute("SET lock_timeout = '100ms'; INSERT INTO book (author) VALUES (1)")
    assert schemas(practice) == []


def test_rows_that_were_damaged_in_the_store_reach_no_live_table(practice: Practice, backup: Backup) -> None:
    path = practice.path(backup, backup.manifest.small_files.name)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    before = content(practice)
    with pytest.raises(BackstopError, match=r"files\.tar"):
        write(practice, backup, "book", "merge")
    assert content(practice) == before


@pytest.fixture
def large(practice: Practice) -> Practice:
    practice.execute(
        "CREATE TABLE large (id int PRIMARY KEY, text text);"
        " INSERT INTO large SELECT n, repeat(md5(n::text), 100) FROM generate_series(1, 10000) n"
    )
    return practice


def test_a_table_that_is_an_object_of_its_own_in_the_store_comes_back(large: Practice) -> None:
    backup = large.back_up()
    assert backup.manifest.members
    large.execute("DELETE FROM large WHERE id % 2 = 0")
    write(large, backup, "large", "merge")
    assert ask(large, "SELECT count(*), count(DISTINCT text) FROM large") == [(10000, 10000)]


def test_a_value_that_the_server_refuses_is_not_quoted(practice: Practice, backup: Backup) -> None:
    practice.execute("ALTER TABLE author ADD CHECK (name <> 'Bob') NOT VALID; DELETE FROM book; DELETE FROM author")
    with pytest.raises(RefusedByPlatform) as refused:
        write(practice, backup, "author", "merge")
    assert "author_name_check" in str(refused.value)
    assert "Bob" not in str(refused.value)
