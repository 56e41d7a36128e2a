from math import pi, sin
from xml.etree import ElementTree

import pytest

from tasks.chart import HEIGHT, MOST_POINTS, WIDTH, Point, line_chart

SVG = "{http://www.w3.org/2000/svg}"


def read(svg: str) -> tuple[list[Point], list[str]]:
    """The corners of the measured line, and every text."""
    picture = ElementTree.fromstring(svg)  # noqa: S314 - our own
    line = picture.findall(f"{SVG}polyline")[-1].attrib["points"]
    corners = [tuple(map(float, corner.split(","))) for corner in line.split()]
    return corners, [text.text or "" for text in picture.iter(f"{SVG}text")]  # type: ignore[return-value]


@pytest.mark.parametrize("points", [[], [(0.0, 0.0)], [(3.0, 0.00001)], [(0.0, 1e9), (86_400.0, 0.0)]])
def test_whatever_was_measured_stays_inside_the_picture(points: list[Point]) -> None:
    corners, _ = read(line_chart("title", points, "%", marks=[(1.0, "10 %")]))
    assert len(corners) == len(points)
    assert all(0 <= across <= WIDTH and 0 <= down <= HEIGHT for across, down in corners)


def test_a_day_of_readings_is_thinned_without_losing_its_one_peak() -> None:
    points = [(second / 2, 1 + sin(second / 1000 * pi) / 10) for second in range(172_800)]
    points[86_001] = (43_000.5, 50.0)
    svg = line_chart("title", points, "%")
    corners, _ = read(svg)
    assert len(corners) <= MOST_POINTS
    assert len(svg) < 20_000
    assert min(down for _, down in corners) < HEIGHT / 2
    assert sum(down < HEIGHT / 2 for _, down in corners) == 1


def test_axes_are_labelled_in_round_steps_up_to_what_is_allowed() -> None:
    _, texts = read(line_chart("Failed", [(0.0, 0.2), (18.0, 0.4)], "%", limit=[(0.0, 1.0), (18.0, 1.0)]))
    assert {"0 %", "0.5 %", "1 %", "0 s", "5 s", "15 s", "measured", "allowed"} <= set(texts)
    _, texts = read(line_chart("Slow", [(0.0, 180.0), (1800.0, 90.0)], "ms"))
    assert {"0 ms", "200 ms", "5 min", "30 min"} <= set(texts)


def test_words_in_a_chart_cannot_break_out_of_it() -> None:
    _, texts = read(line_chart("<script>&", [(0.0, 1.0)], "%", marks=[(0.0, '"><image href="x"/>')]))
    assert {"<script>&", '"><image href="x"/>'} <= set(texts)
