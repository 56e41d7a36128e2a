"""What every platform must do: one test body, inherited by the test of each platform.

A platform's test makes a subclass with a fixture `subject`. The builds are versions of
stub.py. What a platform says it cannot do (its capabilities) is skipped.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from time import monotonic
from uuid import uuid4

import httpx
import pytest

from blocks.errors import RefusedByPlatform, Unreachable
from blocks.platforms.interface import Capability, Platform, Release
from tests.blocks.platforms.builds import Build
from tests.blocks.platforms.waiting import eventually

_client = httpx.Client(timeout=20, trust_env=False)


@dataclass
class Subject:
    platform: Platform
    address: str
    """What users call: it answers from the releases that have traffic."""
    good: Build
    better: Build
    broken: Build
    """Ends as soon as it is started."""
    silent: Platform
    """The same platform at an address that accepts connections and never answers; timeout 0.3 s."""
    says_when: bool = True
    """Whether visitors in maintenance are told when to come back."""

    def read(self, release_id: str) -> Release:
        return next(release for release in self.platform.read_releases() if release.id == release_id)

    def start(self, build: Build, run_id: str = "") -> Release:
        """Started, and running."""
        run_id = run_id or f"run-{uuid4()}"
        release = self.platform.start_release(build.version, build.commit, run_id)
        eventually(lambda: self.read(release.id).state != "starting")
        assert self.read(release.id).state == "running", self.read(release.id).detail
        return self.read(release.id)

    def can(self, capability: Capability) -> None:
        if capability not in self.platform.capabilities:
            pytest.skip(f"cannot {capability}")

    def visit(self, path: str = "/") -> str:
        return _get(self.address + path)


def _get(address: str) -> str:
    return _client.get(address).raise_for_status().text


def ask(release: Release, path: str = "/") -> str:
    """Ask this release alone."""
    assert release.url
    return _get(release.url + path)


CALLS: dict[str, Callable[[Platform], object]] = {
    "read_releases": lambda platform: platform.read_releases(),
    "read_traffic": lambda platform: platform.read_traffic(),
    "read_logs": lambda platform: platform.read_logs("some-release"),
    "start_release": lambda platform: platform.start_release("v1.0.0", "0" * 40, "run"),
    "shift_traffic": lambda platform: platform.shift_traffic({"some-release": 100}),
    "stop_release": lambda platform: platform.stop_release("some-release"),
    "scale_release": lambda platform: _scale_if_able(platform, 2),
    "read_maintenance": lambda platform: platform.read_maintenance(),
    "set_maintenance": lambda platform: platform.set_maintenance(""),
    "read_variables": lambda platform: platform.read_variables(),
    "set_variables": lambda platform: platform.set_variables({}),
}


def _scale_if_able(platform: Platform, replicas: int) -> None:
    if Capability.SCALE not in platform.capabilities:
        pytest.skip("refused without asking anybody")
    platform.scale_release("some-release", replicas)


class TrafficContract:
    """What of it depends on how a platform shifts traffic."""

    @pytest.fixture
    def subject(self) -> Iterator[Subject]:
        raise NotImplementedError

    def test_traffic_goes_where_it_is_shifted(self, subject: Subject) -> None:
        old, new = subject.start(subject.good), subject.start(subject.better)
        for release in (old, new, new, old):
            subject.platform.shift_traffic({release.id: 100})
            assert subject.platform.read_traffic() == {release.id: 100}
            assert {subject.visit() for _ in range(10)} == {release.version}

    def test_traffic_is_split_by_percent(self, subject: Subject) -> None:
        subject.can(Capability.WEIGHTED_TRAFFIC)
        old, new = subject.start(subject.good), subject.start(subject.better)
        subject.platform.shift_traffic({old.id: 100})
        for percent in (10, 50):
            subject.platform.shift_traffic({old.id: 100 - percent, new.id: percent})
            assert subject.platform.read_traffic() == {old.id: 100 - percent, new.id: percent}
        assert {subject.visit() for _ in range(100)} == {old.version, new.version}

    def test_from_a_part_of_the_traffic_all_of_it_goes_on_or_back(self, subject: Subject) -> None:
        subject.can(Capability.WEIGHTED_TRAFFIC)
        old, new = subject.start(subject.good), subject.start(subject.better)
        subject.platform.shift_traffic({old.id: 100})
        for release in (old, new):
            subject.platform.shift_traffic({old.id: 90, new.id: 10})
            subject.platform.shift_traffic({release.id: 100})
            assert subject.platform.read_traffic() == {release.id: 100}
            assert {subject.visit() for _ in range(10)} == {release.version}

    def test_a_url_reaches_its_release_whatever_the_traffic(self, subject: Subject) -> None:
        subject.can(Capability.START_WITHOUT_TRAFFIC)
        old, new = subject.start(subject.good), subject.start(subject.better)
        subject.platform.shift_traffic({old.id: 100})
        assert ask(new) == new.version

    def test_requests_under_way_finish_where_they_are(self, subject: Subject) -> None:
        subject.can(Capability.START_WITHOUT_TRAFFIC)
        old, new = subject.start(subject.good), subject.start(subject.better)
        subject.platform.shift_traffic({old.id: 100})
        with ThreadPoolExecutor() as pool:
            slow = pool.submit(subject.visit, "/hold")
            eventually(lambda: ask(old, "/held") == "1")
            subject.platform.shift_traffic({new.id: 100})
            assert subject.visit() == new.version
            ask(old, "/let-go")
            assert slow.result(10) == old.version

    def test_no_traffic_for_what_is_not_running(self, subject: Subject) -> None:
        subject.can(Capability.START_WITHOUT_TRAFFIC)
        release = subject.start(subject.good)
        subject.platform.shift_traffic({release.id: 100})
        stopped = subject.start(subject.better)
        subject.platform.stop_release(stopped.id)
        stops = Capability.STOP in subject.platform.capabilities
        for target in ["never-made", *([stopped.id] if stops else [])]:
            with pytest.raises(RefusedByPlatform):
                subject.platform.shift_traffic({release.id: 50, target: 50})
        assert subject.platform.read_traffic() == {release.id: 100}

    @pytest.mark.parametrize("percents", [(60, 60), (50, 40), (100, 0), (110, -10)])
    def test_percentages_that_do_not_add_up_are_refused(self, subject: Subject, percents: tuple[int, int]) -> None:
        old, new = subject.start(subject.good), subject.start(subject.better)
        subject.platform.shift_traffic({old.id: 100})
        with pytest.raises(RefusedByPlatform):
            subject.platform.shift_traffic(dict(zip((old.id, new.id), percents, strict=True)))
        assert subject.platform.read_traffic() == {old.id: 100}

    def test_traffic_can_be_taken_away_or_is_refused(self, subject: Subject) -> None:
        release = subject.start(subject.good)
        subject.platform.shift_traffic({release.id: 100})
        try:
            subject.platform.shift_traffic({})
        except RefusedByPlatform:
            assert subject.platform.read_traffic() == {release.id: 100}
        else:
            assert subject.platform.read_traffic() == {}


class PlatformContract(TrafficContract):
    # Looking

    def test_a_new_environment_has_no_traffic(self, subject: Subject) -> None:
        assert subject.platform.read_traffic() == {}

    def test_releases_are_read_newest_first(self, subject: Subject) -> None:
        older, newer = subject.start(subject.good), subject.start(subject.better)
        known = [release.id for release in subject.platform.read_releases()]
        assert known.index(newer.id) < known.index(older.id)
        assert older.created_at < newer.created_at

    def test_a_release_says_what_it_is(self, subject: Subject) -> None:
        release = subject.start(subject.good, run_id="run-that-started-it")
        assert (release.version, release.commit) == (subject.good.version, subject.good.commit)
        assert (release.started_by, release.replicas, release.detail) == ("run-that-started-it", 1, "")

    def test_free_disk_is_a_number_or_the_vendors_business(self, subject: Subject) -> None:
        free = subject.platform.read_free_disk()
        assert free is None or free > 0

    def test_logs_are_the_newest_lines_oldest_first(self, subject: Subject) -> None:
        release = subject.start(subject.good)
        read = partial(subject.platform.read_logs, release.id)
        eventually(lambda: any(line.startswith("listening") for line in read()), tell=read)
        everything = read()
        starting = everything.index(f"starting {subject.good.version}")
        assert everything[starting + 1].startswith("listening")
        assert read(lines=1) == everything[-1:]

    def test_a_release_that_does_not_start_says_why(self, subject: Subject) -> None:
        broken = subject.broken
        release = subject.platform.start_release(broken.version, broken.commit, "run-broken")
        eventually(lambda: subject.read(release.id).state == "failed")
        assert "settings are incomplete" in subject.read(release.id).detail
        assert subject.read(release.id).url is None

    # Starting

    def test_starting_returns_at_once_and_gives_no_traffic(self, subject: Subject) -> None:
        subject.can(Capability.START_WITHOUT_TRAFFIC)
        before = subject.platform.read_traffic()
        release = subject.platform.start_release(subject.good.version, subject.good.commit, "run-at-once")
        assert release.state == "starting"
        eventually(lambda: subject.read(release.id).state == "running")
        assert subject.platform.read_traffic() == before
        assert ask(subject.read(release.id)) == subject.good.version

    def test_the_same_run_starts_a_version_once(self, subject: Subject) -> None:
        build = subject.good
        first = subject.platform.start_release(build.version, build.commit, "run-repeated")
        again = subject.platform.start_release(build.version, build.commit, "run-repeated")
        other = subject.platform.start_release(build.version, build.commit, "run-other")
        assert first.id == again.id != other.id

    @pytest.mark.parametrize("version", ["v1; rm -rf /", "../x", "", "x" * 10_000, "v9.9.9", "--help"])
    def test_a_version_that_is_not_there_is_refused(self, subject: Subject, version: str) -> None:
        before = subject.platform.read_releases()
        with pytest.raises(RefusedByPlatform) as refused:
            subject.platform.start_release(version, subject.good.commit, "run-hostile")
        assert refused.value.hint
        assert len(str(refused.value)) < 1000
        assert subject.platform.read_releases() == before

    def test_a_commit_that_is_not_the_versions_is_refused(self, subject: Subject) -> None:
        with pytest.raises(RefusedByPlatform):
            subject.platform.start_release(subject.good.version, subject.better.commit, "run-moved")

    # Stopping

    def test_stopping_lets_requests_finish(self, subject: Subject) -> None:
        subject.can(Capability.STOP)
        subject.can(Capability.START_WITHOUT_TRAFFIC)
        old, new = subject.start(subject.good), subject.start(subject.better)
        subject.platform.shift_traffic({old.id: 100})
        with ThreadPoolExecutor() as pool:
            slow = pool.submit(subject.visit, "/hold")
            eventually(lambda: ask(old, "/held") == "1")
            subject.platform.shift_traffic({new.id: 100})
            stop = pool.submit(subject.platform.stop_release, old.id)
            eventually(lambda: subject.read(old.id).detail == "being stopped")
            ask(old, "/let-go")
            assert slow.result(10) == old.version
            stop.result(10)
        eventually(lambda: subject.read(old.id).state == "stopped")
        assert subject.read(old.id).url is None
        assert subject.read(old.id).replicas == 0

    def test_what_has_traffic_is_not_stopped(self, subject: Subject) -> None:
        subject.can(Capability.STOP)
        release = subject.start(subject.good)
        subject.platform.shift_traffic({release.id: 100})
        with pytest.raises(RefusedByPlatform):
            subject.platform.stop_release(release.id)
        assert subject.visit() == release.version

    def test_stopping_twice_or_the_unknown_changes_nothing(self, subject: Subject) -> None:
        subject.can(Capability.STOP)
        subject.can(Capability.START_WITHOUT_TRAFFIC)
        release = subject.start(subject.good)
        subject.platform.stop_release(release.id)
        eventually(lambda: subject.read(release.id).state == "stopped")
        before = subject.platform.read_releases()
        subject.platform.stop_release(release.id)
        subject.platform.stop_release("never-made")
        assert subject.platform.read_releases() == before

    # Scaling

    def test_a_stopped_release_is_started_under_its_own_id(self, subject: Subject) -> None:
        subject.can(Capability.SCALE)
        release = subject.start(subject.good)
        subject.platform.stop_release(release.id)
        eventually(lambda: subject.read(release.id).state == "stopped")
        subject.platform.scale_release(release.id, 1)
        eventually(lambda: subject.read(release.id).state == "running")
        assert ask(subject.read(release.id)) == release.version

    def test_replicas_are_as_many_as_asked_for(self, subject: Subject) -> None:
        subject.can(Capability.SCALE)
        release = subject.start(subject.good)
        subject.platform.shift_traffic({release.id: 100})
        for replicas in (3, 1):
            subject.platform.scale_release(release.id, replicas)
            assert subject.read(release.id).replicas == replicas
            eventually(lambda: subject.read(release.id).detail == "")
            assert len({subject.visit("/replica") for _ in range(12)}) == replicas

    def test_no_replicas_or_an_unknown_release_are_refused(self, subject: Subject) -> None:
        subject.can(Capability.SCALE)
        release = subject.start(subject.good)
        for target, replicas in ((release.id, 0), (release.id, -1), ("never-made", 2)):
            with pytest.raises(RefusedByPlatform):
                subject.platform.scale_release(target, replicas)
        assert subject.read(release.id) == release

    # Variables

    def test_in_maintenance_visitors_are_refused_and_the_release_answers_on(self, subject: Subject) -> None:
        subject.can(Capability.MAINTENANCE)
        release = subject.start(subject.good)
        subject.platform.shift_traffic({release.id: 100})
        assert subject.platform.read_maintenance() == ""
        for _ in range(2):
            subject.platform.set_maintenance("run-1")
            assert subject.platform.read_maintenance() == "run-1"
            refused = _client.get(subject.address)
            assert (refused.status_code, int(refused.headers.get("Retry-After", 0)) > 0) == (503, subject.says_when)
            now = subject.read(release.id)
            assert now.state == "running"
            assert now.url is None or ask(now) == subject.good.version
        for _ in range(2):
            subject.platform.set_maintenance("")
            assert subject.visit() == subject.good.version

    def test_variables_are_replaced_and_read_back(self, subject: Subject) -> None:
        subject.can(Capability.READ_VARIABLES)
        for variables in ({"GREETING": "hello", "EMPTY": ""}, {"OTHER": "a=b\n$HOME; 'ü'"}, {}):
            subject.platform.set_variables(variables)
            assert subject.platform.read_variables() == variables

    def test_variables_reach_the_next_release_only(self, subject: Subject) -> None:
        subject.platform.set_variables({"GREETING": "old"})
        old = subject.start(subject.good)
        subject.platform.set_variables({"GREETING": "new; $(ü)"})
        assert ask(old, "/variable/GREETING") == "old"
        new = subject.start(subject.good)
        assert ask(new, "/variable/GREETING") == "new; $(ü)"

    def test_a_release_started_anew_has_the_new_variables(self, subject: Subject) -> None:
        subject.can(Capability.SCALE)
        subject.platform.set_variables({"GREETING": "old"})
        release = subject.start(subject.good)
        subject.platform.set_variables({"GREETING": "new"})
        subject.platform.stop_release(release.id)
        eventually(lambda: subject.read(release.id).state == "stopped")
        subject.platform.scale_release(release.id, 1)
        eventually(lambda: subject.read(release.id).state == "running")
        assert ask(subject.read(release.id), "/variable/GREETING") == "new"

    # What it cannot do

    def test_what_it_cannot_do_is_refused_and_changes_nothing(self, subject: Subject) -> None:
        platform, able = subject.platform, subject.platform.capabilities
        old, new = subject.start(subject.good), subject.start(subject.better)
        platform.shift_traffic({old.id: 100})
        calls = {
            Capability.WEIGHTED_TRAFFIC: lambda: platform.shift_traffic({old.id: 50, new.id: 50}),
            Capability.SCALE: lambda: platform.scale_release(old.id, 2),
            Capability.MAINTENANCE: lambda: platform.set_maintenance("some-run"),
        }
        for call in (call for capability, call in calls.items() if capability not in able):
            with pytest.raises(RefusedByPlatform):
                call()
        assert platform.read_traffic() == {old.id: 100}
        assert platform.read_maintenance() == ""
        assert subject.read(old.id).replicas == 1

    # No answer

    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
    def test_no_answer_in_time_is_unreachable(self, subject: Subject, call: Callable[[Platform], object]) -> None:
        began = monotonic()
        with pytest.raises(Unreachable) as unreachable:
            call(subject.silent)
        assert monotonic() - began < 2
        assert unreachable.value.hint
