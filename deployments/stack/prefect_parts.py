"""Prefect's server with its interface, the worker that runs the flows, and the supervisor beside it."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx

from blocks.trust import trusted_certificates
from deployments.begin_run import ADDRESS
from deployments.stack.component import Component
from deployments.stack.layout import Layout
from deployments.stack.refused_answers import FOLDER as REFUSED_ANSWERS
from deployments.stack.surroundings import client_environment, describe_surroundings

WORK_POOL = "backstop"
_WORKER_NAME = "backstop"
_SECONDS = 2


def prefect_server(layout: Layout) -> Component:
    settings = {
        **client_environment(layout),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": layout.database_url("prefect", "postgresql+asyncpg"),
        "PREFECT_SERVER_API_AUTH_STRING": layout.credentials.prefect_login,
        "PREFECT_SERVER_ENCRYPTION_KEY": layout.credentials.prefect_encryption_key,
        # The newer interface hides Resume in a menu, and asks an analytics host when it opens.
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    }
    port = layout.ports["server"]
    return Component(
        name="server",
        argv=(
            *(sys.executable, "-m", "deployments.stack.serve_prefect", "--port", str(port)),
            *("--refused-answers", str(layout.state.subfolder(REFUSED_ANSWERS))),
        ),
        environment=settings,
        needs=("postgres",),
        is_ready=lambda began: _is_healthy(layout),
        address=layout.interface_url,
    )


def run_starter(layout: Layout) -> Component:
    socket = layout.state.folder / ADDRESS
    return Component(
        name="run-starter",
        argv=(sys.executable, "-m", "deployments.run_starter"),
        environment=describe_surroundings(layout),
        inherits=True,
        is_ready=lambda began: socket.exists() and socket.stat().st_mtime > began,
        address="has every procedure imported",
    )


def worker(layout: Layout) -> Component:
    return Component(
        name="worker",
        argv=(
            *(sys.executable, "-m", "prefect", "worker", "start", "--type", "process"),
            *("--pool", WORK_POOL, "--name", _WORKER_NAME, "--install-policy", "never"),
        ),
        environment={
            **describe_surroundings(layout),
            "PREFECT_WORKER_QUERY_SECONDS": "0.5",
            # A flow's process is `python` from there.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            # Prefect makes a folder of a fixed name there, which in /tmp may be another user's.
            "TMPDIR": str(layout.state.subfolder("tmp")),
        },
        inherits=True,
        needs=("server",),
        is_ready=lambda began: _has_reported(layout, began),
        address=f"work pool {WORK_POOL}",
        grace=40,
    )


def supervisor(layout: Layout) -> Component:
    return Component(
        name="supervisor",
        argv=(sys.executable, "-m", "deployments.supervisor"),
        environment=describe_surroundings(layout),
        inherits=True,  # it looks up the references of pagers and status pages
        needs=("server",),
        is_ready=lambda began: True,
        address="starts recover where a run died",
    )


def _is_healthy(layout: Layout) -> bool:
    try:
        return httpx.get(
            f"{layout.api_url}/health", timeout=_SECONDS, verify=trusted_certificates(), trust_env=False
        ).is_success
    except httpx.HTTPError:
        return False


def _has_reported(layout: Layout, began: float) -> bool:
    user, _, password = layout.credentials.prefect_login.partition(":")
    try:
        answer = httpx.post(
            f"{layout.api_url}/work_pools/{WORK_POOL}/workers/filter",
            json={},
            auth=(user, password),
            timeout=_SECONDS,
            verify=trusted_certificates(),
            trust_env=False,
        )
    except httpx.HTTPError:
        return False
    if not answer.is_success:
        return False
    since = datetime.fromtimestamp(began, UTC)
    return any(datetime.fromisoformat(found["last_heartbeat_time"]) > since for found in answer.json())
