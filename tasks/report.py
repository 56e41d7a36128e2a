"""The evidence of a run: JSON in the evidence store, and a page in the interface."""

import json
import time
from datetime import UTC, datetime

from prefect.artifacts import create_markdown_artifact

from blocks.evidence import Evidence
from tasks.chart import as_markdown_image, line_chart
from tasks.ledger import Run


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
    folder = run.environment if run.environment.replace("-", "").isalnum() else "unknown"
    Evidence.from_surroundings().write_once(
        f"reports/{folder}/{run.id}.json", json.dumps(report, indent=2, default=str)
    )
    create_markdown_artifact(_page(run, ending, message), key="report", description=f"{run.procedure}: {ending}")


def _page(run: Run, ending: str, message: str) -> str:
    lines = [
        f"# {run.procedure} in {run.environment}: {ending}",
        message,
        "",
        f"Asked for by {run.requested_by or 'nobody named'}. {time.time() - run.started:.1f} s in all.",
        "",
        "| phase | seconds |",
        "|---|--:|",
        *(f"| {name} | {seconds:.1f} |" for name, seconds in run.phases),
        "",
    ]
    readings = run.facts.get("readings", [])
    if readings:
        marks = [(mark["at"], mark["what"]) for mark in run.facts.get("marks", [])]
        errors = [(reading["at"], reading["error_rate"] * 100) for reading in readings]
        slow = [(reading["at"], (reading["p95"] or 0) * 1000) for reading in readings]
        lines += [
            as_markdown_image("Error rate", line_chart("Error rate of the new release", errors, "%", marks)),
            "",
            as_markdown_image("Latency", line_chart("p95 of the new release", slow, "ms", marks)),
        ]
    if changes := run.facts.get("changes"):
        lines += ["", "## Changes", *(f"- {change}" for change in changes)]
    return "\n".join(lines)
