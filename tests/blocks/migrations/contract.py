"""What every migration tool must do: one test body, inherited by the test of each tool.

A tool's test makes a subclass with a fixture `project`: an empty one, for an empty database.
"""

import os
import threading
from collections.abc import Iterator
from urllib.parse import quote

import psutil
import pytest

from blocks.errors import Refused, Unreachable
from blocks.migrations.interface import Limits, MigrationFailed
from blocks.postgres.schema import read_invalid, schema_difference
from tests.blocks.migrations.project import BROKEN, COLUMN, INDEX, PASSWORD, TABLE, Project, Step, command_lines
from tests.blocks.platforms.waiting import eventually


class MigrationContract:
    @pytest.fixture
    def project(self) -> Iterator[Project]:
        raise NotImplementedError

    # Looking

    def test_an_empty_database_has_everything_pending(self, project: Project) -> None:
        ids = project.add(TABLE, COLUMN)
        status = project.tool.read_status(project.workspace)
        assert ([one.id for one in status.pending], status.applied, status.failed) == (ids, [], None)
        assert status.revision == ""
        assert [one.reversible for one in status.pending] == [project.goes_down] * 2
        assert all(one.title for one in status.pending)

    def test_looking_changes_nothing(self, project: Project) -> None:
        ids = project.add(TABLE)
        before = project.schema()
        project.tool.read_status(project.workspace)
        project.tool.read_sql(project.workspace, ids)
        assert project.schema() == before
        assert project.pending() == ids

    def test_the_sql_of_what_is_pending_is_shown(self, project: Project) -> None:
        first, second = project.add(TABLE, COLUMN)
        shown = project.tool.read_sql(project.workspace, [first, second])
        if not project.shows_sql:
            assert shown is None
            return
        assert shown
        assert "CREATE TABLE users" in shown[first]
        assert "ADD COLUMN email" in shown[second]
        assert "CREATE TABLE users" not in shown[second]

    def test_a_database_that_does_not_answer(self, project: Project) -> None:
        project.add(TABLE)
        away = project.workspace._replace(url=f"postgresql://u:{quote(PASSWORD, safe='')}@127.0.0.1:1/nothing")
        for call in (
            lambda: project.tool.read_status(away),
            lambda: project.tool.apply(away, Limits()),
            lambda: project.tool.revert(away, "", Limits()),
        ):
            with pytest.raises(Unreachable):
                call()

    def test_a_checkout_without_migrations_is_refused(self, project: Project) -> None:
        nowhere = project.workspace._replace(folder=project.folder / "nothing")
        with pytest.raises(Refused):
            project.tool.read_status(nowhere)

    # Up

    def test_none_is_pending_after_apply(self, project: Project) -> None:
        ids = project.add(TABLE, COLUMN)
        project.apply()
        status = project.tool.read_status(project.workspace)
        assert (status.applied, status.pending, status.failed) == (ids, [], None)
        assert status.revision == ids[-1]
        project.execute("INSERT INTO users (id, name, email) VALUES (1, 'a', 'b')")

    def test_applying_again_changes_nothing(self, project: Project) -> None:
        ids = project.add(TABLE)
        project.apply()
        before = project.schema()
        project.apply()
        assert project.schema() == before
        project.add(COLUMN)
        assert project.pending() == ids[1:]
        project.apply()
        assert project.applied() == ids

    def test_statements_that_cannot_be_in_a_transaction(self, project: Project) -> None:
        moods = Step("create_mood", ["CREATE TYPE mood AS ENUM ('sad')"], ["DROP TYPE mood"])
        better = Step("better_mood", ["ALTER TYPE mood ADD VALUE 'happy'"], ["SELECT 1"], in_transaction=False)
        ids = project.add(TABLE, INDEX, moods, better)
        project.apply()
        assert project.applied() == ids
        assert project.execute("SELECT enum_range(NULL::mood)::text") == [("{sad,happy}",)]
        with project.connect() as connection:
            assert read_invalid(connection) == []

    # Down

    def test_reverting_brings_the_schema_back(self, project: Project) -> None:
        first, *_ = project.add(TABLE)
        project.apply()
        before = project.schema()
        project.add(COLUMN, INDEX)
        project.apply()
        if not project.goes_down:
            with pytest.raises(Refused):
                project.revert(first)
            assert len(project.applied()) == 3
            return
        project.revert(first)
        assert schema_difference(before, project.schema()) == ""
        assert project.applied() == [first]
        project.revert(first)
        assert project.applied() == [first]
        project.revert("")
        assert project.applied() == []
        assert "users" not in project.schema()

    def test_a_revision_that_is_not_applied_is_refused(self, project: Project) -> None:
        project.add(TABLE)
        project.apply()
        _, second = project.add(COLUMN)
        for unknown in (second, "9999", "--help", "'; DROP TABLE users; --"):
            with pytest.raises(Refused):
                project.revert(unknown)
        assert len(project.applied()) == 1

    # Failures

    def test_a_migration_that_fails_is_named(self, project: Project) -> None:
        first, broken = project.add(TABLE, BROKEN)
        with pytest.raises(MigrationFailed) as failed:
            project.apply()
        assert failed.value.migration == broken
        assert not failed.value.is_lock_timeout
        assert "nowhere" in failed.value.message
        for spelling in (PASSWORD, quote(PASSWORD), quote(PASSWORD, safe="")):
            assert spelling not in repr(failed.value)
        status = project.tool.read_status(project.workspace)
        assert broken in [one.id for one in status.pending]
        assert status.applied in ([], [first])
        assert status.failed == (broken if project.tells_failed else None)
        assert "public.other" not in project.schema()

    def test_waiting_for_a_lock_ends_in_time_and_changes_nothing(self, project: Project) -> None:
        project.add(TABLE)
        project.apply()
        before = project.schema()
        second = project.add(COLUMN)[-1]
        with project.users_locked(), pytest.raises(MigrationFailed) as failed:
            project.apply(lock_seconds=0.3)
        assert failed.value.is_lock_timeout
        assert failed.value.migration == second
        assert schema_difference(before, project.schema()) == ""
        assert project.pending() == [second]

    def test_a_statement_that_takes_too_long_is_ended(self, project: Project) -> None:
        project.add(Step("sleep", ["SELECT pg_sleep(60)"], ["SELECT 1"]))
        with pytest.raises(MigrationFailed) as failed:
            project.apply(statement_seconds=0.3)
        assert "statement timeout" in failed.value.message
        assert not failed.value.is_lock_timeout

    def test_one_that_fails_half_way_outside_a_transaction_is_recognised(self, project: Project) -> None:
        project.add(TABLE)
        project.apply()
        project.execute("INSERT INTO users VALUES (1, 'same'), (2, 'same')")
        index = project.add(INDEX)[-1]
        with pytest.raises(MigrationFailed) as failed:
            project.apply()
        assert failed.value.migration == index
        with project.connect() as connection:
            assert [str(one) for one in read_invalid(connection)] == ["index users_by_name of users"]
        assert project.tool.read_status(project.workspace).failed == (index if project.tells_half_applied else None)
        assert project.pending() == [index]

    def test_killed_in_the_middle_leaves_nobody_at_work(self, project: Project) -> None:
        project.add(TABLE)
        project.apply()
        before = project.schema()
        second = project.add(COLUMN)[-1]
        with project.users_locked(), project.applying_elsewhere() as process:
            eventually(lambda: any(kind == "Lock" for kind, _ in project.sessions()), 30)
            children = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.wait()
            eventually(lambda: not any(one.is_running() and one.status() != "zombie" for one in children))
            eventually(lambda: project.sessions() == [])
        assert schema_difference(before, project.schema()) == ""
        if project.tells_failed:
            assert project.tool.read_status(project.workspace).failed == second
            project.tool.mark_rolled_back(project.workspace, second)
        project.apply()
        assert project.pending() == []

    def test_the_record_alone_can_be_put_back(self, project: Project) -> None:
        first, second = project.add(TABLE, COLUMN)
        project.apply()
        with pytest.raises(Refused):
            project.tool.mark_rolled_back(project.workspace, first)
        if not project.marks_newest:
            with pytest.raises(Refused):
                project.tool.mark_rolled_back(project.workspace, second)
            return
        before = project.schema()
        project.tool.mark_rolled_back(project.workspace, second)
        assert schema_difference(before, project.schema()) == ""
        assert project.pending() == [second]
        project.execute("ALTER TABLE users DROP COLUMN email")
        project.apply()
        assert project.pending() == []

    # Secrets

    def test_sessions_are_named_and_no_command_line_tells_the_password(self, project: Project) -> None:
        project.add(TABLE)
        project.apply()
        project.add(COLUMN)
        ended = threading.Event()

        def apply() -> None:
            project.apply()
            ended.set()

        with project.users_locked():
            thread = threading.Thread(target=apply)
            thread.start()
            eventually(lambda: any(kind == "Lock" for kind, _ in project.sessions()))
            shown = repr(command_lines(os.getpid()))
        thread.join()
        assert ended.is_set()
        for spelling in (PASSWORD, quote(PASSWORD), quote(PASSWORD, safe=""), project.url):
            assert spelling not in shown
