"""Production and a file beside it, whose database login is rotated."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg

from blocks.sinks.env_file import EnvFile
from deployments.stack.layout import logins
from tests.blocks.platforms.waiting import eventually
from tests.flows.production import Production
from tests.flows.records import Records

ENVIRONMENT, VARIABLE = "shop-rotated", "DATABASE_URL"
NIGHT_SHIFT = "night shift"
"""Somebody who uses the old login for longer than a rotation waits."""


@dataclass(frozen=True)
class Rotated:
    """Production, and a file beside the platform that has to be given the same secret."""

    production: Production
    file: Path

    def reset(self) -> None:
        """The file holds what the platform holds, and the words of others."""
        self.file.write_text("# of the nightly job\nJOB=nightly\n")
        self.sink.write(self.production.platform, {VARIABLE: self.url})

    @property
    def url(self) -> str:
        return self.production.platform.read_variables()[VARIABLE]

    @property
    def sink(self) -> EnvFile:
        return EnvFile(type="env-file", path=str(self.file))

    def look(self) -> object:
        """Everything that a rotation could change."""
        production = self.production
        return production.traffic(), production.running(), production.platform.read_variables(), self.file.read_text()

    def agreed_url(self) -> str:
        """The one value that both sinks hold and the service uses; it is accepted, and the other login refused."""
        platform, url = self.production.platform, self.url
        assert self.sink.read(platform, [VARIABLE]) == {VARIABLE: url}
        assert is_accepted(url)
        assert self.accepted_logins() == [login(url)]
        front_door = self.production.stack.layout.front_url("production")
        eventually(lambda: httpx.get(f"{front_door}/health/detailed", timeout=5, trust_env=False).is_success)
        eventually(lambda: self._logged_in() <= {login(url)})
        return url

    def accepted_logins(self) -> list[str]:
        return self._ask("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s) AND rolcanlogin ORDER BY 1")

    def _logged_in(self) -> set[str]:
        others = "SELECT DISTINCT usename FROM pg_stat_activity WHERE usename = ANY(%s) AND application_name <> %s"
        return set(self._ask(others, NIGHT_SHIFT))

    def _ask(self, statement: str, *values: str) -> list[str]:
        with self.production.connect() as connection:
            rows = connection.execute(statement.encode(), [list(logins("production")), *values])
            return [str(name) for (name,) in rows]

    def rotate(self, **parameters: object) -> dict[str, Any]:
        return self.production.stack.run_procedure("rotate-secrets", ENVIRONMENT, **parameters)

    def begin_until_in_use(self, records: Records) -> str:
        """A rotation that goes on; it waits for somebody to leave the old login. Its id."""
        stack, before = self.production.stack, records.newest_run(ENVIRONMENT)
        stack.runner.get(stack.surroundings).begin("rotate-secrets", ENVIRONMENT)
        run_id = records.wait_until_begun(ENVIRONMENT, before)
        eventually(lambda: {"phase": "in use"} in records.events(run_id, "phase began"), 60)
        return run_id

    def leave_open(self, records: Records) -> str:
        """A rotation that could not put all back: somebody changed the file meanwhile. Its run, which needs a human.

        The file holds the new value again.
        """
        with psycopg.connect(self.url, connect_timeout=5, application_name=NIGHT_SHIFT):
            run_id = self.begin_until_in_use(records)
            new = self.file.read_text()
            self.file.write_text(f"{VARIABLE}=postgresql://somebody@else/app\n")
            stack = self.production.stack
            result = stack.runner.get(stack.surroundings).result()
        assert result["ending"] == "Needs a human", result["message"]
        self.file.write_text(new)
        return run_id


def is_accepted(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def login(url: str) -> str:
    return psycopg.conninfo.conninfo_to_dict(url)["user"]  # type: ignore[return-value]
