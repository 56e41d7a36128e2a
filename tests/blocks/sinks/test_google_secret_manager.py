"""Secrets of Google's Secret Manager: a write adds a version, and is over when that is what readers are given."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from blocks.errors import NotInSink, RefusedBySink, Unreachable
from blocks.secrets.signing_key import SigningKey
from blocks.sinks.google_secret_manager import GoogleSecretManager, crc32c
from tests.blocks.sinks.contract import HOSTILE, SinkContract, Subject
from tests.blocks.sinks.test_env_file import NOBODYS
from tests.blocks.stores.faults import Fault, FaultProxy, Kind, running_proxy
from tests.standins.discovery import discovered
from tests.standins.google_token import TOKEN_MARK, GoogleTokens, running_google_tokens
from tests.standins.secret_manager import PREFIX, PROJECT, SecretManagerStandIn, running_secret_manager

pytestmark = pytest.mark.timeout(60)

VALUE = "hunter2"


@pytest.fixture(scope="module")
def tokens() -> Iterator[GoogleTokens]:
    with running_google_tokens() as tokens:
        yield tokens


@pytest.fixture(scope="module")
def google(tokens: GoogleTokens) -> Iterator[SecretManagerStandIn]:
    with running_secret_manager(tokens, discovered("google-secretmanager-v1")) as standing_in:
        yield standing_in


@pytest.fixture(scope="module")
def proxy(google: SecretManagerStandIn) -> Iterator[FaultProxy]:
    with running_proxy(google.url) as proxy:
        yield proxy


@pytest.fixture
def subject(
    google: SecretManagerStandIn, proxy: FaultProxy, tokens: GoogleTokens, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Subject]:
    monkeypatch.setenv("GOOGLE_KEY", tokens.key())
    google.make("NAME", "OTHER")
    yield sink_at(proxy)
    proxy.faults.clear()
    google.forget()


def sink_at(proxy: FaultProxy, **others: Any) -> Subject:
    asked = {"type": "google-secret-manager", "project": PROJECT, "prefix": PREFIX, "credentials": "${GOOGLE_KEY}"}
    return Subject(GoogleSecretManager.model_validate({**asked, "url": proxy.endpoint, **others}), NOBODYS)


class TestContract(SinkContract):
    @pytest.fixture
    def subject(self, subject: Subject) -> Subject:
        return subject

    @pytest.mark.parametrize("value", [value for value in HOSTILE if value])
    def test_what_is_written_is_read_back(self, subject: Subject, value: str) -> None:
        """But for the empty one, which Google does not keep."""
        super().test_what_is_written_is_read_back(subject, value)


def test_the_way_back_is_one_more_version_and_what_is_there_makes_none(
    google: SecretManagerStandIn, subject: Subject
) -> None:
    for value in ("old", "new", "new", "old"):
        subject.write(NAME=value)
    assert google.versions("NAME") == ["old", "new", "old"]


def test_a_write_is_over_when_readers_are_given_it(google: SecretManagerStandIn, subject: Subject) -> None:
    subject.write(NAME="old")
    google.behind = 3  # the first look is before the write
    subject.write(NAME=VALUE)
    assert google.behind == 0
    assert subject.read("NAME") == {"NAME": VALUE}


def test_one_that_readers_are_not_given_in_time_may_come(
    google: SecretManagerStandIn, subject: Subject, proxy: FaultProxy
) -> None:
    subject.write(NAME="old")
    google.behind = 100
    with pytest.raises(Unreachable, match="do not give out the new version of NAME yet") as raised:
        sink_at(proxy, timeout=1).write(NAME=VALUE)
    assert_shows_nothing(raised.value)


def test_old_versions_are_given_to_nobody_and_to_whoever_asks_again(
    google: SecretManagerStandIn, subject: Subject
) -> None:
    """Twice is once. The one that readers are given by `latest` stays."""
    sink, kept = as_versioned(subject), google.secrets[f"{PREFIX}NAME"]
    for value in ("first", "second", "third", "fourth"):
        subject.write(NAME=value)
    assert sink.read_enabled(NOBODYS, ["NAME", "OTHER"]) == {"NAME": [1, 2, 3, 4], "OTHER": []}
    for _ in range(2):
        sink.disable(NOBODYS, {"NAME": [1, 3]})
        assert kept.enabled() == [2, 4] == sink.read_enabled(NOBODYS, ["NAME"])["NAME"]
    assert subject.read("NAME") == {"NAME": "fourth"}
    for _ in range(2):
        sink.enable(NOBODYS, {"NAME": [1, 3]})
        assert kept.enabled() == [1, 2, 3, 4]
    assert google.versions("NAME") == ["first", "second", "third", "fourth"]


def test_what_somebody_destroyed_stays_so_and_the_others_are_enabled(
    google: SecretManagerStandIn, subject: Subject
) -> None:
    kept = google.secrets[f"{PREFIX}NAME"]
    for value in ("first", "second", "third"):
        subject.write(NAME=value)
    kept.disabled, kept.destroyed = {1, 2}, {1}
    as_versioned(subject).enable(NOBODYS, {"NAME": [1, 2]})
    assert kept.enabled() == [2, 3]


def test_an_account_that_may_not_disable_is_told_so(google: SecretManagerStandIn, subject: Subject) -> None:
    subject.write(NAME="first")
    google.kept_enabled = {1}
    with pytest.raises(RefusedBySink, match=r"secretmanager\.versions\.disable"):
        as_versioned(subject).disable(NOBODYS, {"NAME": [1]})


def test_an_empty_value_is_refused_before_anything_is_written(google: SecretManagerStandIn, subject: Subject) -> None:
    subject.write(OTHER="")  # as it is
    subject.write(OTHER="old")
    with pytest.raises(RefusedBySink, match="keep no empty value, as of OTHER"):
        subject.write(NAME=VALUE, OTHER="")
    assert google.versions("NAME") == []


def test_a_key_that_is_empty_at_times_is_no_secret_for_it(subject: Subject) -> None:
    keys = {"type": "signing-key", "variable": "KEYS", "token_hours": 1, "report": {"path": "/", "member": "keys"}}
    sinks = [subject.sink.model_dump()]
    SigningKey.model_validate({**keys, "sinks": sinks})
    with pytest.raises(ValidationError, match="keeps no empty value, and next_variable is empty at times"):
        SigningKey.model_validate({**keys, "sinks": sinks, "next_variable": "NEXT"})


def test_a_secret_that_is_not_there_is_not_made(google: SecretManagerStandIn, subject: Subject) -> None:
    with pytest.raises(NotInSink, match="shop-production-NONE"):
        subject.write(NONE=VALUE)
    assert subject.read("NONE") == {}


def test_one_whose_latest_version_is_disabled_is_refused(google: SecretManagerStandIn, subject: Subject) -> None:
    subject.write(NAME="old")
    google.secrets[f"{PREFIX}NAME"].disabled.add(1)
    with pytest.raises(RefusedBySink, match="is in DISABLED state"):
        subject.read("NAME")


def test_what_does_not_arrive_whole_is_found(google: SecretManagerStandIn, subject: Subject) -> None:
    subject.write(NAME=VALUE)
    google.spoils = True
    with pytest.raises(Unreachable, match="NAME did not arrive whole") as raised:
        subject.read("NAME")
    assert_shows_nothing(raised.value)


def test_what_is_no_text_is_refused(google: SecretManagerStandIn, subject: Subject) -> None:
    google.secrets[f"{PREFIX}NAME"].versions.append(b"\xff")
    with pytest.raises(RefusedBySink, match="hold no text as NAME"):
        subject.read("NAME")


def test_an_account_that_may_not_is_told_what_it_needs(google: SecretManagerStandIn, subject: Subject) -> None:
    google.denied = True
    with pytest.raises(RefusedBySink, match="Permission denied") as raised:
        subject.read("NAME")
    assert "docs/environment-file.md" in raised.value.hint


@pytest.mark.parametrize("kind", ["429", "500", "503", "hang", "drop request"])
def test_what_may_pass_is_no_refusal(
    google: SecretManagerStandIn, subject: Subject, proxy: FaultProxy, kind: Kind
) -> None:
    proxy.faults.append(Fault(kind, "POST", times=10))
    with pytest.raises(Unreachable) as raised:
        sink_at(proxy, timeout=0.5).write(NAME=VALUE)
    assert_shows_nothing(raised.value)
    proxy.released.set()


def test_a_write_that_was_done_and_not_answered_is_found(
    google: SecretManagerStandIn, subject: Subject, proxy: FaultProxy
) -> None:
    proxy.faults.append(Fault("lose answer", "POST"))
    with pytest.raises(Unreachable):
        subject.write(NAME=VALUE)
    subject.write(NAME=VALUE)
    assert google.versions("NAME") == [VALUE]


def test_the_checksum_is_that_of_the_standard() -> None:
    """RFC 3720, B.4, and the usual check value."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA


def as_versioned(subject: Subject) -> GoogleSecretManager:
    assert isinstance(subject.sink, GoogleSecretManager)
    return subject.sink


def assert_shows_nothing(error: BaseException) -> None:
    chain = [error, error.__cause__, error.__context__ if not error.__suppress_context__ else None]
    assert not any(secret in repr(one) for one in chain for secret in (VALUE, TOKEN_MARK))
