"""The sandbox keeps the contract, and what only it promises."""

import json
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from blocks.errors import RefusedByPlatform, Unreachable
from blocks.platforms.interface import Release
from blocks.platforms.sandbox import SandboxPlatform
from deployments.sandbox.config import TOKEN_VARIABLE
from deployments.sandbox.leftovers import end_leftovers
from tests.blocks.platforms.builds import Build, make_builds
from tests.blocks.platforms.contract import PlatformContract, Subject, ask
from tests.blocks.platforms.daemon import TOKEN, Daemon
from tests.blocks.platforms.waiting import eventually

pytestmark = pytest.mark.timeout(20)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("repository") / "stub"


@pytest.fixture(scope="module")
def builds(repository: Path) -> list[Build]:
    return make_builds(repository, "v1.0.0", "v1.1.0", "v1.2.0-broken")


@pytest.fixture(scope="module")
def daemon(
    tmp_path_factory: pytest.TempPathFactory, repository: Path, builds: list[Build]
) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("sandbox") / "folder", repository)
    yield daemon
    daemon.end()


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)


@pytest.fixture
def subject(daemon: Daemon, builds: list[Build]) -> Iterator[Subject]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent = SandboxPlatform(
            url=f"http://127.0.0.1:{listener.getsockname()[1]}", token=f"${{{TOKEN_VARIABLE}}}", timeout=0.3
        )
        good, better, broken = builds
        yield Subject(daemon.platform, daemon.front, good, better, broken, silent)
    daemon.platform.shift_traffic({})
    daemon.platform.set_variables({})
    for release in daemon.platform.read_releases():
        if release.state in ("starting", "running"):
            daemon.platform.stop_release(release.id)


class TestContract(PlatformContract):
    @pytest.fixture
    def subject(self, subject: Subject) -> Subject:
        return subject


@pytest.fixture
def own(tmp_path: Path, repository: Path, builds: list[Build]) -> Iterator[Daemon]:
    """A daemon that the test may kill."""
    daemon = Daemon(tmp_path / "folder", repository, start_timeout=3)
    yield daemon
    daemon.end()


def start(daemon: Daemon, build: Build) -> Release:
    release = daemon.platform.start_release(build.version, build.commit, "")
    eventually(lambda: read(daemon, release.id).state == "running")
    return read(daemon, release.id)


def read(daemon: Daemon, release_id: str) -> Release:
    return next(release for release in daemon.platform.read_releases() if release.id == release_id)


def pids(daemon: Daemon) -> set[int]:
    releases = json.loads((daemon.folder / "state.json").read_text())["releases"].values()
    return {replica["pid"] for release in releases for replica in release["replicas"]}


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Load:
    """Clients that keep their connections, and everything that was answered to them."""

    def __init__(self, address: str, clients: int = 4) -> None:
        self.answers: Counter[int | str] = Counter()
        self._address, self._ended = address, threading.Event()
        self._pool = ThreadPoolExecutor(clients)
        self._clients = [self._pool.submit(self._ask) for _ in range(clients)]

    def _ask(self) -> None:
        with httpx.Client(timeout=20, trust_env=False) as client:
            while not self._ended.is_set():
                try:
                    self.answers[client.get(self._address).status_code] += 1
                except httpx.HTTPError as error:
                    self.answers[repr(error)] += 1

    def go_on(self, requests: int) -> None:
        """Return after so many more answers."""
        wanted = self.answers.total() + requests
        eventually(lambda: self.answers.total() >= wanted)

    def end(self) -> None:
        self._ended.set()
        self._pool.shutdown()


@contextmanager
def loaded(address: str) -> Iterator[Load]:
    load = Load(address)
    try:
        yield load
    finally:
        load.end()


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
        assert answer.status_code == 502 and answer.headers["X-Release"] == release.id
        assert "broke off" in answer.json()["error"]

    def test_a_release_that_is_silent_is_a_504(
        self, tmp_path: Path, repository: Path, builds: list[Build]
    ) -> None:
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


class TestDeath:
    def test_a_killed_daemon_is_taken_over_from(self, own: Daemon, builds: list[Build]) -> None:
        old, new = start(own, builds[0]), start(own, builds[1])
        own.platform.scale_release(new.id, 2)
        eventually(lambda: len(pids(own)) == 3 and not read(own, new.id).detail)
        split = {old.id: 90, new.id: 10}
        own.platform.shift_traffic(split)
        own.platform.set_variables({"KEPT": "yes"})
        before = own.platform.read_releases(), pids(own)

        own.kill()
        assert ask(old) == old.version
        own.begin()

        assert (own.platform.read_releases(), pids(own)) == before
        assert own.platform.read_traffic() == split
        assert own.platform.read_variables() == {"KEPT": "yes"}
        visited = [httpx.get(own.front).headers["X-Release"] for _ in range(10)]
        assert visited.count(new.id) == 1
        own.platform.shift_traffic({old.id: 100})
        own.platform.stop_release(new.id)
        assert len(pids(own)) == 1

    def test_a_daemon_killed_while_a_release_starts_goes_on(self, own: Daemon, builds: list[Build]) -> None:
        release = own.platform.start_release(builds[0].version, builds[0].commit, "run")
        own.kill()
        own.begin()
        eventually(lambda: read(own, release.id).state == "running")
        assert len(_stubs(own)) == 1

    def test_a_process_that_was_not_yet_written_down_is_found(self, own: Daemon, builds: list[Build]) -> None:
        start(own, builds[0])
        own.kill()
        file = own.folder / "state.json"
        state = json.loads(file.read_text())
        (release,) = state["releases"].values()
        release["replicas"][0] |= {"pid": None, "created": 0, "ready": False}
        release["state"] = "starting"
        file.write_text(json.dumps(state))
        before = _stubs(own)
        own.begin()
        eventually(lambda: read(own, release["id"]).state == "running")
        assert pids(own) == before == _stubs(own)

    def test_a_release_that_died_meanwhile_is_started_again(self, own: Daemon, builds: list[Build]) -> None:
        release = start(own, builds[0])
        own.platform.shift_traffic({release.id: 100})
        own.kill()
        (pid,) = pids(own)
        psutil.Process(pid).kill()
        own.begin()
        assert httpx.get(own.front).text == release.version

    def test_a_release_that_dies_is_started_again(self, subject: Subject) -> None:
        release = subject.start(subject.good)
        subject.platform.shift_traffic({release.id: 100})
        for _ in range(2):
            httpx.get(f"{subject.address}/die")
            eventually(lambda: httpx.get(subject.address).is_success)
        assert subject.read(release.id).state == "running"

    def test_sigterm_ends_everything_and_the_next_daemon_brings_it_back(
        self, own: Daemon, builds: list[Build]
    ) -> None:
        release = start(own, builds[0])
        own.platform.shift_traffic({release.id: 100})
        (pid,) = pids(own)
        own.process.terminate()
        assert own.process.wait(10) == 0
        assert is_gone(pid) and pids(own) == set()
        own.begin()
        assert httpx.get(own.front).text == release.version

    def test_leftovers_are_ended(self, own: Daemon, builds: list[Build]) -> None:
        start(own, builds[0])
        with pytest.raises(BlockingIOError):
            end_leftovers(own.folder)
        own.kill()
        left = pids(own)
        assert set(end_leftovers(own.folder)) == left
        assert all(is_gone(pid) for pid in left)
        assert end_leftovers(own.folder) == []

    def test_leftovers_spare_a_pid_that_is_somebody_elses(self, own: Daemon, builds: list[Build]) -> None:
        start(own, builds[0])
        own.kill()
        end_leftovers(own.folder)
        bystander = subprocess.Popen(["sleep", "60"], start_new_session=True)
        try:
            file = own.folder / "state.json"
            state = json.loads(file.read_text())
            (release,) = state["releases"].values()
            earlier = psutil.Process(bystander.pid).create_time() - 60
            release["replicas"][0] |= {"pid": bystander.pid, "created": earlier}
            file.write_text(json.dumps(state))
            assert end_leftovers(own.folder) == []
            assert bystander.poll() is None
        finally:
            bystander.kill()
            bystander.wait(5)

    def test_a_second_daemon_refuses(self, own: Daemon) -> None:
        second = subprocess.run(
            [sys.executable, "-m", "deployments.sandbox", "--folder", str(own.folder)],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert second.returncode == 1 and "Another daemon" in second.stderr
        assert own.platform.read_releases() == []


def _stubs(daemon: Daemon) -> set[int]:
    """Every process that runs in the daemon's checkouts, whatever its state says."""
    checkouts = str(daemon.folder / "checkouts")
    return {p.pid for p in psutil.process_iter(["cwd"]) if (p.info["cwd"] or "").startswith(checkouts)}


class TestSafety:
    @pytest.mark.parametrize("given", ["", "wrong-token", "token-of-the-test\nX: 1", "tökén"])
    def test_a_wrong_token_is_refused_and_not_told(
        self, subject: Subject, given: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = subject.platform.read_releases()
        monkeypatch.setenv("OTHER_TOKEN", given or " ")
        platform = subject.platform.model_copy(update={"token": "${OTHER_TOKEN}"})
        with pytest.raises((RefusedByPlatform, Unreachable)) as refused:
            platform.start_release(subject.good.version, subject.good.commit, "run-stranger")
        assert not given or given not in repr(refused.value)
        assert subject.platform.read_releases() == before

    def test_the_control_api_is_closed_without_a_token(self, daemon: Daemon) -> None:
        for path in ("/releases", "/variables", "/traffic", "/nothing"):
            assert httpx.get(daemon.control + path).status_code == 401
        assert httpx.get(f"{daemon.control}/ready").json()["environment"] == "stub-test"

    def test_an_error_does_not_tell_the_token(self, subject: Subject) -> None:
        for platform, error in ((subject.silent, Unreachable), (subject.platform, RefusedByPlatform)):
            with pytest.raises(error) as raised:
                platform.scale_release("never-made", 1)
            assert TOKEN not in repr(raised.value)

    def test_a_hostile_version_leaves_nothing_behind(self, own: Daemon, builds: list[Build]) -> None:
        for version in ("v1; rm -rf /", "../x", "", "x" * 10_000, "v1.0.0..v1.1.0", "v1.0.0\n"):
            with pytest.raises(RefusedByPlatform):
                own.platform.start_release(version, builds[0].commit, "run")
        assert list((own.folder / "checkouts").iterdir()) == []
        assert own.platform.read_releases() == []

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"[]", b'{"split": {"a": true}}', b'{"split": {"a": 50.5}}', b'{"split": 1}']
    )
    def test_bad_input_is_a_422_with_a_message(self, daemon: Daemon, body: bytes) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = httpx.put(f"{daemon.control}/traffic", content=body, headers=headers)
        assert answer.status_code == 422 and answer.json()["error"]

    def test_a_refused_variable_is_not_quoted(self, subject: Subject) -> None:
        with pytest.raises(RefusedByPlatform) as refused:
            subject.platform.set_variables({"NOT A NAME": "secret-value"})
        assert "secret-value" not in repr(refused.value)

    def test_a_release_knows_its_variables_and_nothing_of_the_daemon(self, subject: Subject) -> None:
        release = subject.start(subject.good)
        assert ask(release, f"/variable/{TOKEN_VARIABLE}") == ""
        assert ask(release, "/variable/HOME") == ""

    def test_files_are_private(self, subject: Subject, daemon: Daemon) -> None:
        release = subject.start(subject.good)
        for name in ("state.json", f"logs/{release.id}.log"):
            assert (daemon.folder / name).stat().st_mode & 0o077 == 0
