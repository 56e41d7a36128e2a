"""The sample service: a sandbox for each environment, and visitors for production."""

import json
import sys
from functools import partial

import httpx

from blocks.trust import trusted_certificates
from deployments.stack.component import Component
from deployments.stack.first_release import prepare_releases
from deployments.stack.layout import Layout

REPOSITORY = "repository"
"""What the sandboxes need besides other parts: the sample service's git repository."""

_VISITS_A_SECOND = 20
_SECONDS = 2


def sandbox(layout: Layout, environment: str) -> Component:
    folder = layout.state.subfolder("sandbox", f"shop-{environment}")
    config = {
        "environment": f"shop-{environment}",
        "repository": str(layout.repository),
        "command": ["python", "-m", "shop"],
        "health": "/health",
        "front_port": layout.ports[f"shop-{environment}"],
        "control_port": layout.ports[f"shop-{environment}-control"],
        "start_timeout": 30,
        "drain_timeout": 10,
    }
    return Component(
        name=f"shop-{environment}",
        argv=(sys.executable, "-m", "deployments.sandbox", "--folder", str(folder)),
        environment={"BACKSTOP_SANDBOX_TOKEN": layout.credentials.of_shop(environment).sandbox_token},
        files={folder / "config.json": json.dumps(config, indent=1)},
        needs=("postgres", "redis", REPOSITORY),
        depends_on=(f"postgres at {layout.ports['postgres']}", f"redis at {layout.ports['redis']}"),
        is_ready=lambda began: _listens(layout.control_url(environment)),
        after_start=partial(prepare_releases, layout, environment),
        address=layout.front_url(environment),
        grace=25,
    )


def visitors(layout: Layout) -> Component:
    url, log = layout.front_url("production"), layout.visits
    rate = str(_VISITS_A_SECOND)
    return Component(
        name="visitors",
        argv=(
            *(sys.executable, "-m", "deployments.shop.visitors"),
            *("--url", url, "--rate", rate, "--log", str(log)),
        ),
        environment={"SHOP_DEMO_PASSWORD": layout.credentials.production.demo_password},
        needs=("shop-production",),
        is_ready=lambda began: log.exists() and log.stat().st_mtime >= began,
        address=f"{rate} requests a second to {url}",
    )


def _listens(control_url: str) -> bool:
    # Whatever the answer: while the sandbox brings its releases back it says 503.
    try:
        httpx.get(f"{control_url}/ready", timeout=_SECONDS, verify=trusted_certificates(), trust_env=False)
    except httpx.HTTPError:
        return False
    return True
