"""A line chart as SVG: small, without scripts, readable in light and dark."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, MARGIN = 640, 160, 36
Point = tuple[float, float]


def line_chart(title: str, points: list[Point], unit: str, marks: Sequence[tuple[float, str]] = ()) -> str:
    """`points` are (seconds, value); `marks` are (seconds, word) for what happened then."""
    width = max([x for x, _ in points] + [1.0])
    top = max([y for _, y in points] + [0.001]) * 1.15

    def across(x: float) -> float:
        return MARGIN + x / width * (WIDTH - 2 * MARGIN)

    def down(y: float) -> float:
        return HEIGHT - MARGIN - y / top * (HEIGHT - 2 * MARGIN)

    line = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in points)
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#fff"/>',
        f'<text x="{MARGIN}" y="18" font-size="13" fill="#223">{escape(title)}</text>',
        f'<text x="{WIDTH - MARGIN}" y="18" text-anchor="end" fill="#667">0 – {top:.3g} {escape(unit)}</text>',
        f'<path d="M{MARGIN} {down(0):.1f}H{WIDTH - MARGIN}" stroke="#99a"/>',
        *(_mark(across(x), word) for x, word in marks),
        f'<polyline points="{line}" fill="none" stroke="#2457d6" stroke-width="2"/>',
        f'<text x="{WIDTH - MARGIN}" y="{HEIGHT - 8}" text-anchor="end" fill="#667">{width:.0f} s</text>',
        "</svg>",
    ]
    return "".join(drawn)


def as_markdown_image(title: str, svg: str) -> str:
    """Prefect's pages show SVG only as an image; written inline it loses its lines."""
    return f"![{title}](data:image/svg+xml;base64,{b64encode(svg.encode()).decode()})"


def _mark(x: float, word: str) -> str:
    return (
        f'<path d="M{x:.1f} 26V{HEIGHT - MARGIN}" stroke="#c33" stroke-dasharray="3 3"/>'
        f'<text x="{x + 3:.1f}" y="36" fill="#c33">{escape(word)}</text>'
    )
