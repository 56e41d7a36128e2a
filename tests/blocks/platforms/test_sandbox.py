"""The sandbox keeps the contract, and lets nobody in who may not."""

import httpx
import pytest

from blocks.errors import RefusedByPlatform, Unreachable
from deployments.sandbox.config import TOKEN_VARIABLE
from tests.blocks.platforms.builds import Build
from tests.blocks.platforms.contract import PlatformContract, Subject, ask
from tests.blocks.platforms.daemon import TOKEN, Daemon

pytestmark = pytest.mark.timeout(30)


class TestContract(PlatformContract):
    @pytest.fixture
    def subject(self, subject: Subject) -> Subject:
        return subject


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
        assert answer.status_code == 422
        assert answer.json()["error"]

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
