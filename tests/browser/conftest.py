from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.interface import BROWSER, Interface
from tests.running_stack import RunningStack

QUIET = (
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
AS_ROOT = "--no-sandbox"
SECONDS = 40


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=BROWSER, args=[AS_ROOT, *QUIET])


@pytest.fixture
def interface(stack: RunningStack, browser: Browser) -> Iterator[Interface]:
    """Prefect's, logged in to."""
    with browser.new_context(viewport={"width": 1280, "height": 1000}) as context:
        context.set_default_timeout(SECONDS * 1000)
        interface = Interface(context.new_page(), stack.layout.interface_url)
        interface.log_in((stack.state.folder / "prefect-login").read_text().strip())
        yield interface
