"""The report of a drill, opened from a disk where there is no network."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tasks.drill_page import html_page
from tests.browser.interface import BROWSER, PROGRAMS
from tests.tasks.drill_reports import FOUND, a_report

pytestmark = pytest.mark.skipif(not BROWSER, reason=f"No browser: none of {', '.join(PROGRAMS)} is on PATH.")


@pytest.mark.parametrize("width", [1280, 390])
def test_it_is_all_there_and_asks_nobody(browser: Browser, tmp_path: Path, width: int) -> None:
    page_file = tmp_path / "drill.html"
    page_file.write_text(html_page(a_report(), [a_report(verdict="kept")]))
    asked: list[str] = []
    complaints: list[str] = []
    with browser.new_context(viewport={"width": width, "height": 900}, offline=True) as context:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(page_file.as_uri())

        expect(page.get_by_role("heading", level=1)).to_have_text(
            "Recovery drill: recovery-test of shop-production: broken"
        )
        expect(page.get_by_text(FOUND)).to_be_visible()
        drawing = page.get_by_role("img", name="Timeline of the phases")
        expect(drawing).to_be_visible()
        restore = drawing.locator("rect").nth(1).bounding_box()
        provision = drawing.locator("rect").nth(0).bounding_box()
        assert restore
        assert provision
        assert restore["width"] == pytest.approx(provision["width"] * 2, rel=0.05)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        heading_color = page.evaluate("getComputedStyle(document.querySelector('.verdict')).color")
        assert heading_color == "rgb(220, 38, 38)"
        page.screenshot(path=tmp_path / "drill.png", full_page=True)
    assert asked == [page_file.as_uri()]
    assert complaints == []
