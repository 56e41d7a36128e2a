"""Production, one of whose secrets others read from Google's Secret Manager. A stand-in takes its part."""

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
from tests.standins.discovery import discovered
from tests.standins.google_token import GoogleTokens, running_google_tokens
from tests.standins.secret_manager import PREFIX, PROJECT, Kept, SecretManagerStandIn, running_secret_manager

ENVIRONMENT, SECRET, VARIABLE = "shop-in-secret-manager", "job", "NIGHT_TOKEN"


@dataclass(frozen=True)
class InSecretManager:
    production: Production
    google: SecretManagerStandIn
    tokens: GoogleTokens
    proxy: FaultProxy
    """Before Secret Manager."""
    folder: Path

    def apply(self) -> None:
        content = yaml.safe_load(PRODUCTION.read_text())
        del content["approvals"], content["store"], content["backups"], content["migrations"]
        google = {"type": "google-secret-manager", "project": PROJECT, "prefix": PREFIX, "url": self.proxy.endpoint}
        secret = {"type": "generated", "variable": VARIABLE, "means": "the nightly job has to be told"}
        sinks = [{"type": "platform"}, {**google, "credentials": f"file:{self.folder}/key", "timeout": 5}]
        content |= {"environment": ENVIRONMENT, "secrets": {"rotated": {SECRET: {**secret, "sinks": sinks}}}}
        content["rollout"] |= QUICK["rollout"]
        path = self.folder / f"{ENVIRONMENT}.yaml"
        path.write_text(yaml.safe_dump(content))
        self.production.stack.run("apply", str(path))

    def reset(self) -> None:
        """Both have the same value, a new one, and Google an older one, too."""
        platform, value = self.production.platform, token_urlsafe(24)
        platform.set_variables({**platform.read_variables(), VARIABLE: value})
        self.google.forget()
        self.google.make(VARIABLE)
        self.kept.versions += [b"an older one", value.encode()]

    @property
    def kept(self) -> Kept:
        return self.google.secrets[f"{PREFIX}{VARIABLE}"]

    def agreed_value(self) -> str:
        """What both have."""
        value = self.production.platform.read_variables()[VARIABLE]
        assert self.google.versions(VARIABLE)[-1] == value
        return value

    def rotate(self, **parameters: object) -> dict[str, Any]:
        return self.production.stack.run_procedure("rotate-secrets", ENVIRONMENT, **parameters)


@contextmanager
def secret_in_secret_manager(production: Production, folder: Path) -> Iterator[InSecretManager]:
    """In the end all calls were as Google describes them."""
    description, platform = discovered("google-secretmanager-v1"), production.platform
    with (
        running_google_tokens() as tokens,
        running_secret_manager(tokens, description) as google,
        running_proxy(google.url) as proxy,
    ):
        write_private(folder / "key", tokens.key())
        in_secret_manager = InSecretManager(production, google, tokens, proxy, folder)
        in_secret_manager.apply()
        yield in_secret_manager
    variables = platform.read_variables()
    platform.set_variables({name: value for name, value in variables.items() if name != VARIABLE})
