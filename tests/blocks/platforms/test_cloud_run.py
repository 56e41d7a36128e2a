"""The Cloud Run platform keeps the contract, and keeps to what Google publishes about its API."""

import json
import logging
import socket
from collections.abc import Iterator
from typing import ClassVar

import httpx
import pytest
from pydantic import ValidationError

from blocks.errors import RefusedByPlatform, Unreachable
from blocks.platforms.cloud_run import CloudRunPlatform
from blocks.platforms.interface import Capability
from tests.blocks.platforms.builds import Build
from tests.blocks.platforms.contract import PlatformContract, Subject, ask
from tests.blocks.platforms.daemon import Daemon
from tests.blocks.platforms.waiting import eventually
from tests.blocks.stores.faults import Fault, FaultProxy, running_proxy
from tests.standins.cloud_run import FIRST, IMAGE, NAME, PROJECT, REGION, CloudRunStandIn, running_cloud_run
from tests.standins.google_token import TOKEN_MARK, GoogleTokens, running_google_tokens

pytestmark = pytest.mark.timeout(60)

VARIABLE = "GOOGLE_CREDENTIALS"


@pytest.fixture(scope="module")
def tokens() -> Iterator[GoogleTokens]:
    with running_google_tokens() as tokens:
        yield tokens


@pytest.fixture(scope="module")
def cloud_run(daemon: Daemon, builds: list[Build], tokens: GoogleTokens) -> Iterator[CloudRunStandIn]:
    images = {build.version: build.commit for build in builds}
    with running_cloud_run(daemon.platform, tokens, images) as standing_in:
        yield standing_in


@pytest.fixture(scope="module")
def proxy(cloud_run: CloudRunStandIn) -> Iterator[FaultProxy]:
    with running_proxy(cloud_run.url) as proxy:
        yield proxy


@pytest.fixture
def platform(proxy: FaultProxy, tokens: GoogleTokens, monkeypatch: pytest.MonkeyPatch) -> CloudRunPlatform:
    monkeypatch.setenv(VARIABLE, tokens.key())
    monkeypatch.setattr(CloudRunPlatform, "look_seconds", 0.05)
    return CloudRunPlatform(
        project=PROJECT,
        region=REGION,
        service=NAME,
        image=IMAGE,
        credentials=f"${{{VARIABLE}}}",
        url=proxy.endpoint,
        logging_url=proxy.endpoint,
        scale_to_zero=True,
        timeout=10,
    )


@pytest.fixture
def subject(
    subject: Subject, cloud_run: CloudRunStandIn, proxy: FaultProxy, platform: CloudRunPlatform
) -> Iterator[Subject]:
    """On the sandbox's own, which is beneath."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = f"http://127.0.0.1:{listener.getsockname()[1]}"
        silent = platform.model_copy(update={"url": nobody, "logging_url": nobody, "timeout": 0.3})
        builds = (subject.good, subject.better, subject.broken)
        yield Subject(platform, subject.address, *builds, silent, says_when=False)
    proxy.faults.clear()
    cloud_run.forget()
    assert cloud_run.violations == []


class TestContract(PlatformContract):
    @pytest.fixture
    def subject(self, subject: Subject) -> Subject:
        return subject

    def test_a_new_environment_has_no_traffic(self, subject: Subject) -> None:
        assert subject.platform.read_traffic() == {FIRST: 100}, "a service is made with its first revision"

    @pytest.mark.parametrize("version", ["v1; rm -rf /", "../x", "", "x" * 10_000, "--help"])
    def test_a_version_that_is_not_there_is_refused(self, subject: Subject, version: str) -> None:
        super().test_a_version_that_is_not_there_is_refused(subject, version)

    def test_a_commit_that_is_not_the_versions_is_refused(self, subject: Subject) -> None:
        pytest.skip("Cloud Run says nothing of the commit that an image was built of")


class TestStarting:
    def test_what_follows_the_latest_revision_is_pinned_to_it_by_name(
        self, subject: Subject, platform: CloudRunPlatform
    ) -> None:
        release = subject.start(subject.good)
        assert platform.read_traffic() == {FIRST: 100}
        assert ask(release) == subject.good.version

    def test_an_image_that_is_not_there_makes_a_release_that_fails(
        self, subject: Subject, platform: CloudRunPlatform
    ) -> None:
        release = platform.start_release("v9.9.9", subject.good.commit, "run")
        eventually(lambda: subject.read(release.id).state == "failed")
        assert "not found" in subject.read(release.id).detail
        assert platform.read_traffic() == {FIRST: 100}

    @pytest.mark.parametrize("seconds", [0.05, 2])
    def test_one_that_failed_is_in_the_way_of_nothing(
        self, subject: Subject, platform: CloudRunPlatform, cloud_run: CloudRunStandIn, seconds: float
    ) -> None:
        """Also while Cloud Run is still at it."""
        good = subject.start(subject.good)
        cloud_run.misbehaviour.seconds = seconds
        broken = platform.start_release(subject.broken.version, subject.broken.commit, "run-broken")
        eventually(lambda: subject.read(broken.id).state == "failed")
        cloud_run.misbehaviour.seconds = 0.05
        platform.shift_traffic({good.id: 100})
        assert platform.read_traffic() == {good.id: 100}
        assert ask(subject.start(subject.better)) == subject.better.version

    def test_one_that_has_no_address_yet_is_still_starting(
        self, subject: Subject, platform: CloudRunPlatform, cloud_run: CloudRunStandIn
    ) -> None:
        cloud_run.misbehaviour.seconds = 1
        assert ask(subject.start(subject.good)) == subject.good.version

    def test_one_that_is_not_listed_yet_is_starting_and_not_started_again(
        self, subject: Subject, platform: CloudRunPlatform, cloud_run: CloudRunStandIn, proxy: FaultProxy
    ) -> None:
        cloud_run.misbehaviour.lists_late = True
        proxy.requests.clear()
        begun = [platform.start_release(subject.good.version, subject.good.commit, "run") for _ in range(2)]
        assert {one.id for one in begun} == {platform.read_releases()[0].id}
        assert proxy.asked("PATCH") == 1

    def test_one_that_was_not_answered_is_started_once(
        self, subject: Subject, platform: CloudRunPlatform, proxy: FaultProxy
    ) -> None:
        proxy.faults.append(Fault("lose answer", "PATCH"))
        asked = (subject.good.version, subject.good.commit, "run-once")
        with pytest.raises(Unreachable):
            platform.start_release(*asked)
        started = platform.start_release(*asked)
        assert [one.id for one in platform.read_releases()] == [started.id, FIRST]

    def test_one_that_was_answered_with_500_is_started_once(
        self, subject: Subject, platform: CloudRunPlatform, cloud_run: CloudRunStandIn
    ) -> None:
        cloud_run.misbehaviour.failed_answers = 1
        asked = (subject.good.version, subject.good.commit, "run-once")
        with pytest.raises(Unreachable, match="500"):
            platform.start_release(*asked)
        started = platform.start_release(*asked)
        assert [one.id for one in platform.read_releases()] == [started.id, FIRST]

    def test_one_that_was_put_off_is_started_once(
        self, subject: Subject, platform: CloudRunPlatform, proxy: FaultProxy
    ) -> None:
        proxy.faults.append(Fault("429", "PATCH"))
        started = platform.start_release(subject.good.version, subject.good.commit, "run-once")
        assert [one.id for one in platform.read_releases()] == [started.id, FIRST]

    def test_what_somebody_else_changed_meanwhile_is_not_overwritten(
        self, subject: Subject, platform: CloudRunPlatform, cloud_run: CloudRunStandIn
    ) -> None:
        cloud_run.misbehaviour.changes_meanwhile = True
        with pytest.raises(RefusedByPlatform, match="Conflict"):
            platform.start_release(subject.good.version, subject.good.commit, "run")
        assert [one.id for one in platform.read_releases()] == [FIRST]

    def test_only_the_newest_releases_without_traffic_keep_their_address(
        self, subject: Subject, platform: CloudRunPlatform
    ) -> None:
        started = [subject.start(subject.good) for _ in range(4)]
        assert [subject.read(one.id).url is None for one in started] == [True, False, False, False]
        platform.shift_traffic({started[0].id: 100})
        assert subject.visit() == subject.good.version

    def test_what_somebody_else_deploys_is_not_taken_for_ones_own(
        self, subject: Subject, platform: CloudRunPlatform, cloud_run: CloudRunStandIn
    ) -> None:
        """Its template has the annotations of the release before."""
        own = subject.start(subject.good)
        cloud_run.deploy_by_hand(subject.better.version)
        newest = platform.read_releases()[0]
        assert newest.id != own.id
        assert (newest.version, newest.commit, newest.started_by) == (subject.better.version, "", "")

    def test_the_rest_of_the_template_stays(
        self, subject: Subject, platform: CloudRunPlatform, cloud_run: CloudRunStandIn
    ) -> None:
        before = cloud_run.template()
        subject.start(subject.good)
        after = cloud_run.template()
        own = {"revision", "annotations", "containers"}
        assert {name: one for name, one in after.items() if name not in own} == {"timeout": before["timeout"]}
        assert after["containers"][0] == {
            **before["containers"][0],
            "image": f"{IMAGE}:{subject.good.version}",
            "env": [],
        }


class TestSize:
    SAID: ClassVar = {"cpu": "2", "memory": "4Gi", "max_instances": 20}

    def test_what_is_said_of_it_the_next_release_gets_and_a_plan_tells(
        self, subject: Subject, platform: CloudRunPlatform, cloud_run: CloudRunStandIn
    ) -> None:
        container = cloud_run.spec["template"]["containers"][0]
        container["resources"] = {
            "limits": {"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": "1"},
            "startupCpuBoost": True,
        }
        cloud_run.spec["template"]["scaling"] = {"minInstanceCount": 1, "maxInstanceCount": 5}
        subject.start(subject.good)
        template = cloud_run.template()
        assert platform.describe_start() == ""
        assert (template["containers"][0]["resources"], template["scaling"]["maxInstanceCount"]) == (
            container["resources"],
            5,
        )

        larger = platform.model_copy(update=self.SAID)
        told = "Whatever the template says, it gets: CPU 2, memory 4Gi, instances at most 20."
        assert larger.describe_start() == told
        started = larger.start_release(subject.good.version, subject.good.commit, "run-larger")
        eventually(lambda: subject.read(started.id).state == "running")
        template = cloud_run.template()
        assert template["containers"][0]["resources"] == {
            "limits": {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "1"},
            "startupCpuBoost": True,
        }
        assert template["scaling"] == {"minInstanceCount": 1, "maxInstanceCount": 20}

    def test_a_template_that_said_nothing_of_it_does_not_begin_to_pay_for_cpu_between_requests(
        self, subject: Subject, platform: CloudRunPlatform, cloud_run: CloudRunStandIn
    ) -> None:
        larger = platform.model_copy(update={"memory": "2Gi"})
        larger.start_release(subject.good.version, subject.good.commit, "run-larger")
        template = cloud_run.template()
        assert template["containers"][0]["resources"] == {"cpuIdle": True, "limits": {"memory": "2Gi"}}
        assert "scaling" not in template

    @pytest.mark.parametrize(
        ("field", "value"),
        [("cpu", "two"), ("cpu", "0"), ("memory", "4"), ("memory", "4GB"), ("max_instances", 0)],
    )
    def test_what_no_size_looks_like_is_refused(self, platform: CloudRunPlatform, field: str, value: object) -> None:
        with pytest.raises(ValidationError, match=field):
            CloudRunPlatform.model_validate({**platform.model_dump(), field: value})

    def test_a_number_of_cpus_may_be_written_as_one(self, platform: CloudRunPlatform) -> None:
        assert CloudRunPlatform.model_validate({**platform.model_dump(), "cpu": 2}).cpu == "2"


class TestTraffic:
    def test_a_change_that_takes_too_long_is_unreachable_and_may_come_later(
        self, subject: Subject, platform: CloudRunPlatform, cloud_run: CloudRunStandIn
    ) -> None:
        release = subject.start(subject.good)
        cloud_run.misbehaviour.seconds = 6
        with pytest.raises(Unreachable, match="has not changed the traffic yet"):
            platform.model_copy(update={"timeout": 4}).shift_traffic({release.id: 100})
        eventually(lambda: platform.read_traffic() == {release.id: 100})

    def test_one_that_is_done_with_an_error_is_refused_and_comes_to_nothing_later(
        self, subject: Subject, platform: CloudRunPlatform, cloud_run: CloudRunStandIn
    ) -> None:
        old, new = subject.start(subject.good), subject.start(subject.better)
        platform.shift_traffic({old.id: 100})
        cloud_run.misbehaviour.operation_error = "There is no capacity."
        with pytest.raises(RefusedByPlatform, match="There is no capacity"):
            platform.shift_traffic({new.id: 100})
        assert platform.read_traffic() == {old.id: 100}
        platform.set_variables({"GREETING": "of the next"})  # with whatever is changed next, what is wanted comes, too
        subject.start(subject.good)
        assert platform.read_traffic() == {old.id: 100}
        assert subject.visit() == subject.good.version

    def test_a_token_that_was_revoked_is_replaced(
        self, subject: Subject, platform: CloudRunPlatform, tokens: GoogleTokens
    ) -> None:
        release = subject.start(subject.good)
        tokens.revoke()
        platform.shift_traffic({release.id: 100})
        assert platform.read_traffic() == {release.id: 100}


class TestMaintenance:
    BEFORE: ClassVar = {"scalingMode": "AUTOMATIC", "minInstanceCount": 1, "maxInstanceCount": 5}

    def test_the_scaling_of_before_comes_back_and_nothing_else_changes(
        self, subject: Subject, platform: CloudRunPlatform, cloud_run: CloudRunStandIn, proxy: FaultProxy
    ) -> None:
        cloud_run.spec["scaling"] = self.BEFORE
        platform.set_variables({"GREETING": "of the next"})
        before = json.dumps(cloud_run.spec)
        proxy.requests.clear()
        for by in ("run-1", "run-1", "", ""):
            platform.set_maintenance(by)
            assert platform.read_maintenance() == by
        assert json.dumps(cloud_run.spec) == before
        assert proxy.asked("PATCH") == 2

    def test_what_is_started_meanwhile_answers_and_gets_the_visitors_afterwards(
        self, subject: Subject, platform: CloudRunPlatform
    ) -> None:
        old = subject.start(subject.good)
        platform.shift_traffic({old.id: 100})
        platform.set_maintenance("run-1")
        assert subject.read(old.id).url is None
        new = subject.start(subject.better)
        assert ask(new) == subject.better.version
        platform.shift_traffic({new.id: 100})
        assert (subject.read(new.id).url, platform.read_traffic()) == (None, {new.id: 100})
        with pytest.raises(httpx.HTTPStatusError, match="503"):
            subject.visit()
        platform.set_maintenance("")
        assert subject.visit() == subject.better.version == ask(subject.read(new.id))

    def test_whoever_is_taken_over_from_is_known_and_so_is_the_way_back(
        self, subject: Subject, platform: CloudRunPlatform, cloud_run: CloudRunStandIn, proxy: FaultProxy
    ) -> None:
        """A run that died before it was answered."""
        cloud_run.spec["scaling"] = self.BEFORE
        proxy.faults.append(Fault("lose answer", "PATCH"))
        with pytest.raises(Unreachable):
            platform.set_maintenance("run-1")
        eventually(lambda: platform.read_maintenance() == "run-1")
        platform.set_maintenance("run-2")
        assert platform.read_maintenance() == "run-2"
        platform.set_maintenance("")
        assert (cloud_run.spec["scaling"], cloud_run.spec["annotations"]) == (self.BEFORE, {})

    def test_one_that_somebody_scaled_up_meanwhile_is_in_service_and_left_alone(
        self, subject: Subject, platform: CloudRunPlatform, cloud_run: CloudRunStandIn
    ) -> None:
        platform.set_maintenance("run-1")
        cloud_run.spec["scaling"] = {"scalingMode": "MANUAL", "manualInstanceCount": 3}
        assert platform.read_maintenance() == ""
        platform.set_maintenance("")
        assert cloud_run.spec["scaling"]["manualInstanceCount"] == 3

    def test_a_scaling_that_does_not_come_is_told(
        self, subject: Subject, platform: CloudRunPlatform, cloud_run: CloudRunStandIn
    ) -> None:
        cloud_run.misbehaviour.keeps_scaling = True
        with pytest.raises(RefusedByPlatform, match="did not make of the scaling") as raised:
            platform.set_maintenance("run-1")
        assert "gcloud run services update" in raised.value.hint

    def test_who_has_not_asked_for_it_has_none(
        self, subject: Subject, platform: CloudRunPlatform, cloud_run: CloudRunStandIn
    ) -> None:
        plain = platform.model_copy(update={"scale_to_zero": False})
        assert Capability.MAINTENANCE not in plain.capabilities
        with pytest.raises(RefusedByPlatform, match="no maintenance mode"):
            plain.set_maintenance("run-1")
        assert cloud_run.spec["scaling"] == {}
        platform.set_maintenance("run-1")
        plain.set_maintenance("")
        assert plain.read_maintenance() == "", "whoever is in it gets out of it"


class TestVariables:
    def test_those_of_secret_manager_stay_and_are_not_read(
        self, subject: Subject, platform: CloudRunPlatform, cloud_run: CloudRunStandIn
    ) -> None:
        cloud_run.add_secret_variable("HIDDEN", "shop-hidden")
        platform.set_variables({"ONE": "1"})
        subject.start(subject.good)
        assert platform.read_variables() == {"ONE": "1"}
        assert [one["name"] for one in cloud_run.template()["containers"][0]["env"]] == ["HIDDEN", "ONE"]

    @pytest.mark.parametrize("name", ["HIDDEN", "PORT", "K_SERVICE"])
    def test_one_whose_value_comes_from_elsewhere_is_refused(
        self, subject: Subject, platform: CloudRunPlatform, cloud_run: CloudRunStandIn, name: str
    ) -> None:
        cloud_run.add_secret_variable("HIDDEN", "shop-hidden")
        with pytest.raises(RefusedByPlatform, match=name) as raised:
            platform.set_variables({name: "a-value"})
        assert "a-value" not in repr(raised.value)

    def test_setting_them_starts_nothing(self, subject: Subject, platform: CloudRunPlatform) -> None:
        platform.set_variables({"ONE": "1"})
        assert [one.id for one in platform.read_releases()] == [FIRST]


class TestErrors:
    def test_a_service_that_is_not_there_is_named(self, subject: Subject, platform: CloudRunPlatform) -> None:
        with pytest.raises(RefusedByPlatform, match="'another' does not exist"):
            platform.model_copy(update={"service": "another"}).read_traffic()

    def test_no_token_is_told_or_logged(
        self, subject: Subject, platform: CloudRunPlatform, tokens: GoogleTokens, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        subject.start(subject.good)
        tokens.disabled = True
        tokens.revoke()
        try:
            for asked, error in ((platform, RefusedByPlatform), (subject.silent, RefusedByPlatform)):
                with pytest.raises(error) as raised:
                    asked.read_releases()
                assert TOKEN_MARK not in repr(raised.value)
                assert raised.value.hint
        finally:
            tokens.disabled = False
        assert TOKEN_MARK not in caplog.text
        assert "PRIVATE KEY" not in caplog.text
