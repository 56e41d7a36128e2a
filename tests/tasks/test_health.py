"""The health report against real servers that are well, broken, slow, silent or somebody else."""

import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from blocks.cache import RedisCache
from blocks.database import PostgresDatabase
from blocks.environment import Environment
from blocks.errors import ReleaseIsBad
from blocks.metrics.prometheus_endpoint import PrometheusEndpoint
from blocks.platforms.interface import Release
from blocks.platforms.sandbox import SandboxPlatform
from blocks.service import Service, SmokeStep
from blocks.sources.git_repository import GitRepository
from tasks.health import Check, check_health, verify_release, verify_service
from tests.deployments.shop.processes import Postgres, free_port, running_redis
from tests.drills.fault_proxy import FaultProxy
from tests.tasks.small_service import Respond, SmallService, after, drip, hang, status

TIMEOUT = 0.5


@pytest.fixture
def service() -> Iterator[SmallService]:
    answers = {
        "GET /health": status(200, {"status": "ok"}),
        "GET /version": status(200, {"version": "v1.2.0"}),
        "GET /tasks": status(200, []),
        "GET /health/detailed": status(200, {"components": {"database": {"status": "ok", "milliseconds": 3}}}),
        "POST /webhook": status(200, {"ok": True}),
    }
    with SmallService(answers) as service:
        yield service


def describe(url: str, **fields: object) -> Service:
    return Service.model_validate({"url": url, "version": "/version", "timeout": TIMEOUT, **fields})


def look(described: Service, **parts: object) -> list[Check]:
    environment = Environment(
        environment="shop",
        platform=SandboxPlatform(url="http://127.0.0.1:1", token="${TOKEN}"),
        service=described,
        metrics=PrometheusEndpoint(),
        source=GitRepository(folder="unused"),
        **parts,
    )
    checks = check_health.fn(environment)
    assert all(check.hint for check in checks if not check.passed)
    assert not any(check.hint for check in checks if check.passed)
    return checks


def only_failure(checks: list[Check]) -> Check:
    (failed,) = [check for check in checks if not check.passed]
    return failed


def release_at(url: str | None) -> Release:
    return Release(
        id="r-2",
        version="v1.2.0",
        commit="c0ffee",
        state="running",
        url=url,
        replicas=1,
        started_by="",
        created_at=datetime.now(UTC),
    )


def test_all_is_well(
    service: SmallService, ledger_server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE", ledger_server.url())
    monkeypatch.setenv("SIGNING", "secret")
    webhook = SmokeStep.model_validate(
        {"name": "webhook", "request": "POST /webhook", "sign": {"secret": "${SIGNING}"}}
    )
    with running_redis(tmp_path) as redis_url:
        monkeypatch.setenv("CACHE", redis_url)
        checks = look(
            describe(service.url, detailed_health="/health/detailed", critical=["/tasks"], smoke=[webhook]),
            database=PostgresDatabase(url="${DATABASE}"),
            cache=RedisCache(url="${CACHE}"),
        )
    assert [check.name for check in checks] == ["app", "app → database", "database", "redis", "GET /tasks", "webhook"]
    assert [check.name for check in checks if not check.passed] == []
    assert checks[1].milliseconds == 3


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (status(500), "answers 500, not 200"),
        (status(404), "answers 404, not 200"),
        (status(302), "answers 302, not 200"),
        (hang, "within 0.5 s"),
        (drip, "within 0.5 s"),
        (after(0.2, status(200)), "0.1 s are allowed"),
    ],
)
def test_an_application_that_is_not_well(service: SmallService, answer: Respond, complaint: str) -> None:
    service.answers["GET /health"] = answer
    began = time.monotonic()
    failed = only_failure(look(describe(service.url, response_seconds=0.1)))
    assert failed.name == "app"
    assert complaint in failed.detail
    assert time.monotonic() - began < 20


def test_nobody_answers() -> None:
    checks = look(describe(f"http://127.0.0.1:{free_port()}", detailed_health="/detailed", critical=["/tasks"]))
    assert {check.name for check in checks if not check.passed} == {"app", "detailed health", "GET /tasks"}


@pytest.mark.parametrize(
    ("answer", "failing"),
    [
        (status(503, {"components": {"database": {"status": "ok"}, "cache": {"status": "failed"}}}), "app → cache"),
        (status(200, {"components": ["database"]}), "detailed health"),
        (status(200, {"components": {"database": "ok"}}), "detailed health"),
        (status(200, {"status": "ok"}), "detailed health"),
        (status(200, b"<html>"), "detailed health"),
        (hang, "detailed health"),
    ],
)
def test_components_are_told_apart(service: SmallService, answer: Respond, failing: str) -> None:
    service.answers["GET /health/detailed"] = answer
    assert only_failure(look(describe(service.url, detailed_health="/health/detailed"))).name == failing


@pytest.mark.parametrize(("code", "passed"), [(200, True), (401, True), (404, True), (500, False), (503, False)])
def test_a_critical_endpoint_may_refuse_but_not_fail(service: SmallService, code: int, passed: bool) -> None:
    service.answers["GET /tasks"] = status(code)
    assert look(describe(service.url, critical=["/tasks"]))[-1].passed is passed


@pytest.mark.parametrize(
    "part",
    [
        lambda: {"database": PostgresDatabase(url="${PART_URL}", timeout=2)},
        lambda: {"cache": RedisCache(url="${PART_URL}", timeout=0.3)},
    ],
    ids=["database", "cache"],
)
@pytest.mark.parametrize(
    "spoiled", ["nobody://u:secret-word@127.0.0.1:{port}/0", "{scheme}://u:secret-word@127.0.0.1:{port}/0"]
)
def test_a_part_that_does_not_answer(
    service: SmallService, monkeypatch: pytest.MonkeyPatch, part: Callable[[], dict[str, object]], spoiled: str
) -> None:
    parts = part()
    scheme = "postgresql" if "database" in parts else "redis"
    monkeypatch.setenv("PART_URL", spoiled.format(scheme=scheme, port=free_port()))
    failed = only_failure(look(describe(service.url), **parts))
    assert failed.name in ("database", "redis")
    assert "secret-word" not in str(failed)


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (lambda proxy: proxy.refuse(), "ConnectionError"),
        (lambda proxy: proxy.hang(), "TimeoutError"),
        (lambda proxy: proxy.cut(after_bytes=3), "ConnectionError"),
        (lambda proxy: proxy.answer_late(60), "TimeoutError"),
    ],
    ids=["refuses", "hangs", "is cut off", "is late"],
)
def test_a_redis_behind_a_bad_connection_is_told_and_well_again_after_it(
    service: SmallService,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    break_it: Callable[[FaultProxy], None],
    told: str,
) -> None:
    with running_redis(tmp_path) as url, FaultProxy(urlsplit(url).port or 0) as proxy:
        monkeypatch.setenv("PART_URL", f"redis://127.0.0.1:{proxy.port}/0")
        cache = RedisCache(url="${PART_URL}", timeout=TIMEOUT)
        break_it(proxy)
        failed = only_failure(look(describe(service.url), cache=cache))
        proxy.mend()
        mended = look(describe(service.url), cache=cache)
    assert (failed.name, told in failed.detail) == ("redis", True), failed
    assert all(check.passed for check in mended)


def test_a_login_in_the_address_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_URL", f"http://user:secret-word@127.0.0.1:{free_port()}")
    checks = look(describe("${SERVICE_URL}", critical=["/tasks"], detailed_health="/detailed"))
    assert "secret-word" not in str(checks)


def test_the_release_itself_is_verified_on_its_own_address(service: SmallService) -> None:
    checks = verify_release.fn(describe("http://127.0.0.1:1", critical=["/tasks"]), release_at(service.url))
    assert [check.name for check in checks] == ["app", "GET /tasks", "version"]


@pytest.mark.parametrize(
    ("path", "answer", "complaint"),
    [
        ("/version", status(200, {"version": "v1.1.0"}), "answers version v1.1.0, not v1.2.0"),
        ("/version", status(200, {"other": 1}), "answers version nothing, not v1.2.0"),
        ("/version", status(200, ["v1.2.0"]), "answers version nothing"),
        ("/version", status(200, b"v1.2.0"), "answers version nothing"),
        ("/version", hang, "version: "),
        ("/health", status(503), "app: answers 503"),
        ("/tasks", status(500), "GET /tasks: answers 500"),
        ("/login", status(401), "smoke: step 'log in' answered 401, not 200"),
    ],
)
def test_what_makes_a_release_bad(service: SmallService, path: str, answer: Respond, complaint: str) -> None:
    service.answers |= {"GET /login": status(200), f"GET {path}": answer}
    smoke = [SmokeStep(name="log in", request="GET /login")]
    described = describe(service.url, critical=["/tasks"], smoke=smoke)
    with pytest.raises(ReleaseIsBad, match=r"Release v1\.2\.0 failed its verification") as bad:
        verify_release.fn(described, release_at(service.url))
    assert complaint in bad.value.message
    with pytest.raises(ReleaseIsBad, match="The service failed its verification"):
        verify_service.fn(described, "v1.2.0")


def test_a_release_without_an_address_is_bad() -> None:
    with pytest.raises(ReleaseIsBad):
        verify_release.fn(describe("http://127.0.0.1:1"), release_at(None))


def certificate(folder: Path, days: int) -> Path:
    """Signed by itself, for 127.0.0.1."""
    file = folder / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", str(days)),
            *("-keyout", str(folder / "key.pem"), "-out", str(file)),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )
    return file


@pytest.fixture
def serving_tls(tmp_path: Path) -> Callable[[int], SmallService]:
    def serve(days: int) -> SmallService:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate(tmp_path, days), tmp_path / "key.pem")
        return SmallService({"GET /health": status(200)}, tls)

    return serve


@pytest.mark.parametrize(("days", "passed"), [(40, True), (10, False)])
def test_days_that_a_certificate_lasts(
    serving_tls: Callable[[int], SmallService],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    days: int,
    passed: bool,
) -> None:
    with serving_tls(days) as service:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        check = look(describe(service.url, certificate_days=14))[-1]
    assert (check.name, check.passed) == ("certificate", passed)
    assert f"ends in {days - 1} days" in check.detail


def test_a_certificate_of_somebody_unknown(serving_tls: Callable[[int], SmallService]) -> None:
    with serving_tls(40) as service:
        failed = [check for check in look(describe(service.url)) if not check.passed]
    assert [check.name for check in failed] == ["app", "certificate"]
    assert "certificate verify failed" in failed[-1].detail
