"""A line chart as SVG: small, without scripts, readable on a light page and on a dark one."""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from html import escape
from math import ceil, floor, log10
from typing import NamedTuple

WIDTH, HEIGHT = 720, 200
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 52, 28
LINE, LIMIT, INK = "#3b82f6", "#d97706", "#868d99"
"""Each keeps its contrast on white and on black: the page behind may be either."""

LINE_STYLE = f'stroke="{LINE}" stroke-width="2"'
LIMIT_STYLE = f'stroke="{LIMIT}" stroke-width="1.5" stroke-dasharray="5 4"'

MOST_POINTS = 300
Point = tuple[float, float]


class Scale(NamedTuple):
    """What the edges of the drawing stand for."""

    seconds: float
    top: float

    def across(self, second: float) -> float:
        return round(LEFT + second / self.seconds * (WIDTH - LEFT - RIGHT), 1)

    def down(self, value: float) -> float:
        return round(HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM), 1)

    def path(self, points: Sequence[Point]) -> str:
        return " ".join(f"{self.across(second)},{self.down(value)}" for second, value in points)


def line_chart(
    title: str,
    points: Sequence[Point],
    unit: str,
    limit: Sequence[Point] = (),
    marks: Sequence[tuple[float, str]] = (),
) -> str:
    """`points` and `limit` are (seconds, value); `marks` are (seconds, word) for what happened then."""
    points, limit = _thinned(points), _thinned(limit)
    scale = Scale(
        seconds=max([second for second, _ in [*points, *marks]] + [1.0]),
        top=_round_up(max([value for _, value in [*points, *limit]] + [0.001])),
    )
    return "".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
            f' font-family="system-ui, sans-serif" font-size="11" fill="{INK}">',
            f'<text x="0" y="14" font-size="13" font-weight="600">{escape(title)}</text>',
            *_legend(bool(limit)),
            *_value_axis(scale, unit),
            *_time_axis(scale),
            *_marks(scale, marks),
            f'<polyline points="{scale.path(limit)}" fill="none" {LIMIT_STYLE}/>',
            f'<polyline points="{scale.path(points)}" fill="none" {LINE_STYLE}/>',
            "</svg>",
        ]
    )


def as_markdown_image(title: str, svg: str) -> str:
    """Prefect's pages show SVG only as an image; written inline it loses its lines."""
    return f"![{title}](data:image/svg+xml;base64,{b64encode(svg.encode()).decode()})"


def _legend(limited: bool) -> Iterator[str]:
    right = WIDTH - RIGHT
    if limited:
        yield f'<path d="M{right - 150} 10h18" {LINE_STYLE}/>'
        yield f'<text x="{right - 127}" y="14">measured</text>'
        yield f'<path d="M{right - 66} 10h18" {LIMIT_STYLE}/>'
        yield f'<text x="{right}" y="14" text-anchor="end">allowed</text>'


def _value_axis(scale: Scale, unit: str) -> Iterator[str]:
    for value in (0.0, scale.top / 2, scale.top):
        y = scale.down(value)
        yield f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="{INK}" stroke-opacity="{0.3 if value else 1}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{value:g} {escape(unit)}</text>'


def _time_axis(scale: Scale) -> Iterator[str]:
    unit, word = (60, "min") if scale.seconds >= 300 else (1, "s")
    step = _round_up(scale.seconds / unit / 6)
    for number in range(floor(scale.seconds / unit / step) + 1):
        x = scale.across(number * step * unit)
        yield f'<text x="{x}" y="{HEIGHT - 10}" text-anchor="middle">{number * step:g} {word}</text>'


def _marks(scale: Scale, marks: Sequence[tuple[float, str]]) -> Iterator[str]:
    for second, word in marks:
        x = scale.across(second)
        yield f'<path d="M{x} {TOP - 14}V{HEIGHT - BOTTOM}" stroke="{INK}" stroke-dasharray="2 3"/>'
        yield f'<text x="{x + 4}" y="{TOP - 6}">{escape(word)}</text>'


def _thinned(points: Sequence[Point]) -> list[Point]:
    """At most MOST_POINTS: of every group the worst, so that no peak is lost."""
    group = ceil(len(points) / MOST_POINTS) or 1
    return [max(points[at : at + group], key=lambda point: point[1]) for at in range(0, len(points), group)]


def _round_up(value: float) -> float:
    """To 1, 2 or 5 times a power of ten."""
    power = 10.0 ** floor(log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * 0.999)
