"""The vendors' own clients agree with the stand-ins, and read what this project's code wrote."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from google.api_core.exceptions import BadRequest, Forbidden, NotFound
from google.cloud.run_v2 import (
    GetServiceRequest,
    ListRevisionsRequest,
    RevisionsClient,
    Service,
    ServicesClient,
    TrafficTarget,
    TrafficTargetAllocationType,
    UpdateServiceRequest,
)
from google.cloud.run_v2.services.revisions.transports.rest import RevisionsRestTransport
from google.cloud.run_v2.services.services.transports.rest import ServicesRestTransport
from google.cloud.secretmanager_v1 import SecretManagerServiceClient, SecretPayload
from google.cloud.secretmanager_v1.services.secret_manager_service.transports.rest import (
    SecretManagerServiceRestTransport,
)
from google.oauth2.credentials import Credentials
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from telegram import Bot
from telegram.error import BadRequest as TelegramRefused
from telegram.error import RetryAfter

from blocks.google_access import GoogleAccess
from blocks.platforms.cloud_run import CloudRunPlatform
from blocks.platforms.cloud_run_service import COMMIT, RUN, VERSION
from blocks.sinks.google_secret_manager import GoogleSecretManager, crc32c
from tests.blocks.platforms.builds import Build
from tests.blocks.platforms.conftest import builds, daemon, repository, token
from tests.blocks.platforms.contract import ask
from tests.blocks.platforms.daemon import Daemon
from tests.blocks.platforms.waiting import eventually
from tests.blocks.sinks.test_env_file import NOBODYS
from tests.standins.cloud_run import IMAGE, NAME, PROJECT, REGION, SERVICE, CloudRunStandIn, running_cloud_run
from tests.standins.discovery import discovered
from tests.standins.google_token import GoogleTokens, running_google_tokens
from tests.standins.messengers import (
    CHANNEL,
    CHANNEL_ID,
    CHAT,
    SLACK_TOKEN,
    TELEGRAM_TOKEN,
    WAIT,
    running_slack,
    running_telegram,
)
from tests.standins.secret_manager import PREFIX, SecretManagerStandIn, running_secret_manager

__all__ = ["builds", "daemon", "repository", "token"]

pytestmark = pytest.mark.timeout(60)

KEY = "GOOGLE_KEY"
SECRET = f"projects/{PROJECT}/secrets/{PREFIX}NAME"


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleTokens]:
    with running_google_tokens() as tokens:
        monkeypatch.setenv(KEY, tokens.key())
        yield tokens


@pytest.fixture
def google(tokens: GoogleTokens) -> Iterator[SecretManagerStandIn]:
    with running_secret_manager(tokens, discovered("google-secretmanager-v1")) as standing_in:
        standing_in.make("NAME")
        yield standing_in


@pytest.fixture
def cloud_run(daemon: Daemon, builds: list[Build], tokens: GoogleTokens) -> Iterator[CloudRunStandIn]:
    with running_cloud_run(daemon.platform, tokens, {build.version: build.commit for build in builds}) as standing_in:
        yield standing_in
    assert standing_in.violations == []


def reached(url: str) -> dict[str, Any]:
    """How a client of Google's is pointed at a stand-in."""
    access = Credentials(GoogleAccess(f"${{{KEY}}}", 5).read())
    return {"host": urlsplit(url).netloc, "url_scheme": "http", "credentials": access}


class TestSecretManager:
    @pytest.fixture
    def client(self, google: SecretManagerStandIn) -> Iterator[SecretManagerServiceClient]:
        transport = SecretManagerServiceRestTransport(**reached(google.url))
        with SecretManagerServiceClient(transport=transport) as client:
            yield client

    @pytest.fixture
    def sink(self, google: SecretManagerStandIn) -> GoogleSecretManager:
        asked = {"type": "google-secret-manager", "project": PROJECT, "prefix": PREFIX, "credentials": f"${{{KEY}}}"}
        return GoogleSecretManager.model_validate({**asked, "url": google.url})

    def test_each_reads_what_the_other_wrote(
        self, client: SecretManagerServiceClient, sink: GoogleSecretManager
    ) -> None:
        sink.write(NOBODYS, {"NAME": "ключ"})
        given = client.access_secret_version(name=f"{SECRET}/versions/latest").payload
        assert (given.data.decode(), given.data_crc32c) == ("ключ", crc32c("ключ".encode()))

        data = b"of the client"
        added = client.add_secret_version(parent=SECRET, payload=SecretPayload(data=data, data_crc32c=crc32c(data)))
        assert added.name.endswith("/versions/2")
        assert sink.read(NOBODYS, ["NAME"]) == {"NAME": "of the client"}

    def test_each_sees_what_the_other_disabled(
        self, client: SecretManagerServiceClient, sink: GoogleSecretManager
    ) -> None:
        for value in ("first", "second", "third"):
            sink.write(NOBODYS, {"NAME": value})
        sink.disable(NOBODYS, {"NAME": [1]})
        states = {one.name.rpartition("/")[2]: one.state.name for one in client.list_secret_versions(parent=SECRET)}
        assert states == {"1": "DISABLED", "2": "ENABLED", "3": "ENABLED"}
        with pytest.raises(BadRequest, match="DISABLED"):
            client.access_secret_version(name=f"{SECRET}/versions/1")

        client.disable_secret_version(name=f"{SECRET}/versions/2")
        assert sink.read_enabled(NOBODYS, ["NAME"]) == {"NAME": [3]}
        client.enable_secret_version(name=f"{SECRET}/versions/1")
        assert client.access_secret_version(name=f"{SECRET}/versions/1").payload.data == b"first"

    def test_it_understands_a_refusal(self, client: SecretManagerServiceClient, google: SecretManagerStandIn) -> None:
        with pytest.raises(NotFound):
            client.access_secret_version(name=f"{SECRET}/versions/latest")
        google.denied = True
        with pytest.raises(Forbidden):
            client.access_secret_version(name=f"{SECRET}/versions/latest")


class TestCloudRun:
    @pytest.fixture
    def client(self, cloud_run: CloudRunStandIn) -> Iterator[ServicesClient]:
        with ServicesClient(transport=ServicesRestTransport(**reached(cloud_run.url))) as client:
            yield client

    @pytest.fixture
    def platform(self, cloud_run: CloudRunStandIn, monkeypatch: pytest.MonkeyPatch) -> CloudRunPlatform:
        monkeypatch.setattr(CloudRunPlatform, "look_seconds", 0.05)
        where = {"project": PROJECT, "region": REGION, "service": NAME, "image": IMAGE, "url": cloud_run.url}
        return CloudRunPlatform(**where, credentials=f"${{{KEY}}}", timeout=10)

    def test_it_reads_the_release_that_was_started_and_its_traffic(
        self, client: ServicesClient, cloud_run: CloudRunStandIn, platform: CloudRunPlatform, builds: list[Build]
    ) -> None:
        release = start(platform, builds[0])
        platform.shift_traffic({release: 100})
        service = read(client)
        assert {one.revision: one.percent for one in service.traffic_statuses if one.percent} == {release: 100}
        with RevisionsClient(transport=RevisionsRestTransport(**reached(cloud_run.url))) as revisions:
            listed = list(revisions.list_revisions(ListRevisionsRequest(parent=SERVICE)))
        (own,) = [one for one in listed if release in one.name]
        said = {name: own.annotations[name] for name in (VERSION, COMMIT, RUN)}
        assert said == {VERSION: builds[0].version, COMMIT: builds[0].commit, RUN: "run"}

    def test_a_revision_of_its_own_is_started_given_the_traffic_and_read(
        self, client: ServicesClient, platform: CloudRunPlatform, builds: list[Build]
    ) -> None:
        release = start(platform, builds[0])
        service = read(client)
        service.template.revision = f"{NAME}-by-hand"
        service.template.containers[0].image = f"{IMAGE}:{builds[1].version}"
        service.traffic = [pinned(release, 100), pinned(service.template.revision, tag="by-hand")]
        made = change(client, service, "template", "traffic")
        (address,) = [one.uri for one in made.traffic_statuses if one.tag == "by-hand"]
        known = {one.id: one for one in platform.read_releases()}
        assert (known[f"{NAME}-by-hand"].version, known[f"{NAME}-by-hand"].url) == (builds[1].version, address)
        assert ask(known[f"{NAME}-by-hand"]) == builds[1].version

        service = read(client)
        service.traffic = [pinned(f"{NAME}-by-hand", 70), pinned(release, 30)]
        change(client, service, "traffic")
        assert platform.read_traffic() == {f"{NAME}-by-hand": 70, release: 30}


def test_slack_takes_a_message_says_no_with_status_200_and_how_long_to_wait() -> None:
    with running_slack() as slack:
        client = WebClient(SLACK_TOKEN, base_url=f"{slack.url}/api/")
        posted = client.chat_postMessage(channel=CHANNEL, text="of the client")
        assert (posted["channel"], posted["message"]["text"]) == (CHANNEL_ID, "of the client")
        with pytest.raises(SlackApiError, match="channel_not_found") as refused:
            client.chat_postMessage(channel="#nowhere", text="lost")
        assert refused.value.response.status_code == 200
        slack.trouble = ["put off"]
        with pytest.raises(SlackApiError) as put_off:
            client.chat_postMessage(channel=CHANNEL, text="too much")
        assert int(put_off.value.response.headers["Retry-After"]) == WAIT


def test_telegram_takes_a_message_says_no_and_how_long_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PTB_TIMEDELTA", "true")  # as its next major version has it

    async def session(url: str) -> None:
        async with Bot(TELEGRAM_TOKEN, base_url=f"{url}/bot") as bot:
            assert bot.username == "b_bot"
            taken = await bot.send_message(CHAT, "<b>of the client</b>", parse_mode="HTML")
            assert (taken.chat.id, taken.message_id) == (CHAT, 1)
            with pytest.raises(TelegramRefused, match="Can't parse entities"):
                await bot.send_message(CHAT, "5 < 6", parse_mode="HTML")
            telegram.trouble = ["put off"]
            with pytest.raises(RetryAfter) as put_off:
                await bot.send_message(CHAT, "too much")
            assert put_off.value.retry_after == timedelta(seconds=WAIT)

    with running_telegram() as telegram:
        asyncio.run(session(telegram.url))


def start(platform: CloudRunPlatform, build: Build) -> str:
    release = platform.start_release(build.version, build.commit, "run").id
    eventually(lambda: {one.id: one.state for one in platform.read_releases()}[release] == "running")
    return release


def read(client: ServicesClient) -> Service:
    return client.get_service(GetServiceRequest(name=SERVICE))


def pinned(revision: str, percent: int = 0, tag: str = "") -> TrafficTarget:
    by_name = TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
    return TrafficTarget(type_=by_name, revision=revision, percent=percent, tag=tag)


def change(client: ServicesClient, service: Service, *paths: str) -> Service:
    """Once it is made."""
    asked = UpdateServiceRequest(service=service, update_mask={"paths": paths})
    made: Service = client.update_service(asked).result(timeout=20)
    return made
