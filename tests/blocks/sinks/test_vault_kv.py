"""A secret of a real KV store: whoever else writes to it loses nothing, and whatever goes wrong shows no value."""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from blocks.errors import RefusedBySink, Unreachable
from blocks.sinks.vault_kv import VaultKv
from tests.blocks.sinks.contract import SinkContract, Subject
from tests.blocks.sinks.test_env_file import NOBODYS
from tests.blocks.sinks.vault import ROOT_TOKEN, Vault, running_vault
from tests.blocks.stores.faults import Fault, FaultProxy, Kind, Request, running_proxy

VALUE = "hunter2"
_paths = (f"shop/production-{number}" for number in range(1000))


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    with running_vault(tmp_path_factory.mktemp("vault")) as vault:
        yield vault


@pytest.fixture
def path() -> str:
    """Where nothing is yet."""
    return next(_paths)


@pytest.fixture
def proxy(vault: Vault) -> Iterator[FaultProxy]:
    with running_proxy(vault.address) as proxy:
        yield proxy


def sink_at(address: str, path: str, folder: Path, token: str = ROOT_TOKEN, **others: Any) -> Subject:
    (folder / "token").write_text(token)
    reference = f"file:{folder}/token"
    return Subject(VaultKv(type="vault-kv", address=address, token=reference, path=path, **others), NOBODYS)


@pytest.fixture
def subject(vault: Vault, path: str, tmp_path: Path) -> Subject:
    return sink_at(vault.address, path, tmp_path)


class TestContract(SinkContract):
    @pytest.fixture
    def subject(self, vault: Vault, path: str, tmp_path: Path) -> Subject:
        return sink_at(vault.address, path, tmp_path)


def test_other_keys_are_left_as_they_are_and_writing_it_again_makes_no_version(
    vault: Vault, subject: Subject, path: str
) -> None:
    vault.put(path, NAME="old", OTHERS=["a", {"list": 1}], NUMBER=7)
    for _ in range(2):
        subject.write(NAME=VALUE)
    found = vault.get(path)
    assert found["data"] == {"NAME": VALUE, "OTHERS": ["a", {"list": 1}], "NUMBER": 7}
    assert found["metadata"]["version"] == 2


def test_what_somebody_else_writes_in_between_is_not_lost(
    vault: Vault, proxy: FaultProxy, path: str, tmp_path: Path
) -> None:
    vault.put(path, NAME="old")
    between = [{"NAME": "old", "OTHER": "theirs"}]

    def write_in_between(request: Request) -> Generator[None, int]:
        if request.method in ("PUT", "POST") and between:
            vault.put(path, **between.pop())
        yield

    proxy.watchers.append(write_in_between)
    subject = sink_at(proxy.endpoint, path, tmp_path)
    with pytest.raises(Unreachable, match="changed by somebody else"):
        subject.write(NAME=VALUE)
    assert vault.get(path)["data"] == {"NAME": "old", "OTHER": "theirs"}
    subject.write(NAME=VALUE)
    assert vault.get(path)["data"] == {"NAME": VALUE, "OTHER": "theirs"}


def test_one_that_was_deleted_can_be_written_again(vault: Vault, subject: Subject, path: str) -> None:
    vault.put(path, NAME="old")
    vault.ask("DELETE", f"secret/data/{path}")
    assert subject.read("NAME") == {}
    subject.write(NAME=VALUE)
    assert subject.read("NAME") == {"NAME": VALUE}


def test_a_write_that_was_done_and_not_answered_is_found(
    vault: Vault, proxy: FaultProxy, path: str, tmp_path: Path
) -> None:
    subject = sink_at(proxy.endpoint, path, tmp_path)
    proxy.faults += [Fault("lose answer", "POST"), Fault("lose answer", "PUT")]
    with pytest.raises(Unreachable):
        subject.write(NAME=VALUE)
    proxy.faults.clear()
    subject.write(NAME=VALUE)
    assert vault.get(path)["metadata"]["version"] == 1


@pytest.mark.parametrize("kind", ["429", "500", "503", "hang", "drop request"])
def test_what_may_pass_is_no_refusal(proxy: FaultProxy, path: str, tmp_path: Path, kind: Kind) -> None:
    subject = sink_at(proxy.endpoint, path, tmp_path, timeout=0.5)
    for method in ("GET", "PUT", "POST"):
        proxy.faults.append(Fault(kind, method))
    for act in (lambda: subject.read("NAME"), lambda: subject.write(NAME=VALUE)):
        with pytest.raises(Unreachable) as raised:
            act()
        assert_shows_nothing(raised.value)
    proxy.released.set()


def test_one_that_is_sealed_may_be_unsealed(tmp_path: Path) -> None:
    with running_vault(tmp_path) as vault:
        subject = sink_at(vault.address, "shop", tmp_path)
        subject.write(NAME="old")
        vault.ask("PUT", "sys/seal")
        with pytest.raises(Unreachable, match="sealed"):
            subject.write(NAME=VALUE)
        log = vault.log.read_bytes()
    assert VALUE.encode() not in log


def test_a_token_that_has_expired_or_may_not_write_is_refused(vault: Vault, path: str, tmp_path: Path) -> None:
    vault.put(path, NAME="old")
    reader = vault.token_that_may("read", path=path)
    subject = sink_at(vault.address, path, tmp_path, token=reader)
    assert subject.read("NAME") == {"NAME": "old"}
    with pytest.raises(RefusedBySink, match="refuses the token") as raised:
        subject.write(NAME=VALUE)
    assert_shows_nothing(raised.value, reader)
    vault.ask("POST", "auth/token/revoke", token=reader)
    with pytest.raises(RefusedBySink, match="it has expired"):
        subject.read("NAME")


def test_the_least_that_a_token_must_be_allowed_is_enough(vault: Vault, path: str, tmp_path: Path) -> None:
    vault.put(path, NAME="old")
    subject = sink_at(vault.address, path, tmp_path, token=vault.token_that_may("read", "update", path=path))
    subject.write(NAME=VALUE)
    assert subject.read("NAME") == {"NAME": VALUE}


def test_a_store_of_version_1_is_refused(vault: Vault, tmp_path: Path) -> None:
    vault.ask("POST", "sys/mounts/first", type="kv", options={"version": "1"})
    vault.ask("POST", "first/data/shop", NAME="old")
    subject = sink_at(vault.address, "shop", tmp_path, mount="first")
    with pytest.raises(RefusedBySink, match="no KV store of version 2"):
        subject.read("NAME")


def test_what_is_no_text_is_refused(vault: Vault, subject: Subject, path: str) -> None:
    vault.put(path, NAME=7)
    with pytest.raises(RefusedBySink, match="holds no text as NAME"):
        subject.read("NAME")


def test_a_token_goes_nowhere_but_to_the_address(
    vault: Vault, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No variable of the worker's sends it through a proxy or to another Vault."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "VAULT_ADDR"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    subject = sink_at(vault.address, path, tmp_path)
    subject.write(NAME=VALUE)
    assert subject.read("NAME") == {"NAME": VALUE}


def assert_shows_nothing(error: BaseException, token: str = ROOT_TOKEN) -> None:
    chain = [error, error.__cause__, error.__context__ if not error.__suppress_context__ else None]
    assert not any(secret in repr(one) for one in chain for secret in (VALUE, token))
