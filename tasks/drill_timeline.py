"""The phases of a drill against its objective, as SVG: small, without scripts, readable on a light and a dark page."""

from collections.abc import Iterator
from html import escape

from tasks.drill_report import DrillReport, Phase, in_words

WIDTH, LEFT, RIGHT = 720, 120, 90
ROW, TOP, BAR = 24, 46, 14
COUNTS, BESIDE, LIMIT, INK = "#3b82f6", "#868d99", "#d97706", "#868d99"
LEAST_WIDTH = 2


def timeline(report: DrillReport) -> str:
    """A bar a phase; blue is what counts to the recovery time, the dashed line is where that has to end."""
    height = TOP + ROW * len(report.phases) + 24
    return "".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
            f' role="img" aria-label="Timeline of the phases" font-family="system-ui, sans-serif" font-size="12"'
            f' fill="{INK}">',
            *_bars(report),
            *_limit(report, height),
            "</svg>",
        ]
    )


def _bars(report: DrillReport) -> Iterator[str]:
    for number, phase in enumerate(report.phases):
        y = TOP + ROW * number
        x, width = _across(report, phase.began), max(LEAST_WIDTH, phase.seconds * _per_second(report))
        yield f'<text x="{LEFT - 10}" y="{y + 11}" text-anchor="end">{escape(phase.name)}</text>'
        yield f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" fill="{_color(phase)}"/>'
        yield f'<text x="{x + width + 6:.1f}" y="{y + 11}">{in_words(phase.seconds)}</text>'


def _limit(report: DrillReport, height: int) -> Iterator[str]:
    """Where it lies far beyond the drawing, an arrow says so."""
    began = next((phase.began for phase in report.phases if phase.counts), None)
    if began is None:
        return
    told = f"objective: {in_words(report.rto.allowed_seconds)} after the disaster"
    x = _across(report, began + report.rto.allowed_seconds)
    yield f'<path d="M{_across(report, began):.1f} {TOP - 8}V{height - 20}" stroke="{INK}" stroke-dasharray="2 3"/>'
    yield f'<text x="{_across(report, began) + 4:.1f}" y="{TOP - 12}">disaster</text>'
    if x <= WIDTH - RIGHT:
        line = f'stroke="{LIMIT}" stroke-width="1.5" stroke-dasharray="5 4"'
        yield f'<path d="M{x:.1f} {TOP - 22}V{height - 20}" {line}/>'
        yield f'<text x="{x + 4:.1f}" y="{TOP - 26}" fill="{LIMIT}">{told}</text>'
    else:
        yield f'<text x="{WIDTH}" y="{TOP - 26}" text-anchor="end" fill="{LIMIT}">{told} →</text>'


def _color(phase: Phase) -> str:
    return COUNTS if phase.counts else BESIDE


def _per_second(report: DrillReport) -> float:
    """The objective lies inside of the drawing as long as that leaves half of it to the phases."""
    limit = next((phase.began for phase in report.phases if phase.counts), 0.0) + report.rto.allowed_seconds
    drawn = max(report.seconds, 0.1)
    return (WIDTH - LEFT - RIGHT) / (max(limit, drawn) if limit <= 2 * drawn else drawn)


def _across(report: DrillReport, second: float) -> float:
    return LEFT + second * _per_second(report)
