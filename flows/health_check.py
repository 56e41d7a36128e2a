"""Look at everything that keeps a service alive, and say what is wrong. Changes nothing."""

from prefect.artifacts import create_table_artifact

from blocks.environment import Environment
from blocks.errors import ServiceIsUnhealthy
from flows.guards.parameters import RequestedBy
from flows.guards.procedure import procedure
from tasks.health import check_health
from tasks.ledger import current_run


@procedure("health-check", run_name="health of {environment!s:.60}")
def health_check(
    environment: Environment,
    requested_by: RequestedBy = "",
) -> str:
    """Application, components, database, Redis, webhook, critical endpoints, response time and certificate."""
    checks = check_health(environment)
    create_table_artifact(
        [
            {
                "check": check.name,
                "passed": "yes" if check.passed else "NO",
                "detail": check.detail,
                "ms": round(check.milliseconds),
                "hint": check.hint,
            }
            for check in checks
        ],
        key="health",
        description=f"Health of {environment.environment}",
    )
    current_run().facts["checks"] = [check.model_dump() for check in checks]
    failed = [f"{check.name} {check.detail} → {check.hint}" for check in checks if not check.passed]
    if failed:
        raise ServiceIsUnhealthy(f"{len(failed)} of {len(checks)} checks failed: {'; '.join(failed)}")
    return f"All {len(checks)} checks of {environment.environment} passed."
