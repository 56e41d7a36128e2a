"""The proxies do to PostgreSQL, Redis and HTTP what their words say; else a test that leans on them shows nothing."""

import time
from collections.abc import Iterator
from threading import Thread
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.blocks.platforms.waiting import eventually
from tests.blocks.stores.faults import Fault, running_proxy
from tests.deployments.shop.processes import Postgres, running_redis
from tests.drills.fault_proxy import FaultProxy
from tests.tasks.small_service import SmallService, status


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield urlsplit(url).port or 0


@pytest.fixture
def proxy(redis_port: int) -> Iterator[FaultProxy]:
    with FaultProxy(redis_port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[redis.Redis]:
    with redis.Redis(port=proxy.port, socket_timeout=0.5, retry=Retry(NoBackoff(), 0)) as client:
        client.ping()
        yield client


def test_it_lets_pass_refuses_and_lets_pass_again(proxy: FaultProxy, client: redis.Redis) -> None:
    proxy.refuse()
    with pytest.raises(redis.ConnectionError):
        client.ping()
    assert proxy.turned_away
    proxy.mend()
    assert client.ping()


def test_what_hung_arrives_when_it_is_mended(proxy: FaultProxy, client: redis.Redis) -> None:
    client.set("count", 0)
    proxy.hang()
    with pytest.raises(redis.TimeoutError):
        client.incr("count")
    proxy.mend()
    eventually(lambda: client.get("count") == b"1")


def test_an_answer_is_cut_in_its_middle(proxy: FaultProxy, client: redis.Redis) -> None:
    client.set("long", b"x" * 1000)
    client.close()
    proxy.cut(after_bytes=500)
    with pytest.raises((redis.ConnectionError, redis.InvalidResponse)):
        client.execute_command("GET", "long")


def test_an_answer_is_late(proxy: FaultProxy, client: redis.Redis) -> None:
    proxy.answer_late(0.3)
    began = time.monotonic()
    assert client.ping()
    assert time.monotonic() - began >= 0.3


def test_so_much_passes_in_a_second(proxy: FaultProxy, client: redis.Redis) -> None:
    proxy.slow_down(bytes_per_second=30_000)
    began = time.monotonic()
    assert client.echo("x" * 3000)
    assert time.monotonic() - began >= 0.2


def test_a_statement_under_way_is_cut_off(ledger_server: Postgres) -> None:
    with FaultProxy(ledger_server.port) as proxy:
        address = ledger_server.url().replace(f":{ledger_server.port}/", f":{proxy.port}/")
        with psycopg.connect(address, connect_timeout=5, autocommit=True) as connection:

            def refuse() -> None:
                asleep(ledger_server)
                proxy.refuse()

            refusing = Thread(target=refuse)
            refusing.start()
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT pg_sleep(30)")
            refusing.join()


def asleep(server: Postgres) -> None:
    eventually(lambda: server.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))


def test_a_request_is_refused_or_asked_twice_or_its_answer_is_lost() -> None:
    with SmallService({"POST /order": status(201)}) as service, running_proxy(service.url) as proxy:

        def order() -> httpx.Response:
            return httpx.post(f"{proxy.endpoint}/order", trust_env=False, timeout=5)

        proxy.faults.append(Fault("429", "POST"))
        refused = order()
        assert (refused.status_code, refused.headers["Retry-After"], service.requests) == (429, "1", [])

        proxy.faults.append(Fault("twice", "POST"))
        assert (order().status_code, len(service.requests)) == (201, 2)

        proxy.faults.append(Fault("lose answer", "POST"))
        with pytest.raises(httpx.HTTPError):
            order()
        assert len(service.requests) == 3
