"""Prefect's interface as a person uses it: what is clicked, and what can be read."""

import re
import shutil

from playwright.sync_api import Locator, Page, Response, expect

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, PROGRAMS)), None)
"""Path of the first of them that is on PATH."""

RUN_SECONDS = 180


class Interface:
    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.asked: set[str] = set()
        """Every host that the pages asked for something."""
        self._url = url
        page.on("request", lambda request: self.asked.add(re.sub(r"^(\w+:/*[^/]*).*", r"\1", request.url)))

    def log_in(self, login: str) -> None:
        self.page.goto(self._url)
        self.page.get_by_role("textbox").fill(login)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url("**/dashboard")

    def open_run_form(self, procedure: str) -> None:
        """Deployments → search it → Run → Custom run. The list is loaded anew: the page keeps an old one."""
        page = self.page
        page.goto(f"{self._url}/deployments")
        page.get_by_placeholder("Search deployments").fill(procedure)
        row = page.get_by_role("row").filter(has=page.get_by_title(procedure, exact=True))
        link = row.get_by_role("link", name=procedure, exact=True).first
        # Followed by its address: a click is lost when the list is drawn anew in that moment.
        page.goto(self._url + (link.get_attribute("href") or ""))
        page.get_by_role("button", name="Run", exact=True).click()
        page.get_by_text("Custom run").click()
        self.field("environment").wait_for()

    def fields(self) -> dict[str, str]:
        """The form's parameters → what it says about each."""
        fields = self.page.locator(".schema-form-property").all()
        return {
            field.locator(".schema-form-property__label").inner_text().removesuffix(" (Optional)"): field.locator(
                ".schema-form-property__description"
            ).inner_text()
            for field in fields
        }

    def field(self, name: str) -> Locator:
        label = self.page.locator(".schema-form-property__label", has_text=re.compile(rf"^{name}( \(Optional\))?$"))
        return self.page.locator(".schema-form-property").filter(has=label)

    def choices(self, name: str) -> set[str]:
        """Of a field that is a dropdown."""
        options = self._open_dropdown(name)
        texts = {text.strip() for text in options.all_inner_texts()}
        self.page.keyboard.press("Escape")
        options.first.wait_for(state="hidden")
        return texts

    def choose(self, name: str, choice: str) -> None:
        self._open_dropdown(name).filter(has_text=choice).click()

    def _open_dropdown(self, name: str) -> Locator:
        # Its arrow: a click on its text opens and closes it again in Prefect 3.8.8.
        self.field(name).locator(".p-select-button__icon").click()
        options = self.page.locator(".p-select-option")
        options.first.wait_for()
        return options

    def write(self, name: str, text: str) -> None:
        self.field(name).locator("textarea").fill(text)

    def submit(self) -> Response:
        """The server's answer to it."""
        with self.page.expect_response("**/create_flow_run") as answered:
            self.page.get_by_role("button", name="Submit").click()
        return answered.value

    def message(self, text: str) -> Locator:
        """That pops up in the corner. Prefect 3.8.8 shows each one twice."""
        return self.page.get_by_text(text).first

    def open_run(self, run_id: str) -> None:
        self.page.goto(f"{self._url}/runs/flow-run/{run_id}")

    def open_approval_form(self) -> Locator:
        """On a suspended run's page; the plan in it."""
        self.page.get_by_role("button", name="Resume").click()
        plan = self.field("Plan").locator(".schema-form-property__description")
        plan.wait_for()
        return plan

    def fill_in_approval(self, decision: str, person: str, code: str, reason: str = "") -> None:
        self.choose("Decision", decision)
        name = self.field("Name")
        self.write("Name", person) if name.locator("textarea").count() else self.choose("Name", person)
        self.write("Code", code)
        self.write("Reason", reason)

    def press_submit(self) -> None:
        self.page.get_by_role("button", name="Submit").click()

    def answer(self) -> None:
        """Submit the form; the run's page no longer shows it as suspended then."""
        self.press_submit()
        expect(self._state()).not_to_have_text("Suspended")

    def wait_for_state(self, name: str) -> None:
        """On a run's page: until it reads so, without a reload."""
        expect(self._state()).to_have_text(name, timeout=RUN_SECONDS * 1000)

    def message_of_state(self) -> Locator:
        """On a run's page, what its tab of details says."""
        self.page.get_by_text("Details", exact=True).click()
        return self.page.locator(".p-key-value", has_text="State Message")

    def _state(self) -> Locator:
        return self.page.locator(".page-heading-flow-run .state-badge")

    def open_artifact(self, run_id: str, key: str) -> Locator:
        """On the run's page, the tab and the artifact; its page."""
        self.open_run(run_id)
        self.page.get_by_text("Artifacts", exact=True).click()
        self.page.locator(".artifact-card__title", has_text=re.compile(f"^{key}$")).click()
        self.page.wait_for_url("**/artifacts/**")
        return self.page.locator(".artifact-data-view")

    def widths_of_images(self, place: Locator) -> list[int]:
        """In pixels, of what was really drawn; a broken image has none."""
        images = place.locator("img")
        images.first.wait_for()
        return [image.evaluate("image => image.decode().then(() => image.naturalWidth)") for image in images.all()]

    def open_run_list(self) -> None:
        """Loaded anew: the page keeps an old one."""
        self.page.goto(f"{self._url}/runs")

    def listed_run(self, name: str) -> Locator:
        return self.page.locator(".flow-run-list-item").filter(has_text=name)
