"""What GitHub says of a commit: its check runs, the statuses that others have set, and the runs of its workflows.

All three are needed. A service outside Actions may say its verdict by a status alone; and a job that waits for another
one has no check run before that one has ended, so that for a moment all check runs are green and the workflow is not.
"""

from typing import TypeVar

from pydantic import BaseModel

from blocks.errors import Unreachable
from blocks.vendor_api import VendorApi

T = TypeVar("T")

_GREEN = ("success", "neutral", "skipped")
_A_PAGE = 100
_MOST_PAGES = 10
"""GitHub shows a thousand checks of a commit."""


class _CheckRun(BaseModel):
    name: str
    conclusion: str | None
    """None while it runs."""


class _Status(BaseModel):
    context: str
    state: str
    """`success`, `pending`, `failure` or `error`."""


class _WorkflowRun(BaseModel):
    workflow_id: int
    event: str
    """What started it: one workflow may run for a push and for a pull request."""
    name: str | None = None
    conclusion: str | None
    """None while it runs."""


def read_not_green(host: VendorApi, commit: str) -> list[str]:
    """Names of what is not green, or has not ended. Nothing at all is not green. Raises Unreachable."""
    checks = _read_all(host, f"/commits/{commit}/check-runs", "check_runs", _CheckRun)
    statuses = _read_all(host, f"/commits/{commit}/status", "statuses", _Status)
    runs = _newest(_read_all(host, "/actions/runs", "workflow_runs", _WorkflowRun, head_sha=commit))
    if not (checks or statuses or runs):
        return ["no check has run"]
    return [
        *(check.name for check in checks if check.conclusion not in _GREEN),
        *(status.context for status in statuses if status.state != "success"),
        *(f"workflow {run.name or run.workflow_id}" for run in runs if run.conclusion not in _GREEN),
    ]


def _newest(runs: list[_WorkflowRun]) -> list[_WorkflowRun]:
    """Of each workflow and event; GitHub lists the newest first. An older one may have been given up for it."""
    return list({(run.workflow_id, run.event): run for run in reversed(runs)}.values())


def _read_all(host: VendorApi, path: str, listed: str, shape: type[T], **asked: str) -> list[T]:
    """From all pages."""
    found: list[T] = []
    for page in range(1, _MOST_PAGES + 1):
        answer = host.call("GET", path, params={**asked, "per_page": _A_PAGE, "page": page})
        found += host.parsed(list[shape], answer, listed)  # type: ignore[valid-type]
        if len(found) >= host.parsed(int, answer, "total_count"):
            return found
    raise Unreachable(f"{host.named} has more of {path} than it shows.")
