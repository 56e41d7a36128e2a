"""What is left when the daemon or a release dies at the wrong moment."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from blocks.errors import RefusedByPlatform, Unreachable
from blocks.platforms.interface import Release
from deployments.sandbox.leftovers import end_leftovers
from tests.blocks.platforms.builds import Build
from tests.blocks.platforms.contract import Subject, ask
from tests.blocks.platforms.daemon import Daemon
from tests.blocks.platforms.waiting import eventually
from tests.ended import have_ended

pytestmark = pytest.mark.timeout(30)


class TestDeath:
    def test_a_killed_daemon_is_taken_over_from(self, own: Daemon, builds: list[Build]) -> None:
        old, new = start(own, builds[0]), start(own, builds[1])
        own.platform.scale_release(new.id, 2)
        eventually(lambda: len(pids(own)) == 3 and not read(own, new.id).detail)
        split = {old.id: 90, new.id: 10}
        own.platform.shift_traffic(split)
        own.platform.set_variables({"KEPT": "yes"})
        own.platform.set_maintenance("run-1")
        before = own.platform.read_releases(), pids(own)

        own.kill()
        assert ask(old) == old.version
        own.begin()

        assert (own.platform.read_releases(), pids(own)) == before
        assert own.platform.read_traffic() == split
        assert own.platform.read_variables() == {"KEPT": "yes"}
        assert (own.platform.read_maintenance(), httpx.get(own.front).status_code) == ("run-1", 503)
        own.platform.set_maintenance("")
        visited = [httpx.get(own.front).headers["X-Release"] for _ in range(10)]
        assert visited.count(new.id) == 1
        own.platform.shift_traffic({old.id: 100})
        own.platform.stop_release(new.id)
        assert len(pids(own)) == 1

    def test_a_daemon_killed_while_a_release_starts_goes_on(self, own: Daemon, builds: list[Build]) -> None:
        release = own.platform.start_release(builds[0].version, builds[0].commit, "run")
        own.kill()
        own.begin()
        eventually(lambda: read(own, release.id).state != "starting")
        assert read(own, release.id).state == "running", read(own, release.id).detail
        assert len(own.stubs()) == 1

    def test_a_stop_that_takes_long_goes_on_after_the_answer(self, own: Daemon, builds: list[Build]) -> None:
        old, new = start(own, builds[0]), start(own, builds[1])
        own.platform.shift_traffic({old.id: 100})
        with ThreadPoolExecutor() as pool:
            slow = pool.submit(httpx.get, f"{own.front}/hold", timeout=20)
            eventually(lambda: ask(old, "/held") == "1")
            own.platform.shift_traffic({new.id: 100})
            own.platform.model_copy(update={"timeout": 0.5}).stop_release(old.id)
            assert read(own, old.id).detail == "being stopped"
            with pytest.raises(RefusedByPlatform):
                own.platform.shift_traffic({old.id: 100})
            ask(old, "/let-go")
            assert slow.result(10).text == old.version
        eventually(lambda: read(own, old.id).state == "stopped")

    def test_a_daemon_killed_while_it_stops_a_release_goes_on(self, own: Daemon, builds: list[Build]) -> None:
        release, other = start(own, builds[0]), start(own, builds[1])
        own.platform.shift_traffic({release.id: 100})
        with ThreadPoolExecutor() as pool:
            slow = pool.submit(httpx.get, f"{own.front}/hold", timeout=20)
            eventually(lambda: ask(release, "/held") == "1")
            own.platform.shift_traffic({other.id: 100})
            own.platform.model_copy(update={"timeout": 0.5}).stop_release(release.id)
            own.kill()
            with pytest.raises(httpx.HTTPError):
                slow.result(10)
        own.begin()
        eventually(lambda: read(own, release.id).state == "stopped")
        eventually(lambda: pids(own) == own.stubs())

    def test_a_change_that_cannot_be_kept_is_not_made(self, own: Daemon, builds: list[Build]) -> None:
        release = start(own, builds[0])
        obstacle = own.folder / "state.partial"
        eventually(lambda: not obstacle.exists())
        obstacle.mkdir()  # what is written next has no place
        for change in (
            lambda: own.platform.shift_traffic({release.id: 100}),
            lambda: own.platform.set_variables({"A": "b"}),
            lambda: own.platform.start_release(builds[1].version, builds[1].commit, "run"),
        ):
            with pytest.raises(Unreachable):
                change()
        assert own.platform.read_traffic() == {} == own.platform.read_variables()
        assert own.platform.read_releases() == [release]

    def test_a_process_that_was_not_yet_written_down_is_found(self, own: Daemon, builds: list[Build]) -> None:
        start(own, builds[0])
        own.kill()
        file = own.folder / "state.json"
        state = json.loads(file.read_text())
        (release,) = state["releases"].values()
        release["replicas"][0] |= {"pid": None, "created": 0, "ready": False}
        release["state"] = "starting"
        file.write_text(json.dumps(state))
        before = own.stubs()
        own.begin()
        eventually(lambda: read(own, release["id"]).state == "running")
        eventually(lambda: pids(own) == before)
        assert own.stubs() == before

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

    def test_sigterm_ends_everything_and_the_next_daemon_brings_it_back(self, own: Daemon, builds: list[Build]) -> None:
        release = start(own, builds[0])
        own.platform.shift_traffic({release.id: 100})
        (pid,) = pids(own)
        own.process.terminate()
        assert own.process.wait(10) == 0
        assert have_ended(pid)
        assert pids(own) == set()
        own.begin()
        assert httpx.get(own.front).text == release.version

    def test_leftovers_are_ended(self, own: Daemon, builds: list[Build]) -> None:
        start(own, builds[0])
        with pytest.raises(BlockingIOError):
            end_leftovers(own.folder)
        own.kill()
        left = pids(own)
        assert set(end_leftovers(own.folder)) == left
        assert have_ended(*left)
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
        assert second.returncode == 1
        assert "Another daemon" in second.stderr
        assert own.platform.read_releases() == []


def start(daemon: Daemon, build: Build) -> Release:
    release = daemon.platform.start_release(build.version, build.commit, "")
    eventually(lambda: read(daemon, release.id).state == "running")
    return read(daemon, release.id)


def read(daemon: Daemon, release_id: str) -> Release:
    return next(release for release in daemon.platform.read_releases() if release.id == release_id)


def pids(daemon: Daemon) -> set[int]:
    releases = json.loads((daemon.folder / "state.json").read_text())["releases"].values()
    return {replica["pid"] for release in releases for replica in release["replicas"]}
