"""Where each part of the stack is: addresses made of ports, folders and secrets."""

from dataclasses import dataclass
from pathlib import Path

from deployments.stack.credentials import Credentials, read_credentials
from deployments.stack.record import read_record
from deployments.stack.state import State

ENVIRONMENTS = ("staging", "production")
_REDIS_NUMBER = {"staging": 0, "production": 1}


def logins(environment: str) -> tuple[str, str]:
    """The two roles that the service logs in as, in turns. Both act as the owner of its database."""
    return f"shop_{environment}_a", f"shop_{environment}_b"


def first_login(environment: str) -> str:
    return logins(environment)[0]


NAMES = (
    *("postgres", "redis", "server", "run-starter", "worker", "supervisor"),
    *("shop-staging", "shop-production", "visitors"),
)
"""The parts, in the order of starting; they end in the reverse one."""
NAMES_WITHOUT_SAMPLE = ("postgres", "server", "run-starter", "worker", "supervisor")

PORT_OWNERS = {
    "postgres": "postgres",
    "redis": "redis",
    "server": "server",
    "shop-staging": "shop-staging",
    "shop-staging-control": "shop-staging",
    "shop-production": "shop-production",
    "shop-production-control": "shop-production",
}
"""Port → the part that listens there."""


@dataclass(frozen=True)
class Layout:
    state: State
    credentials: Credentials
    ports: dict[str, int]
    sample: bool = True
    """Whether the sample service is a part, with its environments."""

    @property
    def environments(self) -> tuple[str, ...]:
        """Of the sample service."""
        return ENVIRONMENTS if self.sample else ()

    @property
    def interface_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['server']}"

    @property
    def api_url(self) -> str:
        return f"{self.interface_url}/api"

    @property
    def repository(self) -> Path:
        return self.state.folder / "shop"

    @property
    def visits(self) -> Path:
        """The log of the visitors of production."""
        return self.state.folder / "visitors.jsonl"

    @property
    def database_passwords(self) -> dict[str, str]:
        """Role → password. Each role owns the database of its own name."""
        return {
            "prefect": self.credentials.prefect_database_password,
            "backstop": self.credentials.ledger_password,
            **{f"shop_{name}": self.credentials.of_shop(name).database_password for name in self.environments},
        }

    @property
    def operating_passwords(self) -> dict[str, str]:
        """Role → password, of those that act upon the shop's databases and own none."""
        if not self.sample:
            return {}
        return {
            "shop_backup": self.credentials.backup_database_password,
            "shop_restore": self.credentials.restore_database_password,
            "shop_rotate": self.credentials.rotate_database_password,
            **{first_login(name): self.credentials.of_shop(name).login_password for name in self.environments},
        }

    def database_url(self, role: str, driver: str = "postgresql", database: str = "") -> str:
        password = {**self.database_passwords, **self.operating_passwords}[role]
        return f"{driver}://{role}:{password}@127.0.0.1:{self.ports['postgres']}/{database or role}"

    def redis_url(self, environment: str) -> str:
        password, number = self.credentials.redis_password, _REDIS_NUMBER[environment]
        return f"redis://:{password}@127.0.0.1:{self.ports['redis']}/{number}"

    def front_url(self, environment: str) -> str:
        return f"http://127.0.0.1:{self.ports[f'shop-{environment}']}"

    def control_url(self, environment: str) -> str:
        return f"http://127.0.0.1:{self.ports[f'shop-{environment}-control']}"

    def sandbox(self, environment: str) -> Path:
        return self.state.folder / "sandbox" / f"shop-{environment}"


def read_layout(state: State) -> Layout:
    """Of a stack that was started before. Raises Refused when there was none."""
    record = read_record(state)
    return Layout(state, read_credentials(state), record.ports, record.sample)
