"""The Vercel platform keeps the contract, and keeps to what Vercel publishes about its API."""

import logging
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import pytest

from blocks.errors import RefusedByPlatform, RefusedBySink, Unreachable
from blocks.platforms.vercel import VercelPlatform
from blocks.sinks.platform_sealed import PlatformSealed
from blocks.sinks.platform_variables import PlatformVariables
from tests.blocks.platforms.contract import PlatformContract, Subject, TrafficContract
from tests.blocks.platforms.daemon import Daemon
from tests.blocks.platforms.waiting import eventually
from tests.blocks.sinks.contract import SinkContract
from tests.blocks.sinks.contract import Subject as SinkSubject
from tests.blocks.stores.faults import Fault, FaultProxy, running_proxy
from tests.standins.description import described
from tests.standins.vercel import NAME, REPOSITORY, TEAM, TOKEN, VercelStandIn, running_vercel
from tests.standins.vercel_rolling_release import with_what_leads_it_on

pytestmark = pytest.mark.timeout(60)

VARIABLE = "VERCEL_TOKEN"


@pytest.fixture(scope="module")
def vercel(daemon: Daemon) -> Iterator[VercelStandIn]:
    with running_vercel(daemon.platform, described("vercel", with_what_leads_it_on)) as standing_in:
        yield standing_in


@pytest.fixture(scope="module")
def proxy(vercel: VercelStandIn) -> Iterator[FaultProxy]:
    with running_proxy(vercel.url) as proxy:
        yield proxy


@pytest.fixture
def platform(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> VercelPlatform:
    monkeypatch.setenv(VARIABLE, TOKEN)
    monkeypatch.setattr(VercelPlatform, "look_seconds", 0.05)
    return VercelPlatform(
        project=NAME, team=TEAM, repository=REPOSITORY, token=f"${{{VARIABLE}}}", url=proxy.endpoint, timeout=10
    )


@pytest.fixture
def subject(subject: Subject, vercel: VercelStandIn, proxy: FaultProxy, platform: VercelPlatform) -> Iterator[Subject]:
    """On the sandbox's own, which is beneath."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = f"http://127.0.0.1:{listener.getsockname()[1]}"
        silent = platform.model_copy(update={"url": nobody, "timeout": 0.3})
        yield Subject(platform, subject.address, subject.good, subject.better, subject.broken, silent)
    proxy.faults.clear()
    vercel.forget()
    assert vercel.violations == []


class TestContract(PlatformContract):
    @pytest.fixture
    def subject(self, subject: Subject) -> Subject:
        return subject

    def test_a_commit_that_is_not_the_versions_is_refused(self, subject: Subject) -> None:
        pytest.skip("Vercel builds the commit that it is told; a deploy has compared the two before")


STAGES = [10, 50, 100]


class TestInStages(TrafficContract):
    """With rolling releases."""

    @pytest.fixture
    def subject(self, subject: Subject, platform: VercelPlatform, vercel: VercelStandIn) -> Iterator[Subject]:
        vercel.stages = STAGES
        rolling = platform.model_copy(update={"rolling": True})
        silent = subject.silent.model_copy(update={"rolling": True})
        yield replace(subject, platform=rolling, silent=silent)
        vercel.stages = []

    def test_its_stages_are_the_projects(self, subject: Subject) -> None:
        assert subject.platform.read_stages() == STAGES

    def test_it_goes_up_the_stages_and_no_other_way(self, subject: Subject) -> None:
        platform = subject.platform
        old, new, other = subject.start(subject.good), subject.start(subject.better), subject.start(subject.better)
        platform.shift_traffic({old.id: 100})
        half = {old.id: 50, new.id: 50}
        platform.shift_traffic(half)
        for split, words in (
            ({old.id: 90, new.id: 10}, "does not go back to 10 %"),
            ({old.id: 80, new.id: 20}, "no stage of the project: 10 %, 50 %"),
            ({old.id: 90, other.id: 10}, "in progress"),
        ):
            with pytest.raises(RefusedByPlatform, match=words):
                platform.shift_traffic(split)
        assert platform.read_traffic() == half

    def test_what_never_had_traffic_gets_all_of_it_through_the_first_stage(
        self, subject: Subject, proxy: FaultProxy
    ) -> None:
        old, new = subject.start(subject.good), subject.start(subject.better)
        subject.platform.shift_traffic({old.id: 100})
        proxy.requests.clear()
        subject.platform.shift_traffic({new.id: 100})
        assert (proxy.asked("POST", "/promote/"), proxy.asked("POST", "/complete")) == (1, 1)
        assert subject.visit() == subject.better.version

    def test_a_stage_that_comes_too_late_is_unreachable_and_found_later(
        self, subject: Subject, vercel: VercelStandIn
    ) -> None:
        old, new = subject.start(subject.good), subject.start(subject.better)
        subject.platform.shift_traffic({old.id: 100})
        vercel.misbehaviour.promotion_seconds = 6
        with pytest.raises(Unreachable, match="has not given"):
            subject.platform.model_copy(update={"timeout": 4}).shift_traffic({old.id: 90, new.id: 10})
        eventually(lambda: subject.platform.read_traffic() == {old.id: 90, new.id: 10})

    @pytest.mark.parametrize(
        ("kind", "call"),
        [
            ("lose answer", "/promote/"),
            ("lose answer", "/approve-stage"),
            ("lose answer", "/complete"),
            ("429", "/approve-stage"),
        ],
    )
    def test_a_call_that_was_not_answered_or_put_off_is_made_once(
        self, subject: Subject, proxy: FaultProxy, call: str, kind: Literal["lose answer", "429"]
    ) -> None:
        old, new = subject.start(subject.good), subject.start(subject.better)
        subject.platform.shift_traffic({old.id: 100})
        proxy.faults.append(Fault(kind, "POST", call))
        splits = [{old.id: 90, new.id: 10}, {old.id: 50, new.id: 50}, {new.id: 100}]
        for split in splits:
            try:
                subject.platform.shift_traffic(split)
            except Unreachable:
                eventually(lambda split=split: subject.platform.read_traffic() == split)  # type: ignore[misc]
                subject.platform.shift_traffic(split)
        assert subject.visit() == subject.better.version

    def test_stages_that_end_by_themselves_are_refused(self, subject: Subject, vercel: VercelStandIn) -> None:
        vercel.misbehaviour.stages_by_themselves = True
        with pytest.raises(RefusedByPlatform, match="10 % goes on by itself"):
            subject.platform.read_stages()

    def test_a_project_that_is_not_as_it_is_said_is_refused(
        self, subject: Subject, platform: VercelPlatform, vercel: VercelStandIn
    ) -> None:
        build = subject.good
        with pytest.raises(RefusedByPlatform, match="has rolling releases"):
            platform.start_release(build.version, build.commit, "run")
        vercel.stages = []
        with pytest.raises(RefusedByPlatform, match="has no rolling releases"):
            subject.platform.start_release(build.version, build.commit, "run")


class TestTraffic:
    def test_a_promotion_that_takes_too_long_is_unreachable_and_may_come_later(
        self, subject: Subject, platform: VercelPlatform, vercel: VercelStandIn
    ) -> None:
        release = subject.start(subject.good)
        vercel.misbehaviour.promotion_seconds = 6
        hurried = platform.model_copy(update={"timeout": 4})
        with pytest.raises(Unreachable, match="has not given"):
            hurried.shift_traffic({release.id: 100})
        eventually(lambda: platform.read_traffic() == {release.id: 100})

    def test_one_that_fails_is_refused_and_leaves_the_traffic(
        self, subject: Subject, platform: VercelPlatform, vercel: VercelStandIn
    ) -> None:
        old, new = subject.start(subject.good), subject.start(subject.better)
        platform.shift_traffic({old.id: 100})
        vercel.misbehaviour.promotion = "failed"
        with pytest.raises(RefusedByPlatform, match="could not give"):
            platform.shift_traffic({new.id: 100})
        assert platform.read_traffic() == {old.id: 100}
        assert subject.visit() == subject.good.version

    def test_what_had_traffic_before_gets_it_back_by_a_rollback(
        self, subject: Subject, platform: VercelPlatform, proxy: FaultProxy
    ) -> None:
        old, new = subject.start(subject.good), subject.start(subject.better)
        proxy.requests.clear()
        for release in (old, new, old):
            platform.shift_traffic({release.id: 100})
        assert (proxy.asked("POST", "/promote/"), proxy.asked("POST", "/rollback/")) == (2, 1)
        assert subject.visit() == subject.good.version


class TestStarting:
    def test_a_project_that_gives_away_its_domains_at_once_is_refused(
        self, subject: Subject, platform: VercelPlatform, vercel: VercelStandIn
    ) -> None:
        vercel.auto_assign = True
        try:
            with pytest.raises(RefusedByPlatform, match="domains at once"):
                platform.start_release(subject.good.version, subject.good.commit, "run")
        finally:
            vercel.auto_assign = False
        assert platform.read_releases() == []

    @pytest.mark.parametrize("kind", ["lose answer", "429"])
    def test_one_that_was_not_answered_or_put_off_is_started_once(
        self, subject: Subject, platform: VercelPlatform, proxy: FaultProxy, kind: Literal["lose answer", "429"]
    ) -> None:
        proxy.faults.append(Fault(kind, "POST", "/v13/deployments"))
        asked = (subject.good.version, subject.good.commit, "run-once")
        if kind == "lose answer":
            with pytest.raises(Unreachable):
                platform.start_release(*asked)
        started = platform.start_release(*asked)
        assert [one.id for one in platform.read_releases()] == [started.id]


class TestVariables:
    def test_some_that_vercel_did_not_take_are_named_without_their_values(
        self, subject: Subject, platform: VercelPlatform, vercel: VercelStandIn
    ) -> None:
        vercel.misbehaviour.refused_variables = {"OTHER"}
        with pytest.raises(Unreachable, match="OTHER") as raised:
            platform.set_variables({"ONE": "taken-value", "OTHER": "refused-value"})
        assert "-value" not in repr(raised.value)
        assert platform.read_variables() == {"ONE": "taken-value"}

    def test_what_cannot_be_read_back_stays(
        self, subject: Subject, platform: VercelPlatform, vercel: VercelStandIn
    ) -> None:
        vercel.add_variable("HIDDEN", "value", "sensitive", "production")
        platform.set_variables({"ONE": "1"})
        platform.set_variables({})
        assert platform.read_variables() == {}
        assert vercel.keys() == ["HIDDEN"]
        assert platform.read_sealed().keys() == {"HIDDEN"}

    def test_what_cannot_be_read_back_is_no_variable_among_others(
        self, subject: Subject, platform: VercelPlatform, vercel: VercelStandIn
    ) -> None:
        vercel.add_variable("HIDDEN", "value", "sensitive", "production")
        vercel.add_variable("SHOWN", "value", "encrypted", "production")
        for act, name in ((platform.set_variables, "HIDDEN"), (platform.write_sealed, "SHOWN")):
            with pytest.raises(RefusedByPlatform, match=name):
                act({"ONE": "1", name: "other"})
        assert vercel.held == {"HIDDEN": "value", "SHOWN": "value"}
        with pytest.raises(RefusedBySink, match="has HIDDEN and does not give it back"):
            PlatformVariables(type="platform").read(platform, ["SHOWN", "HIDDEN"])

    def test_one_that_previews_have_too_is_refused(
        self, subject: Subject, platform: VercelPlatform, vercel: VercelStandIn
    ) -> None:
        vercel.add_variable("SHARED", "value", "encrypted", "production", "preview")
        with pytest.raises(RefusedByPlatform, match="SHARED"):
            platform.set_variables({"SHARED": "other"})

    def test_those_of_previews_alone_are_nobodys_business(
        self, subject: Subject, platform: VercelPlatform, vercel: VercelStandIn
    ) -> None:
        vercel.add_variable("ONE", "of previews", "encrypted", "preview")
        platform.set_variables({"ONE": "1"})
        platform.set_variables({})
        assert vercel.keys() == ["ONE"]


class TestSealedVariables(SinkContract):
    """As a sink: sensitive ones."""

    @pytest.fixture
    def subject(self, subject: Subject, platform: VercelPlatform, vercel: VercelStandIn) -> SinkSubject:
        return SinkSubject(PlatformSealed(type="platform-sealed"), platform, vercel.held)

    def test_every_write_of_one_moves_its_mark_and_no_others(self, subject: SinkSubject) -> None:
        sink, platform = PlatformSealed(type="platform-sealed"), subject.platform
        sink.write(platform, {"NAME": "value", "OTHER": "value"})
        before = sink.read_marks(platform, ["NAME", "OTHER", "NONE"])
        sink.write(platform, {"NAME": "value"})
        after = sink.read_marks(platform, ["NAME", "OTHER"])
        assert before.keys() == {"NAME", "OTHER"}
        assert (after["NAME"] != before["NAME"], after["OTHER"] == before["OTHER"]) == (True, True)


class TestErrors:
    def test_a_refusal_quotes_vercels_own_number_of_the_call(self, subject: Subject, platform: VercelPlatform) -> None:
        with pytest.raises(RefusedByPlatform, match=r"Project not found \(its number of the call: iad1::"):
            platform.model_copy(update={"project": "another"}).read_traffic()

    def test_no_token_is_told_or_logged(
        self,
        subject: Subject,
        platform: VercelPlatform,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        subject.start(subject.good)
        monkeypatch.setenv(VARIABLE, "expired-token-of-the-test")
        for asked, error in ((platform, RefusedByPlatform), (subject.silent, Unreachable)):
            with pytest.raises(error) as raised:
                asked.read_releases()
            assert "token-of-the-test" not in repr(raised.value)
            assert raised.value.hint
        assert "token-of-the-test" not in caplog.text
