"""Secrets of a GitHub repository: they arrive sealed, nothing gives them back, and every write of one can be seen."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from github import Auth, Github

from blocks.errors import RefusedBySink, Unreachable
from blocks.sinks import github_actions
from blocks.sinks.github_actions import GithubActions
from tests.blocks.sinks.contract import SinkContract, Subject
from tests.blocks.sinks.test_env_file import NOBODYS
from tests.blocks.stores.faults import Fault, FaultProxy, Kind, running_proxy
from tests.standins.description import described
from tests.standins.github_actions import ENVIRONMENT, REPOSITORY, TOKEN, GithubStandIn, running_github

pytestmark = pytest.mark.timeout(60)

VALUE = "hunter2"


@pytest.fixture(scope="module")
def github() -> Iterator[GithubStandIn]:
    with running_github(described("github")) as standing_in:
        yield standing_in


@pytest.fixture(scope="module")
def proxy(github: GithubStandIn) -> Iterator[FaultProxy]:
    with running_proxy(github.url) as proxy:
        yield proxy


@pytest.fixture
def sink(github: GithubStandIn, proxy: FaultProxy, tmp_path: Path) -> Iterator[GithubActions]:
    yield sink_at(proxy, tmp_path)
    proxy.faults.clear()
    github.forget()


@pytest.fixture
def in_one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes without a pause between them."""
    monkeypatch.setattr(github_actions, "_APART_SECONDS", 0)


def sink_at(proxy: FaultProxy, folder: Path, **others: Any) -> GithubActions:
    (folder / "token").write_text(TOKEN)
    reference = f"file:{folder}/token"
    asked = {"type": "github-actions", "repository": REPOSITORY, "token": reference, "url": proxy.endpoint}
    return GithubActions.model_validate({**asked, **others})


@pytest.mark.usefixtures("in_one_second")
class TestContract(SinkContract):
    @pytest.fixture
    def subject(self, github: GithubStandIn, sink: GithubActions) -> Subject:
        return Subject(sink, NOBODYS, github.repository.values)


@pytest.mark.usefixtures("in_one_second")
class TestContractOfAnEnvironment(SinkContract):
    @pytest.fixture
    def subject(self, github: GithubStandIn, sink: GithubActions) -> Subject:
        return Subject(sink.model_copy(update={"environment": ENVIRONMENT}), NOBODYS, github.environment.values)


def test_every_write_of_a_secret_moves_its_mark_and_no_others(sink: GithubActions) -> None:
    assert sink.read_marks(NOBODYS, ["NAME", "OTHER"]) == {}
    sink.write(NOBODYS, {"NAME": VALUE, "OTHER": VALUE})
    before = sink.read_marks(NOBODYS, ["NAME", "OTHER", "NONE"])
    sink.write(NOBODYS, {"NAME": VALUE})
    after = sink.read_marks(NOBODYS, ["NAME", "OTHER"])
    assert before.keys() == {"NAME", "OTHER"}
    assert after["NAME"] != before["NAME"]
    assert after["OTHER"] == before["OTHER"]


@pytest.mark.usefixtures("in_one_second")
def test_a_name_is_another_ones_in_no_case(github: GithubStandIn, sink: GithubActions) -> None:
    """GitHub keeps names in capitals."""
    sink.write(NOBODYS, {"name": VALUE})
    assert github.repository.values == {"NAME": VALUE}
    assert sink.read_marks(NOBODYS, ["name"]).keys() == {"name"}


@pytest.mark.usefixtures("in_one_second")
def test_an_environment_is_a_place_of_its_own(github: GithubStandIn, sink: GithubActions) -> None:
    of_environment = sink.model_copy(update={"environment": ENVIRONMENT})
    assert of_environment.named != sink.named
    of_environment.write(NOBODYS, {"NAME": VALUE})
    assert (github.environment.values, github.repository.values) == ({"NAME": VALUE}, {})
    assert sink.read_marks(NOBODYS, ["NAME"]) == {}


@pytest.mark.parametrize("tells_reset", [False, True])
def test_what_github_puts_off_is_asked_again(github: GithubStandIn, sink: GithubActions, tells_reset: bool) -> None:
    github.trouble.append("put off")
    github.tells_reset = tells_reset
    assert sink.read_marks(NOBODYS, ["NAME"]) == {}
    assert github.trouble == []


@pytest.mark.parametrize("kind", ["429", "500", "503", "hang", "drop request", "lose answer"])
def test_what_may_pass_is_no_refusal(
    github: GithubStandIn, proxy: FaultProxy, tmp_path: Path, kind: Kind, in_one_second: None, sink: GithubActions
) -> None:
    hurried = sink_at(proxy, tmp_path, timeout=0.5)
    proxy.faults += [Fault(kind, "PUT", times=10)]
    with pytest.raises(Unreachable) as raised:
        hurried.write(NOBODYS, {"NAME": VALUE})
    assert_shows_nothing(raised.value)
    assert github.repository.written == ([VALUE] if kind == "lose answer" else [])
    proxy.released.set()


def test_a_token_that_has_expired_is_refused(github: GithubStandIn, sink: GithubActions) -> None:
    github.expired = True
    for act in (lambda: sink.read_marks(NOBODYS, ["NAME"]), lambda: sink.write(NOBODYS, {"NAME": VALUE})):
        with pytest.raises(RefusedBySink, match="Bad credentials") as raised:
            act()
        assert "not expired" in raised.value.hint
        assert_shows_nothing(raised.value)


def test_a_repository_that_is_not_there_or_not_to_be_seen_is_told(sink: GithubActions) -> None:
    other = sink.model_copy(update={"repository": "example/other"})
    with pytest.raises(RefusedBySink, match="no such repository or environment, or the token may not see it"):
        other.read_marks(NOBODYS, ["NAME"])


@pytest.mark.usefixtures("in_one_second")
def test_a_name_that_github_does_not_take_is_refused(sink: GithubActions) -> None:
    with pytest.raises(RefusedBySink, match="must not start with GITHUB_"):
        sink.write(NOBODYS, {"GITHUB_NAME": VALUE})


def test_the_stand_in_is_like_github_to_githubs_other_clients(github: GithubStandIn, sink: GithubActions) -> None:
    """PyGithub seals by its own means."""
    client = Github(base_url=github.url, auth=Auth.Token(TOKEN), retry=None, seconds_between_writes=0, lazy=True)
    repository = client.get_repo(REPOSITORY)
    repository.create_secret("NAME", VALUE)
    assert github.repository.values == {"NAME": VALUE}
    (found,) = repository.get_secrets()
    marks = sink.read_marks(NOBODYS, ["NAME"])
    assert f"{found.updated_at:%Y-%m-%dT%H:%M:%SZ}" == marks["NAME"]


def assert_shows_nothing(error: BaseException) -> None:
    chain = [error, error.__cause__, error.__context__ if not error.__suppress_context__ else None]
    assert not any(secret in repr(one) for one in chain for secret in (VALUE, TOKEN))
