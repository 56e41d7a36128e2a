"""How requests reach the releases."""

from pathlib import Path

import httpx
import pytest

from blocks.platforms.interface import Release
from tests.blocks.platforms.builds import Build
from tests.blocks.platforms.contract import Subject, ask
from tests.blocks.platforms.daemon import Daemon
from tests.blocks.platforms.load import loaded
from tests.blocks.platforms.waiting import eventually

pytestmark = pytest.mark.timeout(30)


class TestTraffic:
    @pytest.mark.parametrize("percent", [10, 50, 100])
    def test_the_split_is_exact(self, subject: Subject, percent: int) -> None:
        old, new = subject.start(subject.good), subject.start(subject.better)
        split = {old.id: 100 - percent, new.id: percent}
        subject.platform.shift_traffic({key: value for key, value in split.items() if value})
        with httpx.Client(trust_env=False) as client:
            visited = [client.get(subject.address).headers["X-Release"] for _ in range(1000)]
        assert visited.count(new.id) == percent * 10
        tens = [visited[i : i + 10].count(new.id) for i in range(0, 1000, 10)]
        assert set(tens) == {percent // 10}

    def test_no_request_fails_while_traffic_shifts(self, subject: Subject) -> None:
        old, new = subject.start(subject.good), subject.start(subject.better)
        subject.platform.shift_traffic({old.id: 100})
        with loaded(subject.address) as load:
            for percent in [10, 50, 90, 50, 10] * 5:
                subject.platform.shift_traffic({old.id: 100 - percent, new.id: percent})
                load.go_on(50)
        assert set(load.answers) == {200}

    def test_no_request_fails_while_releases_come_and_go(self, subject: Subject) -> None:
        release = subject.start(subject.good)
        subject.platform.shift_traffic({release.id: 100})
        with loaded(subject.address) as load:
            for build in (subject.better, subject.good):
                before, release = release, subject.start(build)
                subject.platform.scale_release(release.id, 2)
                subject.platform.shift_traffic({release.id: 100})
                subject.platform.stop_release(before.id)
                subject.platform.scale_release(release.id, 1)
            load.go_on(200)
        assert set(load.answers) == {200}

    def test_what_cannot_be_connected_to_is_passed_over(self, subject: Subject) -> None:
        """A replica that dies breaks off what it was working on, and nothing else."""
        old, new = subject.start(subject.good), subject.start(subject.better)
        subject.platform.shift_traffic({old.id: 50, new.id: 50})
        with pytest.raises(httpx.HTTPError):
            ask(new, "/die")
        visits = [httpx.get(subject.address, trust_env=False) for _ in range(10)]
        assert {visit.status_code for visit in visits} == {200}


class TestFrontDoor:
    def test_without_traffic_it_says_so(self, subject: Subject) -> None:
        answer = httpx.get(subject.address)
        assert (answer.status_code, answer.json()) == (503, {"error": "no release has traffic"})

    def test_a_release_that_breaks_off_is_a_502(self, subject: Subject) -> None:
        release = subject.start(subject.good)
        subject.platform.shift_traffic({release.id: 100})
        answer = httpx.get(f"{subject.address}/die")
        assert answer.status_code == 502
        assert answer.headers["X-Release"] == release.id
        assert "broke off" in answer.json()["error"]

    def test_a_release_that_is_silent_is_a_504(self, tmp_path: Path, repository: Path, builds: list[Build]) -> None:
        daemon = Daemon(tmp_path / "folder", repository, answer_timeout=0.3)
        try:
            release = start(daemon, builds[0])
            daemon.platform.shift_traffic({release.id: 100})
            assert httpx.get(f"{daemon.front}/hold").status_code == 504
        finally:
            daemon.end()

    def test_headers_pass_but_for_those_of_the_connection(self, subject: Subject) -> None:
        release = subject.start(subject.good)
        subject.platform.shift_traffic({release.id: 100})
        sent = {
            "X-Own": "kept",
            "X-Hop": "1",
            "Connection": "x-hop",
            "X-Forwarded-For": "10.0.0.9",
            "TE": "x",
        }
        answer = httpx.get(f"{subject.address}/headers?a=%2Fb", headers=sent)
        arrived = {name.lower(): value for name, value in answer.json()}
        assert arrived["target"] == "/headers?a=%2Fb"
        assert arrived["x-own"] == "kept"
        assert arrived["x-forwarded-for"] == "10.0.0.9, 127.0.0.1"
        assert arrived["host"] == subject.address.removeprefix("http://")
        assert not {"x-hop", "te", "connection"} & set(arrived)
        assert answer.headers["Server"].startswith("BaseHTTP")

    @pytest.mark.parametrize("chunked", [False, True])
    def test_bodies_pass_both_ways(self, subject: Subject, chunked: bool) -> None:
        release = subject.start(subject.good)
        subject.platform.shift_traffic({release.id: 100})
        body = b"0123456789abcdef" * 65_536
        parts = (body[i : i + 50_000] for i in range(0, len(body), 50_000))
        answer = httpx.post(subject.address, content=parts if chunked else body)
        assert answer.content == body

    def test_an_answer_passes_as_it_is_made(self, subject: Subject) -> None:
        release = subject.start(subject.good)
        subject.platform.shift_traffic({release.id: 100})
        with httpx.stream("GET", f"{subject.address}/long") as answer:
            parts = answer.iter_text()
            assert next(parts) == "first"
            ask(release, "/let-go")
            assert "".join(parts) == "second"


def start(daemon: Daemon, build: Build) -> Release:
    release = daemon.platform.start_release(build.version, build.commit, "")
    eventually(lambda: read(daemon, release.id).state == "running")
    return read(daemon, release.id)


def read(daemon: Daemon, release_id: str) -> Release:
    return next(release for release in daemon.platform.read_releases() if release.id == release_id)
