"""What a release says before it ends is told without the secrets that it was given."""

from pathlib import Path

import pytest

from blocks.environment import Environment
from blocks.metrics.prometheus_endpoint import PrometheusEndpoint
from blocks.platforms.sandbox import SandboxPlatform
from blocks.service import Service
from blocks.sources.git_repository import GitRepository
from blocks.trial import Trial
from tasks.trial import without_variables

KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nBAQEFAASCBKcwggSjAgEAAo\n-----END KEY-----"


def given(**variables: str) -> Environment:
    return Environment(
        environment="shop",
        platform=SandboxPlatform(url="http://127.0.0.1:1", token="${TOKEN}"),
        service=Service(url="http://127.0.0.1:1"),
        metrics=PrometheusEndpoint(),
        source=GitRepository(folder="unused"),
        trial=Trial(command=["run"], variables=variables),
    )


@pytest.mark.parametrize(
    ("value", "said", "told"),
    [
        ("redis://:${WORD}@cache/0", "cannot reach redis://:s3cret@cache/0 at all", "cannot reach … at all"),
        ("redis://:${WORD}@cache/0", "wrong password 's3cret'", "wrong password '…'"),
        ("file:{folder}/key", f"bad key:\n{KEY}", "bad key: …"),
        ("file:{folder}/key", "of it: BAQEFAASCBKcwggSjAgEAAo\n-----END KEY-----", "of it: … …"),
        ("a literal one", "of 'a literal one'", "of '…'"),
        ("on", "it is on fire", "it is on fire"),
    ],
    ids=["whole", "alone", "lines", "its end", "literal", "no secret"],
)
def test_a_secret_is_struck_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, said: str, told: str
) -> None:
    monkeypatch.setenv("WORD", "s3cret")
    (tmp_path / "key").write_text(KEY)
    assert without_variables(said, given(GIVEN=value.replace("{folder}", str(tmp_path)))) == told


def test_what_is_long_is_cut_off_after_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORD", "s3cret" * 60)
    told = without_variables(f"it ended: {'x' * 1000} {'s3cret' * 60} the last word", given(GIVEN="${WORD}"))
    assert told.startswith("it ended: xxx")
    assert told.endswith("xxx … the last word")
    assert len(told) < 450
