"""Drill a disaster: let it happen beside what is live, recover by nothing but the backup, measure, keep the evidence.

look for what is live → what happens, and the recovery (SCENARIOS) → verdict → evidence → status
"""

from typing import Annotated

from pydantic import Field

from blocks.drills import Scenario
from blocks.environment import Environment
from flows.guards.lock import locked
from flows.guards.parameters import RequestedBy
from flows.guards.procedure import procedure
from tasks.drill import Drill, DrillFailed
from tasks.drill_database_loss import hold_database_loss
from tasks.drill_evidence import keep_evidence
from tasks.drill_holding import choose_backup, hold_drill
from tasks.drill_recovery_test import hold_recovery_test
from tasks.drill_region_loss import hold_region_loss
from tasks.drill_report import in_short
from tasks.drill_service_outage import hold_service_outage
from tasks.drill_total_loss import hold_total_loss
from tasks.notice import announce

Which = Annotated[
    str, Field(max_length=64, description="Id of the backup; empty for the newest proven one, else the newest.")
]
What = Annotated[Scenario, Field(description="What happens, and has to be recovered from.")]

SCENARIOS = {
    "recovery-test": hold_recovery_test,
    "database-loss": hold_database_loss,
    "service-outage": hold_service_outage,
    "region-loss": hold_region_loss,
    "total-loss": hold_total_loss,
}


@procedure("dr-drill", run_name="drill {scenario!s:.20} in {environment!s:.60}")
def dr_drill(
    environment: Environment,
    scenario: What = "recovery-test",
    backup: Which = "",
    requested_by: RequestedBy = "",
) -> str:
    """Find out whether the service could be recovered now, by recovering it where it harms nobody."""
    chosen = choose_backup(environment, scenario, backup)
    with locked(environment, aspect="drills"):
        report = hold_drill(Drill(environment, scenario), SCENARIOS[scenario], chosen)
        report = keep_evidence(environment, report)
    if report.verdict != "kept":
        title = f"{environment.environment} is not ready: the drill {scenario} {report.verdict}"
        announce(environment, title, "\n".join(finding.what for finding in report.findings))
        raise DrillFailed(in_short(report))
    return in_short(report)
