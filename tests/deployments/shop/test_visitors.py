"""The stream of visitors and what it writes down."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from deployments.shop import visits
from deployments.shop.visitors import Visit, failures_without_fault, read_visits
from deployments.shop.visits import VisitLog
from tests.deployments.shop.conftest import Checkout, RunRelease
from tests.deployments.shop.processes import (
    DEMO_PASSWORD,
    Postgres,
    Shop,
    free_port,
    process,
    running_shop,
    wait_until,
)

ROOT = Path(__file__).parents[3]
GOOD = Visit(1.0, "GET", "/offers", 200, 41.0, "v2.0.0", None, None)
REFUSED = replace(GOOD, status=401)
FAILED = replace(GOOD, status=500)
FAILED_ON_PURPOSE = replace(FAILED, fault="v1.3.0")
UNANSWERED = replace(GOOD, status=None, version=None, error="ConnectError: refused")


@contextmanager
def visiting(folder: Path, url: str, rate: int, mix: str = "all") -> Iterator[subprocess.Popen[bytes]]:
    """Visitors whose log is `folder`/visits.jsonl."""
    command = [sys.executable, "-m", "deployments.shop.visitors", "--url", url, "--rate", str(rate)]
    command += ["--mix", mix, "--log", "visits.jsonl"]
    environment = {"SHOP_DEMO_PASSWORD": DEMO_PASSWORD, "PYTHONPATH": str(ROOT)}
    with process(command, folder, environment) as started:
        yield started


def test_visitors_keep_their_rate_and_their_mix(shop: Shop, tmp_path: Path) -> None:
    log = tmp_path / "visits.jsonl"
    with visiting(tmp_path, shop.url, rate=50) as visitors:
        wait_until(lambda: len(list(read_visits(log))) >= 150, "150 visits")
        visitors.send_signal(signal.SIGTERM)
        assert visitors.wait(timeout=5) == 0

    made = list(read_visits(log))
    assert 45 < (len(made) - 1) / (made[-1].at - made[0].at) < 55
    assert 0.5 < sum(visit.route == "/offers" for visit in made) / len(made) < 0.85
    assert {visit.route for visit in made} == {"/offers", "/login", "/tasks", "/tasks/{id}"}
    assert {visit.status for visit in made} == {200, 201}
    assert {visit.version for visit in made} == {"v2.0.0"}
    assert failures_without_fault(made) == []


def test_faults_are_told_from_failures(run_release: RunRelease, tmp_path: Path) -> None:
    log = tmp_path / "visits.jsonl"
    with run_release("v1.3.0") as shop, visiting(tmp_path, shop.url, rate=50, mix="offers"):
        wait_until(lambda: len(list(read_visits(log))) >= 50, "50 visits")
    made = list(read_visits(log))
    on_purpose = [visit for visit in made if visit.fault == "v1.3.0"]
    assert len(on_purpose) == len(made) // 5
    assert {visit.status for visit in on_purpose} == {500}
    assert failures_without_fault(made) == []


def test_requests_begin_without_waiting_for_answers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", free_port()), backlog=100) as silent:
        silent.settimeout(5)
        port = silent.getsockname()[1]
        with visiting(tmp_path, f"http://127.0.0.1:{port}", rate=50, mix="offers") as visitors:
            first, _ = silent.accept()
            began = time.monotonic()
            unanswered = [first, *(silent.accept()[0] for _ in range(50))]
            assert 0.7 < time.monotonic() - began < 20
            silent.close()
            visitors.send_signal(signal.SIGTERM)
            for connection in unanswered:
                connection.close()
            assert visitors.wait(timeout=5) == 0
    made = list(read_visits(tmp_path / "visits.jsonl"))
    assert len(made) >= 51
    assert failures_without_fault(made) == made


def test_visitors_come_before_the_service_and_stay(
    checkout: Checkout, postgres: Postgres, redis_url: str, tmp_path: Path
) -> None:
    log, port = tmp_path / "visits.jsonl", free_port()
    with visiting(tmp_path, f"http://127.0.0.1:{port}", rate=20):
        wait_until(lambda: any(visit.error for visit in read_visits(log)), "a visit without an answer")
        database_url = postgres.url(postgres.make_database())
        with running_shop(checkout("v2.0.0"), database_url, redis_url, port):
            wait_until(lambda: any(visit.route == "/tasks" for visit in read_visits(log)), "a task visited")


def test_without_a_password_nobody_can_log_in(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "deployments.shop.visitors", "--url", "http://127.0.0.1:1", "--log", "x"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert ended.returncode == 1
    assert "SHOP_DEMO_PASSWORD is not set" in ended.stderr


def test_failures_are_those_that_nobody_planned() -> None:
    all_kinds = [GOOD, REFUSED, FAILED, FAILED_ON_PURPOSE, UNANSWERED]
    assert failures_without_fault(all_kinds) == [FAILED, UNANSWERED]


def test_a_line_that_is_still_being_written_is_left_out(tmp_path: Path) -> None:
    log = tmp_path / "visits.jsonl"
    assert list(read_visits(log)) == []
    line = json.dumps(asdict(GOOD))
    log.write_text(f"{line}\n{line[:20]}")
    assert list(read_visits(log)) == [GOOD]


def test_rotated_visits_are_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visits, "LARGEST_FILE", 2000)
    log = VisitLog(tmp_path / "visits.jsonl")
    for at in range(100):
        log.write(replace(GOOD, at=at))
    log.close()
    assert {path.name for path in tmp_path.iterdir()} == {"visits.jsonl", "visits.jsonl.1"}
    kept = [visit.at for visit in read_visits(tmp_path / "visits.jsonl")]
    assert kept == list(range(100 - len(kept), 100))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4000
    assert [visit.at for visit in read_visits(tmp_path / "visits.jsonl", since=98)] == [98, 99]
