"""The service while something that it needs is away, and while it is told to end."""

import os
import signal
import socket
import subprocess
import sys

import httpx

from deployments.shop.releases import SERVICE
from tests.deployments.shop.conftest import Checkout, RunRelease
from tests.deployments.shop.processes import Postgres, free_port, running_shop, wait_until


def test_without_redis_offers_are_still_made(checkout: Checkout, postgres: Postgres) -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    with running_shop(checkout("v2.0.0"), postgres.url(postgres.make_database()), nowhere) as shop:
        health = shop.client.get("/health/detailed")
        assert health.status_code == 503
        assert health.json()["components"]["redis"]["status"] == "down"
        assert health.json()["components"]["database"]["status"] == "ok"
        assert shop.client.get("/offers").status_code == 200


def test_without_its_database_it_says_so_and_comes_back(checkout: Checkout, postgres: Postgres, redis_url: str) -> None:
    database = postgres.make_database()
    with running_shop(checkout("v2.0.0"), postgres.url(database), redis_url) as shop:
        assert shop.client.get("/health/detailed").status_code == 200

        end_sessions = f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database}'"  # noqa: S608
        postgres.execute(f"alter database {database} allow_connections false")
        postgres.execute(end_sessions)
        health = shop.client.get("/health/detailed")
        assert health.status_code == 503
        assert health.json()["components"]["database"]["status"] == "down"
        assert shop.client.post("/uploads", content=b"x").status_code == 503

        postgres.execute(f"alter database {database} allow_connections true")
        assert shop.client.get("/health/detailed").status_code == 200
        postgres.execute(end_sessions)
        assert shop.client.post("/uploads", content=b"x").status_code == 201


def test_sigterm_lets_the_request_under_way_finish(run_release: RunRelease) -> None:
    with run_release("v2.0.0") as shop:
        address = ("127.0.0.1", httpx.URL(shop.url).port or 0)
        with socket.create_connection(address, timeout=5) as visitor:
            visitor.sendall(b"POST /uploads HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n")
            visitor.sendall(b"Expect: 100-continue\r\n\r\n")
            assert visitor.recv(1000).startswith(b"HTTP/1.1 100")
            shop.process.send_signal(signal.SIGTERM)
            wait_until(lambda: _refuses(address), "the shop takes no new connections")
            visitor.sendall(b"body")
            assert visitor.recv(1000).startswith(b"HTTP/1.1 201")
        assert shop.process.wait(timeout=5) == -signal.SIGTERM


def test_without_a_setting_it_names_the_setting() -> None:
    environment = {"PATH": os.environ["PATH"], "PORT": str(free_port())}
    ended = subprocess.run(
        [sys.executable, "-B", "-m", "shop"],
        cwd=SERVICE,
        env=environment,
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (1, "shop: the variable DATABASE_URL is not set\n")


def _refuses(address: tuple[str, int]) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(address) != 0
