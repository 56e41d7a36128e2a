"""Looking at a service: each check gives one line, with a hint where it fails. Nothing is changed."""

import json
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel

from blocks.bounded_get import Answer, bounded_get
from blocks.cache import RedisCache
from blocks.database import PostgresDatabase
from blocks.environment import Environment
from blocks.errors import BackstopError, ReleaseIsBad
from blocks.platforms.interface import Release
from blocks.reference import resolve
from blocks.service import Service
from tasks.live_database import application_url
from tasks.smoke import run_smoke

MOST_BYTES = 10_000_000
"""Of one answer; what is longer is not a healthy one."""

LOOKS_AT_A_SLOW_ONE = 3


class Check(BaseModel):
    """One line of a health report."""

    name: str
    passed: bool
    detail: str
    hint: str = ""
    milliseconds: float = 0


@task(name="Check health", cache_policy=NO_CACHE)
def check_health(environment: Environment) -> list[Check]:
    """Everything that the environment says about its health, as its users meet it."""
    service, url = environment.service, resolve(environment.service.url)
    checks = [_check_app(service, url)]
    if service.detailed_health:
        checks += _check_components(service, url)
    if database := environment.database:
        checks.append(_timed("database", lambda: _ask_time(environment, database), "Is PostgreSQL up?"))
    if cache := environment.cache:
        checks.append(_timed("redis", lambda: _ping(cache), "Is Redis up, and its password right?"))
    checks += _check_critical(service, url)
    checks += [_check_webhook(service, url, step.name) for step in service.smoke if step.sign]
    if url.startswith("https://"):
        checks.append(_check_certificate(url, service.certificate_days))
    return checks


@task(name="Verify release", cache_policy=NO_CACHE)
def verify_release(service: Service, release: Release) -> list[Check]:
    """Health, version, critical endpoints and smoke on the release's own address, before any traffic.

    Raises ReleaseIsBad when any of them fails.
    """
    return _all_passed(run_checks(service, release.url or "", [release.version]), f"Release {release.version}")


@task(name="Verify service", cache_policy=NO_CACHE)
def verify_service(service: Service, *versions: str) -> list[Check]:
    """The same through the address that users reach, where any of these versions may answer; without any: whichever.

    Raises ReleaseIsBad.
    """
    return _all_passed(run_checks(service, resolve(service.url), versions), "The service")


@task(name="Verify that the service answers", cache_policy=NO_CACHE)
def verify_answers(service: Service, seconds: float = 30) -> list[Check]:
    """Health and critical endpoints, which change nothing, waiting `seconds` at most. Raises ReleaseIsBad."""
    url, deadline = resolve(service.url), time.monotonic() + seconds
    while True:
        checks = [_check_app(service, url), *_check_critical(service, url)]
        if service.detailed_health:
            checks += _check_components(service, url)
        if all(check.passed for check in checks) or time.monotonic() > deadline:
            return _all_passed(checks, "The service")
        time.sleep(0.5)


def run_checks(service: Service, url: str, versions: Sequence[str]) -> list[Check]:
    """Health, critical endpoints, smoke; and the version, where any are given."""
    checks = [_check_app(service, url), *_check_critical(service, url)]
    if service.version and versions:
        checks.append(_check_version(service, url, versions))
    if service.smoke:
        checks.append(_timed("smoke", lambda: run_smoke(service, url), "Read the release's log."))
    return checks


def _all_passed(checks: list[Check], subject: str) -> list[Check]:
    failed = [f"{check.name}: {check.detail}" for check in checks if not check.passed]
    if failed:
        raise ReleaseIsBad(f"{subject} failed its verification ({'; '.join(failed)}).")
    return checks


def read_version(service: Service, url: str) -> str:
    """The version that the service says it is; empty when it says none."""
    answer = _get(service, url, service.version or service.health)
    try:
        return str(json.loads(answer.body).get("version", ""))
    except (ValueError, AttributeError):
        return ""


def _check_app(service: Service, url: str) -> Check:
    """One slow answer is a busy moment, not a slow service: the fastest of a few counts."""
    for _ in range(LOOKS_AT_A_SLOW_ONE):
        check = _timed("app", lambda: _says(_get(service, url, service.health), 200), "Read the service's log.")
        if not check.passed or check.milliseconds <= service.response_seconds * 1000:
            break
    if check.passed and check.milliseconds > service.response_seconds * 1000:
        detail = f"answered after {check.milliseconds:.0f} ms; {service.response_seconds:g} s are allowed"
        return check.model_copy(update={"passed": False, "detail": detail, "hint": "Look for load or slow queries."})
    return check


def _check_version(service: Service, url: str, expected: Sequence[str]) -> Check:
    def read() -> str:
        found = read_version(service, url)
        if found not in expected:
            raise BackstopError(f"answers version {found or 'nothing'}, not {' or '.join(expected)}")
        return found

    return _timed("version", read, "Another release answers here than the one that was started.")


def _check_components(service: Service, url: str) -> list[Check]:
    try:
        answer = _get(service, url, service.detailed_health or "")
        components = json.loads(answer.body)["components"]
        return [
            Check(
                name=f"app → {name}",
                passed=part["status"] == "ok",
                detail=str(part.get("error", part["status"])),
                hint="" if part["status"] == "ok" else f"The application cannot use its {name}.",
                milliseconds=float(part.get("milliseconds", 0)),
            )
            for name, part in components.items()
        ]
    except (BackstopError, ValueError, LookupError, TypeError, AttributeError) as error:
        return [Check(name="detailed health", passed=False, detail=str(error)[:200], hint="Read the service's log.")]


def _check_critical(service: Service, url: str) -> list[Check]:
    def ask(path: str) -> Callable[[], str]:
        return lambda: _says_no_failure(_get(service, url, path))

    return [_timed(f"GET {path}", ask(path), "A critical endpoint is broken.") for path in service.critical]


def _check_webhook(service: Service, url: str, step: str) -> Check:
    return _timed(step, lambda: run_smoke(service, url, only=step), "Is the signing secret the provider's?")


def _check_certificate(url: str, least_days: int) -> Check:
    def read() -> str:
        parts = urlsplit(url)
        address = (parts.hostname or "", parts.port or 443)
        context = ssl.create_default_context()
        with (
            socket.create_connection(address, timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname) as connection,
        ):
            certificate = connection.getpeercert() or {}
        ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
        days = (ends - datetime.now(UTC)).days
        if days < least_days:
            raise BackstopError(f"ends in {days} days; {least_days} are wanted")
        return f"ends in {days} days"

    return _timed("certificate", read, "Renew it, or look why its renewal stopped.")


def _timed(name: str, look: Callable[[], str], hint: str) -> Check:
    began = time.monotonic()
    try:
        detail, passed = look(), True
    except BackstopError as error:
        detail, passed = error.message, False
    except OSError as error:
        detail, passed = f"{type(error).__name__}: {error}"[:200], False
    milliseconds = (time.monotonic() - began) * 1000
    return Check(name=name, passed=passed, detail=detail, hint="" if passed else hint, milliseconds=milliseconds)


def _get(service: Service, url: str, path: str) -> Answer:
    return bounded_get(url.rstrip("/") + path, service.timeout, MOST_BYTES)


def _says(answer: Answer, status: int) -> str:
    if answer.status != status:
        raise BackstopError(f"answers {answer.status}, not {status}")
    return f"answers {status}"


def _says_no_failure(answer: Answer) -> str:
    if answer.status >= 500:
        raise BackstopError(f"answers {answer.status}")
    return f"answers {answer.status}"


def _ask_time(environment: Environment, database: PostgresDatabase) -> str:
    return f"select now() → {database.read_time(application_url(environment))}"


def _ping(cache: RedisCache) -> str:
    cache.ping()
    return "ping → pong"
