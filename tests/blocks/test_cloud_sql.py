"""Cloud SQL against a stand-in that is held against Google's description, in both directions."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from blocks.cloud_sql import CloudSql, NoSuchInstance
from blocks.errors import RefusedByPlatform, Unreachable
from tests.blocks.platforms.waiting import eventually
from tests.standins.cloud_sql import INSTANCE, PROJECT, CloudSqlStandIn, running_cloud_sql
from tests.standins.discovery import discovered
from tests.standins.google_token import TOKEN_MARK, GoogleTokens, running_google_tokens

pytestmark = pytest.mark.timeout(60)

CLONE = f"{INSTANCE}-b-0123456789"
PASSWORD = "hunter2-of-the-test"


@dataclass
class Nothing:
    """What would be instances, were this not a test of calls alone."""

    address: str = "10.0.0.2"
    made: list[tuple[str, datetime]] = field(default_factory=list)
    passwords: list[tuple[str, str, str]] = field(default_factory=list)

    def clone(self, name: str, at: datetime) -> str:
        self.made.append((name, at))
        return f"10.0.1.{len(self.made)}"

    def set_password(self, name: str, user: str, password: str) -> None:
        self.passwords.append((name, user, password))


@pytest.fixture(scope="module")
def tokens() -> Iterator[GoogleTokens]:
    with running_google_tokens() as tokens:
        yield tokens


@pytest.fixture
def beneath() -> Nothing:
    return Nothing()


@pytest.fixture
def google(tokens: GoogleTokens, beneath: Nothing) -> Iterator[CloudSqlStandIn]:
    with running_cloud_sql(tokens, discovered("google-sqladmin-v1"), beneath) as google:
        yield google


@pytest.fixture
def cloud_sql(google: CloudSqlStandIn, tokens: GoogleTokens, monkeypatch: pytest.MonkeyPatch) -> CloudSql:
    monkeypatch.setenv("GOOGLE_KEY", tokens.key())
    return cloud_sql_at(google)


def cloud_sql_at(google: CloudSqlStandIn, **others: Any) -> CloudSql:
    asked = {"project": PROJECT, "instance": INSTANCE, "credentials": "${GOOGLE_KEY}", "url": google.url, "timeout": 5}
    return CloudSql.model_validate({**asked, "operation_seconds": 30, **others})


def ignore(_: float) -> None: ...


def then() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


def test_a_clone_is_made_as_of_a_moment_and_found_by_its_address(
    google: CloudSqlStandIn, beneath: Nothing, cloud_sql: CloudSql
) -> None:
    at, shown = then(), []
    google.goes_on.clear()

    def show(seconds: float) -> None:
        shown.append(seconds)
        google.goes_on.set()

    made = cloud_sql.clone(INSTANCE, CLONE, at, show)

    assert (made.name, made.state) == (CLONE, "RUNNABLE")
    assert (made.address("private"), made.address("public")) == ("10.0.1.1", "")
    assert beneath.made == [(CLONE, at)]
    assert shown
    for number in range(3):  # on several pages
        cloud_sql.clone(INSTANCE, f"{INSTANCE}-b-000000000{number}", at, ignore)
    google.instances["shop-db-by-hand"] = google.instances[CLONE]
    assert [one.name for one in cloud_sql.read_clones()] == [CLONE, *(f"{INSTANCE}-b-000000000{n}" for n in range(3))]


@pytest.mark.parametrize("trouble", ["fails after it", "no answer after it"])
def test_one_whose_answer_was_lost_is_found_and_not_made_again(
    google: CloudSqlStandIn, beneath: Nothing, cloud_sql: CloudSql, trouble: Any
) -> None:
    google.trouble = ["", trouble]
    with pytest.raises(Unreachable):
        cloud_sql_at(google, timeout=1).clone(INSTANCE, CLONE, then(), ignore)
    assert cloud_sql.clone(INSTANCE, CLONE, then(), ignore).name == CLONE
    assert (google.clones, google.begun("CLONE"), len(beneath.made)) == ([CLONE], 1, 1)


def test_one_that_came_between_two_looks_is_waited_for(
    google: CloudSqlStandIn, cloud_sql: CloudSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud_sql.clone(INSTANCE, CLONE, then(), ignore)
    look, looks = CloudSql.find_instance, []

    def blind_at_first(self: CloudSql, name: str) -> Any:
        looks.append(name)
        return look(self, name) if len(looks) > 1 else None

    monkeypatch.setattr(CloudSql, "find_instance", blind_at_first)
    assert cloud_sql.clone(INSTANCE, CLONE, then(), ignore).name == CLONE
    assert google.begun("CLONE") == 1


def test_an_operation_that_is_done_may_have_failed(google: CloudSqlStandIn, cloud_sql: CloudSql) -> None:
    for begin in (
        lambda: cloud_sql.clone(INSTANCE, CLONE, then(), ignore),
        lambda: cloud_sql.clone(INSTANCE, CLONE, then(), ignore),  # and it is not made again
        lambda: cloud_sql.restart(INSTANCE, ignore),
        lambda: cloud_sql.set_tier(INSTANCE, "db-custom-2-7680", ignore),
        lambda: cloud_sql.set_password(INSTANCE, "shop", PASSWORD),
        lambda: cloud_sql.back_up(INSTANCE, "label", ignore),
    ):
        google.operation_error = "the zone has no room"
        with pytest.raises(RefusedByPlatform, match="INTERNAL_ERROR: the zone has no room") as raised:
            begin()
        assert_shows_nothing(raised.value)
    assert google.begun("CLONE") == 1
    with pytest.raises(RefusedByPlatform, match="made no backup of shop-db: disk is gone"):
        cloud_sql.back_up(INSTANCE, "label", ignore)


@pytest.mark.usefixtures("cloud_sql")
def test_one_that_takes_too_long_is_left_to_google(google: CloudSqlStandIn) -> None:
    google.goes_on.clear()
    with pytest.raises(RefusedByPlatform, match=r"did not clone shop-db as .* within 1 s") as raised:
        cloud_sql_at(google, operation_seconds=1).clone(INSTANCE, CLONE, then(), ignore)
    assert "It goes on at Google" in raised.value.hint


def test_a_look_that_fails_while_google_works_fails_nothing(google: CloudSqlStandIn, cloud_sql: CloudSql) -> None:
    google.trouble = ["", "", "fails", "put off", "fails"]
    assert cloud_sql.clone(INSTANCE, CLONE, then(), ignore).name == CLONE
    assert google.begun("CLONE") == 1


def test_a_token_that_ran_out_is_got_anew(google: CloudSqlStandIn, tokens: GoogleTokens, cloud_sql: CloudSql) -> None:
    cloud_sql.read_instance(INSTANCE)
    tokens.revoke()
    cloud_sql.restart(INSTANCE, ignore)
    assert google.begun("RESTART") == 1


def test_a_restart_that_is_under_way_is_the_one(google: CloudSqlStandIn, cloud_sql: CloudSql) -> None:
    google.goes_on.clear()
    first = threading.Thread(target=cloud_sql.restart, args=(INSTANCE, ignore))
    first.start()
    eventually(lambda: google.operations)
    cloud_sql.restart(INSTANCE, lambda _: google.goes_on.set())
    first.join(30)
    assert google.begun("RESTART") == 1


def test_a_tier_is_changed_once(google: CloudSqlStandIn, cloud_sql: CloudSql) -> None:
    for tier in ("db-custom-2-7680", "db-custom-2-7680", "db-custom-1-3840"):
        cloud_sql.set_tier(INSTANCE, tier, ignore)
        assert cloud_sql.read_instance(INSTANCE).settings.tier == tier
    assert google.begun("UPDATE") == 2


def test_a_password_is_set_and_nowhere_told(google: CloudSqlStandIn, beneath: Nothing, cloud_sql: CloudSql) -> None:
    cloud_sql.set_password(INSTANCE, "shop/übel", PASSWORD)
    assert beneath.passwords == [(INSTANCE, "shop/übel", PASSWORD)]
    assert PASSWORD not in str([(one.path, one.query) for one in google.asked])
    with pytest.raises(NoSuchInstance) as raised:
        cloud_sql.set_password("none", "shop", PASSWORD)
    assert_shows_nothing(raised.value)
    google.operation_error = f"{PASSWORD} is too simple"
    with pytest.raises(RefusedByPlatform, match="… is too simple") as refused:
        cloud_sql.set_password(INSTANCE, "shop", PASSWORD)
    assert_shows_nothing(refused.value)


def test_a_backup_of_a_label_is_made_once(google: CloudSqlStandIn, cloud_sql: CloudSql) -> None:
    google.trouble = ["", "fails after it"]
    with pytest.raises(Unreachable):
        cloud_sql.back_up(INSTANCE, "run-1", ignore)
    assert [cloud_sql.back_up(INSTANCE, label, ignore) for label in ("run-1", "run-2", "run-3", "run-1")] == [
        *("1", "2", "3", "1")
    ]


def test_what_google_refuses_is_told_with_what_to_do(google: CloudSqlStandIn, cloud_sql: CloudSql) -> None:
    with pytest.raises(RefusedByPlatform, match="The point in time cannot be recovered"):
        cloud_sql.clone(INSTANCE, CLONE, then() - timedelta(days=30), ignore)
    google.denied = True
    with pytest.raises(RefusedByPlatform, match="not authorized") as raised:
        cloud_sql.read_window(INSTANCE)
    assert "permissions that docs/environment-file.md names" in raised.value.hint
    assert_shows_nothing(raised.value)


def test_the_window_is_read(google: CloudSqlStandIn, cloud_sql: CloudSql) -> None:
    window = cloud_sql.read_window(INSTANCE)
    assert window.earliest == google.earliest
    assert window.earliest < then() < window.latest


def test_a_name_is_a_run_s_own_and_one_that_google_takes(cloud_sql: CloudSql) -> None:
    assert cloud_sql.clone_name("01234567-89ab-cdef-0123-456789abcdef") == CLONE


def assert_shows_nothing(error: Exception) -> None:
    assert TOKEN_MARK not in str(error)
    assert PASSWORD not in str(error)
