"""The evidence of a run: JSON in the evidence store, and a page in the interface."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from blocks.evidence import Evidence
from tasks.chart import as_markdown_image, line_chart
from tasks.ledger import Run
from tasks.markdown import plain
from tasks.run_page import show_page

BAR = 30
"""Characters of the longest phase's bar."""


def publish_report(run: Run, ending: str, message: str) -> None:
    """Write the run's report once: `reports/ENVIRONMENT/RUN.json` and an artifact on the run's page."""
    report = {
        "run": run.id,
        "procedure": run.procedure,
        "environment": run.environment,
        "requested_by": run.requested_by,
        "started_at": datetime.fromtimestamp(run.started, UTC).isoformat(),
        "seconds": round(time.time() - run.started, 2),
        "ending": ending,
        "message": message,
        "phases": [{"phase": name, "seconds": round(seconds, 2)} for name, seconds in run.phases],
        **run.facts,
    }
    Evidence.from_surroundings().write_once(
        _name_of(run.environment, run.id), json.dumps(report, indent=2, default=str)
    )
    show_page(
        "\n".join(_page(run, ending, message)),
        key="report",
        description=f"{ending} after {report['seconds']:.1f} s",
    )


def publish_dead_run(environment: str, run_id: str, ending: str, message: str, recovered_by: str) -> None:
    """On behalf of a run that died: what is known of it without its process."""
    report = {"run": run_id, "ending": ending, "message": message, "recovered_by": recovered_by}
    Evidence.from_surroundings().write_once(_name_of(environment, run_id), json.dumps(report, indent=2))


def read_reported_ending(environment: str, run_id: str) -> str:
    """How the run ended, as its report says; empty where there is none: it has not ended yet."""
    found = Evidence.from_surroundings().read(_name_of(environment, run_id))
    return str(json.loads(found)["ending"]) if found else ""


def _name_of(environment: str, run_id: str) -> str:
    folder = environment if environment.replace("-", "").isalnum() else "unknown"
    return f"reports/{folder}/{run_id}.json"


def _page(run: Run, ending: str, message: str) -> Iterator[str]:
    yield f"# {ending}: {run.procedure} in {plain(run.environment)}"
    yield plain(message)
    yield ""
    yield (
        f"Asked for by **{plain(run.requested_by) or 'nobody named'}**"
        f" · {datetime.fromtimestamp(run.started, UTC):%Y-%m-%d %H:%M:%S} UTC · {time.time() - run.started:.1f} s"
    )
    yield ""
    yield from _charts(run.facts.get("readings", []), run.facts.get("marks", []))
    yield from _changes(run.facts.get("changes", []))
    yield from _phases(run.phases)


def _charts(readings: list[dict[str, Any]], marks: list[dict[str, Any]]) -> Iterator[str]:
    if not readings:
        return
    steps = [(mark["at"], mark["what"]) for mark in marks]
    for title, name, unit, factor in (
        ("Failed requests of the new release", "error_rate", "%", 100),
        ("Response time of the new release (p95)", "p95", "ms", 1000),
    ):
        measured = _curve(readings, name, factor)
        allowed = _curve(readings, f"{name}_limit", factor)
        yield as_markdown_image(title, line_chart(title, measured, unit, allowed, steps))
        yield ""


def _curve(readings: list[dict[str, Any]], name: str, factor: float) -> list[tuple[float, float]]:
    return [(reading["at"], reading[name] * factor) for reading in readings if reading[name] is not None]


def _changes(changes: list[str]) -> Iterator[str]:
    if changes:
        yield "## Changes"
        yield from (f"- {plain(change)}" for change in changes)
        yield ""


def _phases(phases: list[tuple[str, float]]) -> Iterator[str]:
    if not phases:
        return
    longest = max(seconds for _, seconds in phases) or 1
    yield "## Phases"
    yield "| phase | seconds | |"
    yield "|---|--:|---|"
    for name, seconds in phases:
        yield f"| {name} | {seconds:.1f} | {'━' * round(seconds / longest * BAR)} |"
