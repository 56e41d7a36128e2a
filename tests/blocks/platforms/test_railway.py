"""The Railway platform keeps the contract, and keeps to what Railway publishes about its API."""

import logging
import socket
from collections.abc import Iterator

import pytest

from blocks.errors import RefusedByPlatform, Unreachable
from blocks.platforms.railway import RailwayPlatform
from tests.blocks.platforms.builds import Build
from tests.blocks.platforms.contract import PlatformContract, Subject
from tests.blocks.platforms.daemon import Daemon
from tests.blocks.platforms.waiting import eventually
from tests.blocks.stores.faults import FaultProxy, running_proxy
from tests.standins.railway import ENVIRONMENT, PROJECT, SERVICE, TOKEN, RailwayStandIn, running_railway

pytestmark = pytest.mark.timeout(60)

VARIABLE = "RAILWAY_TOKEN"


@pytest.fixture(scope="module")
def railway(daemon: Daemon, builds: list[Build]) -> Iterator[RailwayStandIn]:
    versions = {build.commit: build.version for build in builds}
    with running_railway(daemon.platform, lambda commit: versions.get(commit, "")) as standing_in:
        yield standing_in


@pytest.fixture(scope="module")
def proxy(railway: RailwayStandIn) -> Iterator[FaultProxy]:
    with running_proxy(railway.url) as proxy:
        yield proxy


@pytest.fixture
def platform(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> RailwayPlatform:
    monkeypatch.setenv(VARIABLE, TOKEN)
    monkeypatch.setattr(RailwayPlatform, "look_seconds", 0.1)
    return RailwayPlatform(
        project=PROJECT,
        railway_environment=ENVIRONMENT,
        service=SERVICE,
        token=f"${{{VARIABLE}}}",
        url=proxy.endpoint,
        timeout=20,
    )


@pytest.fixture
def subject(
    subject: Subject, railway: RailwayStandIn, proxy: FaultProxy, platform: RailwayPlatform
) -> Iterator[Subject]:
    """On the sandbox's own, which is beneath."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = f"http://127.0.0.1:{listener.getsockname()[1]}"
        silent = platform.model_copy(update={"url": nobody, "timeout": 0.3})
        yield Subject(platform, subject.address, subject.good, subject.better, subject.broken, silent)
    proxy.faults.clear()
    railway.forget()
    assert railway.violations == []


class TestContract(PlatformContract):
    @pytest.fixture
    def subject(self, subject: Subject) -> Subject:
        return subject

    def test_a_commit_that_is_not_the_versions_is_refused(self, subject: Subject) -> None:
        pytest.skip("Railway deploys a commit and knows no version; a deploy has compared the two before")

    @pytest.mark.parametrize("version", ["v1; rm -rf /", "../x", "", "x" * 10_000, "--help"])
    def test_a_version_that_is_not_there_is_refused(self, subject: Subject, version: str) -> None:
        """One that looks like a tag is none of Railway's business: a deploy has read its commit before."""
        super().test_a_version_that_is_not_there_is_refused(subject, version)


class TestStarting:
    def test_what_is_started_takes_the_traffic_as_soon_as_it_is_healthy(
        self, subject: Subject, platform: RailwayPlatform, railway: RailwayStandIn
    ) -> None:
        old = subject.start(subject.good)
        railway.misbehaviour.healthy_seconds = 1
        new = platform.start_release(subject.better.version, subject.better.commit, "run")
        assert new.state == "starting"
        assert platform.read_traffic() == {old.id: 100}
        eventually(lambda: platform.read_traffic() == {new.id: 100})
        assert subject.visit() == subject.better.version
        assert subject.read(old.id).state == "stopped"

    def test_what_is_on_its_way_is_given_up_and_never_gets_the_traffic(
        self, subject: Subject, platform: RailwayPlatform, railway: RailwayStandIn
    ) -> None:
        old = subject.start(subject.good)
        railway.misbehaviour.healthy_seconds = 0.5
        new = platform.start_release(subject.better.version, subject.better.commit, "run")
        for _ in range(2):
            platform.stop_release(new.id)
        assert subject.read(new.id).state == "stopped"
        third = subject.start(subject.better)
        assert platform.read_traffic() == {third.id: 100} != {old.id: 100}

    def test_one_that_was_carried_out_and_answered_with_an_error_is_started_once(
        self, subject: Subject, platform: RailwayPlatform, railway: RailwayStandIn
    ) -> None:
        asked = (subject.good.version, subject.good.commit, "run-once")
        railway.misbehaviour.fails_afterwards = {"serviceInstanceDeployV2"}
        with pytest.raises(Unreachable, match="Problem processing request"):
            platform.start_release(*asked)
        started = platform.start_release(*asked)
        assert [one.id for one in platform.read_releases()] == [started.id]
        assert len(railway.deployments()) == 1

    def test_one_that_is_not_listed_at_once_is_not_taken_for_refused(
        self, subject: Subject, platform: RailwayPlatform, railway: RailwayStandIn
    ) -> None:
        asked = (subject.good.version, subject.good.commit, "run-unseen")
        railway.misbehaviour.hides_newest, railway.misbehaviour.healthy_seconds = 1, 1
        with pytest.raises(Unreachable, match="does not list"):
            platform.start_release(*asked)
        railway.misbehaviour.hides_newest = 0
        assert platform.start_release(*asked).started_by == "run-unseen"
        assert len(railway.deployments()) == 1

    def test_what_has_the_traffic_is_known_however_many_came_to_nothing_since(
        self, subject: Subject, platform: RailwayPlatform, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("blocks.platforms.railway._PAGE", 1)
        old = subject.start(subject.good)
        new = platform.start_release(subject.broken.version, subject.broken.commit, "run-broken")
        eventually(lambda: subject.read(new.id).state == "failed")
        assert platform.read_traffic() == {old.id: 100}
        assert [one.id for one in platform.read_releases()] == [new.id, old.id]

    def test_one_that_was_put_off_is_asked_for_again(
        self, subject: Subject, platform: RailwayPlatform, railway: RailwayStandIn
    ) -> None:
        railway.misbehaviour.puts_off = {"deploy"}
        platform.start_release(subject.good.version, subject.good.commit, "run-later")
        assert len(railway.deployments()) == 1
        assert not railway.misbehaviour.puts_off

    def test_an_unknown_commit_is_refused(self, subject: Subject, platform: RailwayPlatform) -> None:
        with pytest.raises(RefusedByPlatform, match="Commit not found"):
            platform.start_release("v9.9.9", "0" * 40, "run")
        assert platform.read_releases() == []


class TestReturning:
    def test_a_rollback_makes_another_deployment_of_the_same_release(
        self, subject: Subject, platform: RailwayPlatform, railway: RailwayStandIn
    ) -> None:
        old = subject.start(subject.good)
        subject.start(subject.better)
        platform.shift_traffic({old.id: 100})
        assert len(railway.deployments()) == 3
        assert [one.version for one in platform.read_releases()] == [subject.better.version, subject.good.version]

    def test_what_somebody_else_deployed_is_returned_to_by_its_commit(
        self, subject: Subject, platform: RailwayPlatform, railway: RailwayStandIn
    ) -> None:
        railway.deploy_by_hand(subject.good.commit)
        eventually(lambda: platform.read_traffic() == {subject.good.commit: 100})
        subject.start(subject.better)
        platform.shift_traffic({subject.good.commit: 100})
        assert subject.visit() == subject.good.version

    def test_another_commit_by_hand_is_not_taken_for_ours(
        self, subject: Subject, platform: RailwayPlatform, railway: RailwayStandIn
    ) -> None:
        """It begins with the marks of the release before, as with every variable."""
        ours = subject.start(subject.good)
        railway.deploy_by_hand(subject.better.commit)
        eventually(lambda: platform.read_traffic() == {subject.better.commit: 100})
        assert subject.read(ours.id).state == "stopped"

    def test_what_railway_keeps_no_more_is_refused(
        self, subject: Subject, platform: RailwayPlatform, railway: RailwayStandIn
    ) -> None:
        old, new = subject.start(subject.good), subject.start(subject.better)
        railway.misbehaviour.keeps_for_rollback = False
        with pytest.raises(RefusedByPlatform, match="cannot return"):
            platform.shift_traffic({old.id: 100})
        assert platform.read_traffic() == {new.id: 100}

    def test_one_that_takes_too_long_is_waited_for_when_asked_again(
        self, subject: Subject, platform: RailwayPlatform, railway: RailwayStandIn
    ) -> None:
        old = subject.start(subject.good)
        subject.start(subject.better)
        railway.misbehaviour.healthy_seconds = 6
        with pytest.raises(Unreachable, match="has not given"):
            platform.model_copy(update={"timeout": 4}).shift_traffic({old.id: 100})
        platform.shift_traffic({old.id: 100})
        assert len(railway.deployments()) == 3
        assert platform.read_traffic() == {old.id: 100}


class TestVariables:
    def test_changing_them_deploys_nothing_and_railways_own_are_left_out(
        self, subject: Subject, platform: RailwayPlatform, railway: RailwayStandIn
    ) -> None:
        release = subject.start(subject.good)
        for variables in ({"ONE": "1", "OTHER": "2"}, {"ONE": "changed"}):
            platform.set_variables(variables)
            assert platform.read_variables() == variables
        assert len(railway.deployments()) == 1
        assert subject.read(release.id).started_by == release.started_by, "its marks stay"

    @pytest.mark.parametrize("name", ["RAILWAY_ENVIRONMENT", "BACKSTOP_RUN", "no name"])
    def test_names_that_are_not_the_users_are_refused(
        self, subject: Subject, platform: RailwayPlatform, name: str
    ) -> None:
        with pytest.raises(RefusedByPlatform):
            platform.set_variables({name: "value"})


class TestErrors:
    def test_a_refusal_with_status_200_is_one(self, subject: Subject, platform: RailwayPlatform) -> None:
        with pytest.raises(RefusedByPlatform, match="Not Authorized") as raised:
            platform.model_copy(update={"service": "another"}).read_traffic()
        assert "project token" in raised.value.hint

    def test_no_token_is_told_or_logged(
        self,
        subject: Subject,
        platform: RailwayPlatform,
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
