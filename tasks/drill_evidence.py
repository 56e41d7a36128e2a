"""The evidence of a drill: beside the backups, written once; its digests in the audit trail."""

import hashlib
from typing import NamedTuple

from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import ValidationError

from blocks.environment import Environment
from blocks.errors import BackstopError
from blocks.ledger import trail
from blocks.stores.interface import Store
from tasks.catalogue import read_all, store_of
from tasks.drill import Drill
from tasks.drill_page import html_page, markdown_page
from tasks.drill_report import DrillReport, Finding, in_short
from tasks.ledger import current_run
from tasks.run_page import show_page

SHOWN_BEFORE = 12
"""Earlier drills on the page."""
BEGAN, ENDED = "drill began", "drill ended"
"""Events of the trail."""


class Kept(NamedTuple):
    """What stands in the store."""

    name: str
    sha256: str
    page_sha256: str


def begin_evidence(drill: Drill) -> None:
    """Tell the trail that a drill goes on, and take note of its head."""
    run = current_run()
    run.record(BEGAN, scenario=drill.scenario)
    drill.trail_before = trail.read_head(run.connection)[1]


# Repeating is safe: the name is the run's own, and what is stored under it stays.
@task(name="Keep evidence", cache_policy=NO_CACHE)
def keep_evidence(environment: Environment, report: DrillReport) -> DrillReport:
    """Stored and told; what could not be stored is one finding more. Raises FenceLost."""
    kept = None
    try:
        kept = _write(environment, report)
    except BackstopError as error:
        finding = Finding(what=f"The evidence could not be kept in the store: {error.message}")
        verdict = "failed" if report.verdict == "kept" else report.verdict
        report = report.model_copy(update={"verdict": verdict, "findings": [*report.findings, finding]})
    run = current_run()
    run.facts["drill"] = report.model_dump(mode="json")
    run.record(
        ENDED,
        scenario=report.scenario,
        verdict=report.verdict,
        backup=report.backup,
        rto_seconds=report.rto.measured_seconds,
        rpo_seconds=report.rpo.measured_seconds,
        told=in_short(report)[:1000],
        evidence=kept._asdict() if kept else None,
    )
    show_page(markdown_page(report), key="drill", description=in_short(report)[:200])
    return report


def read_earlier(store: Store, environment: str) -> list[DrillReport]:
    """The newest SHOWN_BEFORE, newest first. What cannot be read is left out. Raises Unreachable."""
    names = [found.name for found in store.read_objects(_folder(environment)) if found.name.endswith(".json")]
    read = [_read(store, name) for name in sorted(names, reverse=True)[:SHOWN_BEFORE]]
    return [report for report in read if report]


def _write(environment: Environment, report: DrillReport) -> Kept:
    store = store_of(environment)
    page = html_page(report, read_earlier(store, environment.environment)).encode()
    content = report.model_dump_json(indent=1).encode()
    own = hashlib.sha256(report.run_id.encode()).hexdigest()[:8]
    name = f"{_folder(environment.environment)}{report.began_at:%Y%m%dT%H%M%SZ}-{report.scenario}-{own}"
    for ending, written in (("html", page), ("json", content)):
        with store.writing(f"{name}.{ending}", only_if_absent=True) as writer:
            writer.write(written)
    return Kept(name, hashlib.sha256(content).hexdigest(), hashlib.sha256(page).hexdigest())


def _read(store: Store, name: str) -> DrillReport | None:
    try:
        return DrillReport.model_validate_json(read_all(store, name))
    except (ValidationError, BackstopError):
        return None


def _folder(environment: str) -> str:
    return f"{environment}/drills/"
