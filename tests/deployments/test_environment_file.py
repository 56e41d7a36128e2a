"""Every mistake in an environment file is told at once: where it is, and what is allowed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.apply import ROOT
from deployments.environment_file import BadEnvironmentFile, build_environment, read_environment_file

SHIPPED = sorted((ROOT / "deployments" / "environments").glob("*.yaml"))
EXAMPLES = sorted((ROOT / "deployments" / "environments" / "examples").glob("*.yaml"))
LEAST: dict[str, Any] = {
    "environment": "shop-test",
    "platform": {"type": "sandbox", "url": "${SANDBOX_URL}", "token": "${SANDBOX_TOKEN}"},
    "service": {"url": "https://shop.example"},
    "metrics": {"type": "prometheus-endpoint"},
    "source": {"type": "git", "folder": "${REPOSITORY}"},
}
VERCEL = {"type": "vercel", "project": "shop", "repository": "example/shop", "token": "${T}"}
DOCKER = {
    "type": "docker",
    "service": "shop",
    "image": "registry.example.com:5000/team/shop",
    "caddy": {"route": "shop"},
}

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """LEAST with parts replaced; None removes one. Or a text as it is."""

    def write(text: str | bytes | None = None, **parts: object) -> Path:
        path = tmp_path / "shop.yaml"
        content = {name: part for name, part in {**LEAST, **parts}.items() if part is not None}
        path.write_bytes(text if isinstance(text, bytes) else (text or yaml.safe_dump(content)).encode())
        return path

    return write


def mistakes(path: Path) -> list[str]:
    """Without the file's name, which must begin each."""
    with pytest.raises(BadEnvironmentFile) as refusal:
        read_environment_file(path)
    assert "Nothing was changed." in str(refusal.value)
    lines = refusal.value.message.splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines), lines
    return [line.removeprefix(f"{path}: ") for line in lines]


@pytest.mark.parametrize("path", [*SHIPPED, *EXAMPLES], ids=lambda path: path.name)
def test_the_shipped_files_are_valid(path: Path) -> None:
    name, parts = read_environment_file(path)
    assert name == path.stem
    assert build_environment(name, parts).environment == name


def test_the_sample_and_the_examples_are_shipped() -> None:
    assert [path.stem for path in SHIPPED] == ["shop-production", "shop-staging"]
    systems = ["go4u", "guesslyfe", "nextjs", "plm", "vendhub"]
    expected = [f"{one}-{kind}" for one in systems for kind in ("production", "staging")]
    assert [path.stem for path in EXAMPLES] == expected


def test_the_least_that_is_needed(write: Write) -> None:
    name, parts = read_environment_file(write())
    environment = build_environment(name, parts)
    assert environment.rollout.steps[-1] == 100
    assert environment.notices.channels == []
    assert environment.database is None


@pytest.mark.parametrize(
    ("parts", "mistake"),
    [
        ({"plattform": {}}, "plattform: unknown part; allowed: environment, platform, service,"),
        ({7: {}}, "7: unknown part"),
        ({"service": {"url": "${U}", "colour": "red"}}, "service.colour: unknown field; allowed: url, health,"),
        ({"platform": None}, "platform: missing"),
        ({"platform": "sandbox"}, "platform: must hold fields by name"),
        ({"platform": {"type": "mainframe"}}, "platform.type: 'mainframe'; allowed: sandbox"),
        ({"platform": {"type": ["sandbox"]}}, "platform.type: ['sandbox']; allowed: sandbox"),
        ({"platform": {"url": "${U}", "token": "${T}"}}, "platform.type: None; allowed: sandbox"),
        ({"service": {}}, "service.url: Field required"),
        ({"service": {"url": 5}}, "service.url: Input should be a valid string"),
        ({"service": {"url": "shop.example"}}, "service.url: Value error, must begin with http:// or https://, or be"),
        ({"service": {"url": "htps://shop.example"}}, "service.url: Value error, must begin with http:// or https://"),
        ({"platform": {**VERCEL, "url": ""}}, "platform.url: Value error, must begin with http:// or https://"),
        ({"platform": {**DOCKER, "engine": "/run/docker.sock"}}, "platform.engine: Value error, must begin with"),
        ({"platform": {**DOCKER, "caddy": {"route": "a", "rute": "b"}}}, "platform.caddy.rute: unknown field"),
        ({"platform": {**DOCKER, "image": "shop:v1"}}, "platform.image: String should match pattern"),
        ({"platform": {**DOCKER, "image": "https://registry/shop"}}, "platform.image: String should match pattern"),
        ({"platform": {**DOCKER, "ports": [20999, 20000]}}, "platform.ports: Value error, must be the first one"),
        ({"platform": {**DOCKER, "ports": [0, 20000]}}, "platform.ports.0: Input should be greater than or equal to 1"),
        ({"notices": {"pager": {"routing_key": "${K}", "roting": 1}}}, "notices.pager.roting: unknown field"),
        ({"notices": {"status_page": {"page": "a", "key": "${K}", "after": 1}}}, "notices.status_page.after: unknown"),
        (
            {"source": {"type": "git", "folder": "${R}", "issues": True}},
            "source: Value error, `issues` and `ci_token` n",
        ),
        ({"limits": {"error_rate": "much"}}, "limits.error_rate: Input should be a valid number"),
        ({"limits": {"error_rate": 2}}, "limits.error_rate: Input should be less than or equal to 0.9"),
        ({"limits": {"probes": ["//elsewhere/x"]}}, "limits.probes.0: String should match pattern"),
        ({"rollout": {"steps": [50, 10, 100]}}, "rollout.steps: Value error, must rise and end with 100"),
        ({"rollout": {"steps": [10, 50]}}, "rollout.steps: Value error, must rise and end with 100"),
        ({"rollout": {"steps": []}}, "rollout.steps: Value error, must rise and end with 100"),
        ({"rollout": {"steps": [0, 100]}}, "rollout.steps: Value error, must rise and end with 100"),
        (
            {"rollout": {"freezes": [{"begins": "2026-12-24 00:00", "ends": "2026-12-27T00:00:00Z", "reason": "x"}]}},
            "rollout.freezes.0.begins: Value error, must say its time zone, as 2026-12-24T00:00:00+01:00",
        ),
        (
            {"rollout": {"freezes": [{"begins": "soon", "ends": "2026-12-27T00:00:00Z", "reason": "x"}]}},
            "rollout.freezes.0.begins: Input should be a valid datetime",
        ),
        (
            {"rollout": {"freezes": [{"begins": "2026-12-27T00:00Z", "ends": "2026-12-24T00:00Z", "reason": "x"}]}},
            "rollout.freezes.0: Value error, must end after it begins",
        ),
        ({"service": {"url": "${U}", "smoke": [{"name": "x", "request": "FETCH /"}]}}, "service.smoke.0.request:"),
        (
            {"database": {"url": "${U}", "instances": {"second": {"url": "${V}"}}}},
            "database.instances: Value error, need `variable`",
        ),
        (
            {"database": {"url": "${U}", "variable": "URL", "instances": {"main": {"url": "${V}"}}}},
            "database.instances: Value error, 'main': a name has small letters",
        ),
        (
            {"database": {"url": "${U}", "variable": "URL", "instances": {"second": {}}}},
            "database.instances.second.url: Field required",
        ),
        ({"service": {"url": "${U}", "smoke": [{"name": "x", "request": "GET /", "x": 1}]}}, "service.smoke.0.x:"),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, str) else "",
)
def test_one_mistake(write: Write, parts: dict[str, Any], mistake: str) -> None:
    (found,) = mistakes(write(**{str(name): part for name, part in parts.items()}))
    assert found.startswith(mistake)


@pytest.mark.parametrize(
    "name", [None, "", "Shop", "shop production", "shop_1", "-shop", "../shop", "a" * 61, 5, ["x"]]
)
def test_a_bad_name(write: Write, name: object) -> None:
    (found,) = mistakes(write(environment=name))
    assert found == f"environment: {name!r}; allowed: small letters, digits and dashes, as shop-production"


SMOKE = {"name": "log in", "request": "POST /login"}


@pytest.mark.parametrize(
    ("parts", "where"),
    [
        ({"service": {"url": "https://user:hunter2@shop.example"}}, "service.url: "),
        ({"service": {"url": "https://shop.example?token=hunter2"}}, "service.url: "),
        ({"platform": {"type": "sandbox", "url": "${U}", "token": "hunter2"}}, "platform.token: "),
        ({"database": {"url": "postgresql://shop:hunter2@127.0.0.1/shop"}}, "database.url: "),
        ({"cache": {"url": "redis://:hunter2@127.0.0.1"}}, "cache.url: "),
        ({"notices": {"channels": ["${SLACK}", "slack://hunter2/x"]}}, "notices.channels.1: "),
        ({"service": {"url": "${U}", "smoke": [{**SMOKE, "json": {"password": "hunter2"}}]}}, "service.smoke.0: "),
        (
            {"service": {"url": "${U}", "smoke": [{**SMOKE, "json": [{"a": {"apiKey": "hunter2"}}]}]}},
            "service.smoke.0: ",
        ),
        ({"service": {"url": "${U}", "smoke": [{**SMOKE, "headers": {"X-Token": "hunter2"}}]}}, "service.smoke.0: "),
        (
            {"service": {"url": "${U}", "smoke": [{**SMOKE, "headers": {"Authorization": "Bearer hunter2"}}]}},
            "service.smoke.0: ",
        ),
        (
            {"service": {"url": "${U}", "smoke": [{**SMOKE, "sign": {"secret": "hunter2"}}]}},
            "service.smoke.0.sign.secret: ",
        ),
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(write: Write, parts: dict[str, Any], where: str) -> None:
    (found,) = mistakes(write(**parts))
    assert found.startswith(where)
    assert "${NAME}" in found
    assert "hunter2" not in found


def test_all_mistakes_at_once(write: Write) -> None:
    path = write(
        environment="No Name",
        unknown={},
        source=None,
        platform={"type": "mainframe"},
        service={"url": "https://u:hunter2@x", "colour": "red", "timeout": 0},
        limits={"error_rate": 2, "p95_seconds": "slow"},
        rollout={"steps": [100, 50]},
        cache=[],
    )
    assert [found.split(":")[0] for found in mistakes(path)] == [
        "unknown",
        "environment",
        "source",
        "platform.type",
        "service.colour",
        "service.url",
        "service.timeout",
        "limits.error_rate",
        "limits.p95_seconds",
        "rollout.steps",
        "cache",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("service: [", "not YAML"),
        ("environment: shop\n  url: x\n", "line 2"),
        ("a: !!python/object/apply:os.system [id]\n", "not YAML"),
        (b"\xff\xfe\x00", "not YAML"),
        ("- environment\n", "must hold the parts of an environment by name"),
        ("just words\n", "must hold the parts of an environment by name"),
        ("# nothing\n", "must hold the parts of an environment by name"),
        (f"{yaml.safe_dump(LEAST)}\nservice: {{url: 'https://other.example'}}\n", "'service' stands there twice"),
    ],
)
def test_what_is_no_environment_file(write: Write, text: str | bytes, complaint: str) -> None:
    (found,) = mistakes(write(text))
    assert complaint in found


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert mistakes(tmp_path / "missing.yaml") == ["No such file or directory."]
    assert mistakes(tmp_path) == ["Is a directory."]
