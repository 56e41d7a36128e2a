"""Production, one of whose secrets its repository's workflows on GitHub need, too. A stand-in takes GitHub's part."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import yaml

from deployments.stack.state import write_private
from tests.blocks.stores.faults import FaultProxy, running_proxy
from tests.flows.environments import PRODUCTION, QUICK
from tests.flows.production import Production
from tests.standins.description import described
from tests.standins.github_actions import REPOSITORY, TOKEN, GithubStandIn, running_github

ENVIRONMENT, SECRET, VARIABLE = "shop-in-actions", "job", "WORKFLOW_TOKEN"


@dataclass(frozen=True)
class InActions:
    production: Production
    github: GithubStandIn
    proxy: FaultProxy
    """Before GitHub."""
    folder: Path

    def apply(self) -> None:
        content = yaml.safe_load(PRODUCTION.read_text())
        del content["approvals"], content["store"], content["backups"], content["migrations"]
        actions = {"type": "github-actions", "repository": REPOSITORY, "token": f"file:{self.folder}/token"}
        secret = {"type": "generated", "variable": VARIABLE, "means": "the nightly workflow has to be told"}
        sinks = [{"type": "platform"}, {**actions, "url": self.proxy.endpoint, "timeout": 5}]
        content |= {"environment": ENVIRONMENT, "secrets": {"rotated": {SECRET: {**secret, "sinks": sinks}}}}
        content["rollout"] |= QUICK["rollout"]
        path = self.folder / f"{ENVIRONMENT}.yaml"
        path.write_text(yaml.safe_dump(content))
        self.production.stack.run("apply", str(path))

    def reset(self) -> None:
        """Both have the same value, a new one."""
        platform, value = self.production.platform, token_urlsafe(24)
        platform.set_variables({**platform.read_variables(), VARIABLE: value})
        self.github.repository.put(VARIABLE, value)
        self.github.repository.written.clear()

    def agreed_value(self) -> str:
        """What both have."""
        value = self.production.platform.read_variables()[VARIABLE]
        assert self.github.repository.values == {VARIABLE: value}
        return value

    def rotate(self, **parameters: object) -> dict[str, Any]:
        return self.production.stack.run_procedure("rotate-secrets", ENVIRONMENT, **parameters)


@contextmanager
def secret_in_actions(production: Production, folder: Path) -> Iterator[InActions]:
    """In the end all calls were as GitHub describes them."""
    write_private(folder / "token", TOKEN)
    platform = production.platform
    with running_github(described("github")) as github, running_proxy(github.url) as proxy:
        in_actions = InActions(production, github, proxy, folder)
        in_actions.apply()
        yield in_actions
    variables = platform.read_variables()
    platform.set_variables({name: value for name, value in variables.items() if name != VARIABLE})
