"""Two ACL users on a real Redis."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import ValidationError
from redis import AuthenticationError, Redis, RedisError

from blocks.errors import RefusedByPlatform, SecretIsBad, Unreachable
from blocks.secrets.redis_acl import RedisAcl
from blocks.sinks.interface import Values
from tests.blocks.secrets.contract import WayBack
from tests.deployments.shop.processes import running_redis
from tests.secret_search import find_secrets

PASSWORD = "a-long-random-one"
USERS = f"""\
user default on nopass ~* &* +@all
user app_rotate on >{PASSWORD} resetkeys -@all +acl +client|list +client|kill +config|get
user app_a on >{PASSWORD} ~app:* +@read +@write +ping +client|setname
user app_b off ~app:* +@read +@write +ping +client|setname
"""
PLATFORM = [{"type": "platform"}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "users.acl").write_text(USERS)
    return tmp_path


@pytest.fixture
def server(folder: Path) -> Iterator[Redis]:
    """As its administrator."""
    with running_redis(folder, "--aclfile", "users.acl") as url, Redis.from_url(url, decode_responses=True) as server:
        yield server


def url_of(server: Redis, user: str) -> str:
    return f"redis://{user}:{PASSWORD}@127.0.0.1:{server.get_connection_kwargs()['port']}/0"


@pytest.fixture
def secret(server: Redis, folder: Path) -> RedisAcl:
    (folder / "rotate_url").write_text(url_of(server, "app_rotate"))
    return RedisAcl(
        type="redis-acl",
        variable="REDIS_URL",
        users=["app_a", "app_b"],
        rotate_url=f"file:{folder}/rotate_url",
        sinks=PLATFORM,
    )


@pytest.fixture
def old(server: Redis, secret: RedisAcl) -> Values:
    return {secret.variable: url_of(server, "app_a")}


def test_old_and_new_are_accepted_until_the_old_one_is_retired(secret: RedisAcl, old: Values) -> None:
    assert secret.read_obstacles(old) == []
    new = secret.make(old)
    with pytest.raises(SecretIsBad, match="refuses the login app_b"):
        secret.prove(new)
    secret.install(old, new)
    secret.prove(old)
    secret.prove(new)
    with pytest.raises(SecretIsBad, match="accepts the retired login app_a"):
        secret.prove_refused(old)
    for _ in range(2):
        secret.retire(old)
        secret.prove_refused(old)
    secret.prove(new)
    with Redis.from_url(new["REDIS_URL"]) as application:
        assert application.set("app:key", "value")

    back = secret.make(new)
    secret.install(new, back)
    secret.prove(back)
    secret.prove_refused(old)


class TestWayBack(WayBack):
    """Of this kind: `secret` and `old` are this file's."""


def test_a_restarted_server_knows_the_new_one(server: Redis, secret: RedisAcl, old: Values, folder: Path) -> None:
    new = secret.make(old)
    secret.install(old, new)
    secret.retire(old)
    password = urlsplit(new["REDIS_URL"]).password or ""
    port = server.get_connection_kwargs()["port"]
    server.shutdown(nosave=True)
    with running_redis(folder, "--aclfile", "users.acl") as url:
        again = {
            name: {"REDIS_URL": it["REDIS_URL"].replace(str(port), str(urlsplit(url).port))}
            for name, it in {"old": old, "new": new}.items()
        }
        with Redis.from_url(again["new"]["REDIS_URL"]) as application:
            assert application.ping()
        with Redis.from_url(again["old"]["REDIS_URL"]) as application, pytest.raises(AuthenticationError):
            application.ping()
    assert find_secrets({"new": password}, "its file", (folder / "users.acl").read_bytes()) == []


def test_who_uses_the_old_one_is_named(secret: RedisAcl, old: Values) -> None:
    assert secret.read_users(old) == []
    with Redis.from_url(old["REDIS_URL"], client_name="shop") as application:
        application.ping()
        assert secret.read_users(old) == ["shop"]


def test_who_uses_the_old_one_after_a_breach_is_thrown_out(secret: RedisAcl, old: Values) -> None:
    assert secret.read_cut_obstacles(old) == []
    with Redis.from_url(old["REDIS_URL"], retry=None) as intruder:
        intruder.ping()
        secret.retire(old)
        assert intruder.ping(), "refusing logins ends no session"
        for _ in range(2):
            secret.end_sessions(old)
        with pytest.raises(RedisError):
            intruder.ping()


def test_a_rotating_user_that_may_end_no_session_is_in_the_way_after_a_breach(
    server: Redis, secret: RedisAcl, old: Values
) -> None:
    server.execute_command("ACL SETUSER", "app_rotate", "-client", "+client|list")
    assert secret.read_obstacles(old) == []
    (obstacle,) = secret.read_cut_obstacles(old)
    assert "may not end the sessions of app_a: allow it +client|kill" in obstacle


def test_what_is_in_the_way_is_told(server: Redis, secret: RedisAcl, old: Values) -> None:
    foreign = {"REDIS_URL": old["REDIS_URL"].replace("app_a", "")}
    assert "logs in as default, which is neither of app_a and app_b" in secret.read_obstacles(foreign)[0]
    server.execute_command("ACL SETUSER", "app_b", "+@admin")
    assert secret.read_obstacles(old) == ["the two may not do the same"]
    server.acl_deluser("app_b")
    assert secret.read_obstacles(old) == ["there is no user app_b"]
    server.execute_command("ACL SETUSER", "app_rotate", "-acl")
    with pytest.raises(RefusedByPlatform, match="NoPermissionError"):
        secret.retire(old)


def test_a_server_that_would_forget_is_in_the_way(tmp_path: Path, secret: RedisAcl, old: Values) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    with running_redis(folder) as url, Redis.from_url(url) as server:
        for user in ("app_a", "app_b"):
            server.execute_command("ACL SETUSER", user, "on", ">x")
        (tmp_path / "rotate_url").write_text(url)
        assert secret.read_obstacles(old) == ["the server has no aclfile: a restart would forget the new password"]


def test_a_server_that_is_away_is_no_refusal(secret: RedisAcl, tmp_path: Path) -> None:
    (tmp_path / "rotate_url").write_text("redis://app_rotate:x@127.0.0.1:1")
    away = {"REDIS_URL": f"redis://app_a:{PASSWORD}@127.0.0.1:1/0"}
    for ask in (secret.prove, secret.prove_refused, secret.reinstate, secret.retire, secret.read_users):
        with pytest.raises(Unreachable) as raised:
            ask(away)
        assert PASSWORD not in repr(raised.value)


def test_what_the_server_is_sent_opens_nothing(server: Redis, secret: RedisAcl, old: Values) -> None:
    server.config_set("slowlog-log-slower-than", 0)
    new = secret.make(old)
    secret.install(old, new)
    log = repr(server.slowlog_get()).encode()
    assert b"SETUSER" in log
    assert find_secrets({"new": urlsplit(new["REDIS_URL"]).password or ""}, "the slow log", log) == []


@pytest.mark.parametrize("users", [["a"], ["a", "a"], ["a", ""], ["default", "b"], ["a", "b", "c"]])
def test_two_different_users_are_wanted(users: list[str]) -> None:
    with pytest.raises(ValidationError):
        RedisAcl(type="redis-acl", variable="X", users=users, rotate_url="${X}", sinks=PLATFORM)
