"""Staging under another name, whose database can move to a second server, which has nothing but a restoring role."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from psycopg import sql

from blocks.platforms.sandbox import SandboxPlatform
from blocks.postgres.connection import read_conninfo
from deployments.apply import ROOT
from deployments.stack.state import write_private
from tests.databases.roles import make_role
from tests.deployments.shop.processes import Postgres, running_postgres
from tests.flows.shop_database import NAME
from tests.running_stack import RunningStack

STAGING = ROOT / "deployments" / "environments" / "shop-staging.yaml"
ENVIRONMENT = "shop-moving"
INSTANCE = "second"
VARIABLE = "DATABASE_URL"


@dataclass(frozen=True)
class Moving:
    stack: RunningStack
    second: Postgres
    folder: Path
    """Holds what the environment refers to: `url` and `restore-url` of both servers, `second-` before the second's."""

    @property
    def platform(self) -> SandboxPlatform:
        url = self.stack.layout.control_url("staging")
        return SandboxPlatform(url=url, token=f"file:{self.folder}/token", timeout=5)

    @property
    def pointed_at(self) -> tuple[int, str]:
        """Port and name of the database that the application finds."""
        login = read_conninfo(self.platform.read_variables()[VARIABLE])
        return int(login["port"]), login["dbname"]

    @contextmanager
    def first_lost(self) -> Iterator[None]:
        """For this environment nobody answers where its first server was; its application still looks there."""
        port = self.stack.layout.ports["postgres"]
        found = {name: (self.folder / name).read_text() for name in ("url", "restore-url")}
        variables = self.platform.read_variables()
        gone = {name: url.replace(f":{port}/", ":1/") for name, url in found.items()}
        for name, url in gone.items():
            self.write(name, url)
        self.point(gone["url"])
        try:
            yield
        finally:
            for name, url in found.items():
                self.write(name, url)
            self.platform.set_variables(variables)

    def point(self, url: str) -> None:
        self.platform.set_variables({**self.platform.read_variables(), VARIABLE: url})

    def write(self, name: str, text: str) -> None:
        """What the environment refers to by that name."""
        write_private(self.folder / name, text)

    def names(self) -> list[str]:
        """Of the databases of the second server, but for its own."""
        found = self.second.execute("SELECT datname FROM pg_database WHERE datname LIKE 'shop%' ORDER BY 1")
        return [str(name) for (name,) in found]

    def roles(self) -> set[str]:
        """Of the second server, but for its own."""
        return {str(name) for (name,) in self.second.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'shop%'")}

    def back_up(self) -> str:
        """A proven backup of whatever database is live; its id."""
        made = self.stack.run_procedure("back-up-database", ENVIRONMENT)
        assert made["ending"] == "Done", made
        backup = str(made["message"].split()[1])
        assert self.stack.run_procedure("verify-backup", ENVIRONMENT, backup=backup)["ending"] == "Done"
        return backup

    def empty_second(self) -> None:
        with self.second.connect() as connection:
            for name in self.names():
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            for name in sorted(self.roles()):
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@contextmanager
def moving_environment(stack: RunningStack, folder: Path) -> Iterator[Moving]:
    """Its platform is as before afterwards."""
    with running_postgres() as second:
        moving, layout = Moving(stack, second, folder), stack.layout
        password = read_conninfo(layout.database_url(NAME))["password"]
        moving.write("token", layout.credentials.staging.sandbox_token)
        moving.write("url", layout.database_url(NAME))
        moving.write("restore-url", stack.surroundings["SHOP_STAGING_RESTORE_DATABASE_URL"])
        moving.write("second-url", f"postgresql://{NAME}:{password}@127.0.0.1:{second.port}/{NAME}")
        moving.write("second-restore-url", make_role(second, "postgres", "instances"))
        stack.run("apply", str(_write_environment(folder)))
        variables, traffic = moving.platform.read_variables(), moving.platform.read_traffic()
        try:
            moving.point(layout.database_url(NAME))
            yield moving
        finally:
            moving.platform.set_variables(variables)
            moving.platform.shift_traffic(traffic)


def _write_environment(folder: Path) -> Path:
    content = yaml.safe_load(STAGING.read_text())
    content["environment"] = ENVIRONMENT
    first, second = (
        {"url": f"file:{folder}/{server}url", "restore_url": f"file:{folder}/{server}restore-url"}
        for server in ("", "second-")
    )
    content["database"] |= {**first, "variable": VARIABLE, "instances": {INSTANCE: second}}
    path = folder / f"{ENVIRONMENT}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
