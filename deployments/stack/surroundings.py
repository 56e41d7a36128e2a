"""The environment variables that flows and the command line work with."""

from deployments.stack.layout import Layout, read_layout
from deployments.stack.postgres_home import PostgresHome
from deployments.stack.state import State

NO_HEARTBEAT = '{"heartbeat_frequency": null}'
"""Ending a flow run's heartbeat thread takes a second, for every subflow. Recover needs no heartbeats.

PREFECT_FLOWS_HEARTBEAT_FREQUENCY cannot say "none"; the settings' group as JSON can.
"""


def worker_environment(state: State) -> dict[str, str]:
    """Raises Refused when the stack was never started."""
    return describe_surroundings(read_layout(state))


def describe_surroundings(layout: Layout) -> dict[str, str]:
    variables = {
        **client_environment(layout),
        "PREFECT_FLOWS": NO_HEARTBEAT,
        "BACKSTOP_STATE": str(layout.state.folder),
        "BACKSTOP_LEDGER_URL": layout.database_url("backstop"),
        "BACKSTOP_APPROVALS_KEY": layout.credentials.approvals_key,
        "BACKSTOP_EVIDENCE": str(layout.state.folder / "evidence"),
        "BACKSTOP_POSTGRES_BIN": str(PostgresHome(layout.state).programs),
    }
    if layout.sample:
        variables |= {
            "SHOP_BACKUPS": str(layout.state.folder / "backups"),
            "SHOP_BACKUP_RECIPIENT": layout.credentials.backup_recipient,
            "SHOP_BACKUP_IDENTITY": layout.credentials.backup_identity,
        }
    for environment in layout.environments:
        variables |= _shop(layout, environment)
    return variables


def client_environment(layout: Layout) -> dict[str, str]:
    """What any program needs that talks to the stack's Prefect server, and to nothing outside."""
    return {
        "PREFECT_API_URL": layout.api_url,
        "PREFECT_API_AUTH_STRING": layout.credentials.prefect_login,
        "PREFECT_HOME": str(layout.state.folder / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # The server asks for no such token; every client would ask it for one all the same.
        "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }


def _shop(layout: Layout, environment: str) -> dict[str, str]:
    credentials = layout.credentials.of_shop(environment)
    values = {
        "URL": layout.front_url(environment),
        "SANDBOX_URL": layout.control_url(environment),
        "SANDBOX_TOKEN": credentials.sandbox_token,
        "DATABASE_URL": layout.database_url(f"shop_{environment}"),
        "BACKUP_DATABASE_URL": layout.database_url("shop_backup", database=f"shop_{environment}"),
        "RESTORE_DATABASE_URL": layout.database_url("shop_restore", database=f"shop_{environment}"),
        "ROTATE_DATABASE_URL": layout.database_url("shop_rotate", database="postgres"),
        "REDIS_URL": layout.redis_url(environment),
        "DEMO_PASSWORD": credentials.demo_password,
        "WEBHOOK_SECRET": credentials.webhook_secret,
        "REPOSITORY": str(layout.repository),
    }
    prefix = f"SHOP_{environment.upper()}_"
    return {f"{prefix}{name}": value for name, value in values.items()}
