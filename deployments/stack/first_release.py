"""Gives an environment without traffic its first release.

One whose database has moved to another port gets the releases that it has once more.
"""

import time
from typing import Any
from urllib.parse import urlsplit

import httpx

from blocks.errors import BackstopError
from blocks.trust import trusted_certificates
from deployments.sandbox.checkout import read_commit
from deployments.stack.layout import Layout, first_login

FIRST_VERSION = "v1.0.0"
_FIRST_START = "backstop-up"
"""The same for every `up`, so that one that was interrupted is gone on with."""

_ANSWER_SECONDS = 10
_RUNNING_WITHIN = 45


def prepare_releases(layout: Layout, environment: str) -> None:
    token = layout.credentials.of_shop(environment).sandbox_token
    with httpx.Client(
        base_url=layout.control_url(environment),
        headers={"Authorization": f"Bearer {token}"},
        timeout=_ANSWER_SECONDS,
        verify=trusted_certificates(),
        trust_env=False,
    ) as control:
        split = _ask(control, "GET", "/traffic")["split"]
        if not split:
            _ask(control, "PUT", "/variables", {"variables": _first_variables(layout, environment)})
            commit = read_commit(layout.repository, FIRST_VERSION)
            release = _start(control, FIRST_VERSION, commit, run_id=_FIRST_START)
            _ask(control, "PUT", "/traffic", {"split": {release: 100}})
        elif _move_variables(control, layout):
            _renew(control, split)
        _wait_until_ready(control)


def _first_variables(layout: Layout, environment: str) -> dict[str, str]:
    credentials = layout.credentials.of_shop(environment)
    return {
        "DATABASE_URL": layout.database_url(first_login(environment), database=f"shop_{environment}"),
        "REDIS_URL": layout.redis_url(environment),
        "SHOP_SESSION_SECRET": credentials.session_secret,
        "SHOP_DATA_KEYS": credentials.data_key,
        "SHOP_WEBHOOK_SECRET": credentials.webhook_secret,
        "SHOP_DEMO_PASSWORD": credentials.demo_password,
    }


def _move_variables(control: httpx.Client, layout: Layout) -> bool:
    """Correct the ports in the addresses, nothing else: the rest may have been changed on purpose since."""
    variables = _ask(control, "GET", "/variables")["variables"]
    moved = dict(variables)
    for name, server in (("DATABASE_URL", "postgres"), ("REDIS_URL", "redis")):
        if name in moved:
            moved[name] = _with_port(moved[name], layout.ports[server])
    if moved == variables:
        return False
    _ask(control, "PUT", "/variables", {"variables": moved})
    return True


def _with_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    before, _, _ = parts.netloc.rpartition(":")
    return parts._replace(netloc=f"{before}:{port}").geturl()


def _renew(control: httpx.Client, split: dict[str, int]) -> None:
    releases = {release["id"]: release for release in _ask(control, "GET", "/releases")["releases"]}
    renewed = {
        _start(control, releases[old]["version"], releases[old]["commit"]): percent for old, percent in split.items()
    }
    _ask(control, "PUT", "/traffic", {"split": renewed})
    for old in split:
        _ask(control, "POST", f"/releases/{old}/stop", {"wait": 0})


def _start(control: httpx.Client, version: str, commit: str, run_id: str = "") -> str:
    """The id of the release, once it runs."""
    asked = {"version": version, "commit": commit, "run_id": run_id}
    release = _ask(control, "POST", "/releases", asked)
    if release["state"] in ("stopped", "failed"):
        release = _ask(control, "POST", f"/releases/{release['id']}/scale", {"replicas": 1})
    deadline = time.monotonic() + _RUNNING_WITHIN
    while release["state"] == "starting" and time.monotonic() < deadline:
        time.sleep(0.05)
        release = _ask(control, "GET", f"/releases/{release['id']}")
    if release["state"] != "running":
        raise BackstopError(f"Release {version} of the sample service does not run: {release['detail']}.")
    return str(release["id"])


def _wait_until_ready(control: httpx.Client) -> None:
    """It is ready when the releases with traffic answer, or have had the time to."""
    deadline = time.monotonic() + _RUNNING_WITHIN
    while not control.get("/ready").is_success and time.monotonic() < deadline:
        time.sleep(0.05)


def _ask(control: httpx.Client, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    answer = control.request(method, path, json=body)
    if not answer.is_success:
        raise BackstopError(f"The sandbox answered {answer.status_code} to {method} {path}: {answer.text[:200]}")
    return answer.json() if answer.content else None
