"""A person deploys from Prefect's interface, and reads there what became of it."""

import pytest
from playwright.sync_api import expect

from tests.browser.interface import BROWSER, PROGRAMS, Interface
from tests.prefect_server import count_runs, environment_names, prefect_api
from tests.running_stack import RunningStack

pytestmark = pytest.mark.skipif(not BROWSER, reason=f"No browser: none of {', '.join(PROGRAMS)} is on PATH.")

LIST_MILLISECONDS = 60_000
"""The list looks anew now and then only, and what it shows at first may be older than its page."""
DESCRIPTIONS = {
    "environment": "Which environment to act upon, as shop-production.",
    "version": "Release tag, as v1.2.0.",
    "commit": "Commit to tag as this version; empty when it is tagged.",
    "hotfix": "Skip staging and watch closely for longer.",
    "plan_only": "Show the plan and change nothing.",
    "requested_by": "Who asks for this. Claimed, not proven.",
}


def test_a_deploy_from_the_run_form_ends_with_a_report_that_shows_its_charts(
    interface: Interface, stack: RunningStack
) -> None:
    interface.open_run_form("deploy")
    assert interface.fields() == DESCRIPTIONS
    with prefect_api(stack) as api:
        assert interface.choices("environment") == environment_names(api) >= {"shop-production", "shop-staging"}

    interface.choose("environment", "shop-staging")
    interface.write("version", "v1.1.0")
    run_id = interface.submit().json()["id"]
    interface.open_run(run_id)
    interface.wait_for_state("Done")

    plan = interface.open_artifact(run_id, "plan")
    expect(plan.get_by_role("heading", name="Deploy v1.1.0 to shop-staging")).to_be_visible()
    expect(plan.get_by_role("row", name="release exists ✓")).to_be_visible()
    expect(interface.open_artifact(run_id, "monitor")).to_contain_text("100%")
    report = interface.open_artifact(run_id, "report")
    expect(report.get_by_role("heading", name="Done: deploy in shop-staging")).to_be_visible()
    assert interface.widths_of_images(report) == [720, 720]
    assert interface.asked <= {stack.layout.interface_url, "data:", "blob:http:"}


def test_a_bad_version_is_refused_in_the_form_and_nothing_starts(interface: Interface, stack: RunningStack) -> None:
    with prefect_api(stack) as api:
        before = count_runs(api)
        interface.open_run_form("deploy")
        interface.choose("environment", "shop-staging")
        interface.write("version", "../../etc")
        assert interface.submit().status == 409
        expect(interface.message("Validation failed for field 'version'")).to_be_visible()
        assert count_runs(api) == before


def test_a_refused_run_reads_refused_in_the_list(interface: Interface, stack: RunningStack) -> None:
    assert stack.run_as_ci("deploy", "shop-staging", version="v0.0.404")["ending"] == "Refused"
    interface.open_run_list()
    run = interface.listed_run("deploy v0.0.404 to shop-staging").first
    expect(run.locator(".state-badge")).to_have_text("Refused", timeout=LIST_MILLISECONDS)
