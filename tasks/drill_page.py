"""The report of a drill for people: one page that needs no network, and the same in short for the run's page."""

from collections.abc import Iterator, Sequence
from html import escape

from tasks.chart import as_markdown_image
from tasks.drill_report import DrillReport, Estimate, Promise, SteadyState, in_short, in_words
from tasks.drill_timeline import timeline
from tasks.markdown import plain

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 760px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { text-align: left; vertical-align: top; padding: .3em .8em .3em 0; border-bottom: 1px solid #8885; }
td { overflow-wrap: anywhere; }
svg { max-width: 100%; height: auto; }
code { font-size: .9em; overflow-wrap: anywhere; }
.kept { color: #16a34a; } .broken, .failed, .could-not-run, .not-measured { color: #dc2626; }
.verdict { font-weight: 600; }
</style>
"""


def html_page(report: DrillReport, earlier: Sequence[DrillReport]) -> str:
    """All of the evidence, and the drills before this one, newest first."""
    return "\n".join([*_html(report, earlier), "</body>", "</html>", ""])


def markdown_page(report: DrillReport) -> str:
    """For the run's page in Prefect."""
    return "\n".join(_markdown(report))


def _html(report: DrillReport, earlier: Sequence[DrillReport]) -> Iterator[str]:
    title = escape(f"Recovery drill: {report.scenario} of {report.environment}")
    yield f"{_HEAD}<title>{title}</title>\n</head>\n<body>\n<h1>{title}: {_word(report.verdict)}</h1>"
    yield f"<p>{escape(in_short(report))}</p>"
    yield "<h2>Objectives</h2>"
    yield from _table(
        ("", "allowed", "measured", "verdict", ""),
        [_objective("RTO", report.rto), _objective("RPO", report.rpo)],
    )
    yield "<h2>Timeline</h2>"
    yield timeline(report)
    yield "<h2>Findings</h2>"
    if report.findings:
        found = [(escape(one.what), escape(one.owner) or "nobody yet") for one in report.findings]
        yield from _table(("what went wrong", "owner"), found)
    else:
        yield "<p>None.</p>"
    yield "<h2>Steady state</h2>"
    yield from _table(
        ("", "tables", "rows", "content", "checks that passed"),
        [_state(state) for state in (report.before, report.after) if state],
    )
    yield "<h2>Facts</h2>"
    yield from _table(("", ""), [(name, escape(value)) for name, value in _facts(report)])
    yield "<h2>Earlier drills</h2>"
    yield from _history(earlier)


def _history(earlier: Sequence[DrillReport]) -> Iterator[str]:
    if not earlier:
        yield "<p>This is the first.</p>"
        return
    yield from _table(
        ("when", "scenario", "RTO", "RPO", "verdict"),
        [
            (
                f"{one.began_at:%Y-%m-%d %H:%M}",
                one.scenario,
                _measured(one.rto),
                _measured(one.rpo),
                _word(one.verdict),
            )
            for one in earlier
        ],
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Cells are HTML."""
    yield "<table><tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"
    for row in rows:
        yield "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
    yield "</table>"


def _objective(name: str, promise: Promise) -> tuple[str, ...]:
    allowed = in_words(promise.allowed_seconds)
    return name, allowed, _measured(promise), _word(promise.verdict), escape(promise.how)


def _measured(promise: Promise) -> str:
    return "–" if promise.measured_seconds is None else in_words(promise.measured_seconds)


def _word(verdict: str) -> str:
    return f'<span class="verdict {verdict.replace(" ", "-")}">{verdict}</span>'


def _state(state: SteadyState) -> tuple[str, ...]:
    content = f"<code>{state.content_sha256[:16]}</code>" if state.content_sha256 else "–"
    return escape(state.of), str(state.tables), str(state.rows), content, escape(", ".join(state.passed)) or "–"


def _estimated(estimate: Estimate, rto: Promise) -> str:
    late = f"; {in_words(rto.allowed_seconds)} are allowed" if estimate.seconds > rto.allowed_seconds else ""
    size = f"{estimate.times_as_large:g} times as large as what was restored"
    return f"about {in_words(estimate.seconds)} with {estimate.backup}, the newest backup, {size}{late}"


def _facts(report: DrillReport) -> Iterator[tuple[str, str]]:
    yield "began", f"{report.began_at:%Y-%m-%d %H:%M:%S} UTC, {in_words(report.seconds)} in all"
    yield "disaster", f"{report.disaster_at:%Y-%m-%d %H:%M:%S} UTC" if report.disaster_at else "never came to it"
    yield "backup", report.backup or "none"
    if report.read_from:
        yield "read from", report.read_from
    yield "release", report.release or "none"
    yield "kept from reaching out by", report.isolation or "nothing: no application was started"
    if report.estimate:
        yield "estimate", _estimated(report.estimate, report.rto)
    yield "asked for by", report.requested_by or "nobody named"
    yield "run", report.run_id
    yield "audit trail before it", report.trail_before


def _markdown(report: DrillReport) -> Iterator[str]:
    yield f"# {report.verdict}: {report.scenario}"
    yield plain(in_short(report))
    yield ""
    yield "| | allowed | measured | verdict |"
    yield "|---|--:|--:|---|"
    for name, promise in (("RTO", report.rto), ("RPO", report.rpo)):
        yield f"| {name} | {in_words(promise.allowed_seconds)} | {_measured(promise)} | {promise.verdict} |"
    yield ""
    if report.phases:
        yield as_markdown_image("Timeline", timeline(report))
    if report.estimate:
        yield plain(_estimated(report.estimate, report.rto))
        yield ""
    for finding in report.findings:
        yield f"- {plain(finding.what)}"
