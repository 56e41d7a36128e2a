"""What was deployed where, and what it brought: an entry a deploy."""

from datetime import UTC, datetime

from blocks.evidence import Evidence
from tasks.deploy_plan import DeployPlan
from tasks.ledger import current_run
from tasks.markdown import plain
from tasks.run_page import show_page


def add_changelog_entry(plan: DeployPlan) -> None:
    """`changelog/ENVIRONMENT/TIME-VERSION.md` in the evidence store, and the newest one in the interface."""
    now, asked_by = datetime.now(UTC), plain(current_run().requested_by) or "nobody named"
    lines = [
        f"## {plan.version} · {now:%Y-%m-%d %H:%M} UTC",
        f"Replaced {plan.replaces}, asked for by {asked_by}.",
        "",
        *(f"- {plain(change)}" for change in plan.changes),
    ]
    name = f"changelog/{plan.environment}/{now:%Y%m%dT%H%M%S%f}-{plan.version}.md"
    Evidence.from_surroundings().write_once(name, "\n".join(lines) + "\n")
    show_page("\n".join(lines), key=f"changelog-{plan.environment}", description=plan.version)
