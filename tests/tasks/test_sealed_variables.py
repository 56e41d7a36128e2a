"""Variables that a platform gives back to nobody: whoever needs what they are says so, and what to do instead."""

import pytest

from blocks.environment import Environment
from blocks.errors import Refused, RefusedBySink
from blocks.metrics.prometheus_endpoint import PrometheusEndpoint
from blocks.platforms.vercel import VercelPlatform
from blocks.secrets.generated import Generated
from blocks.service import Service
from blocks.sources.git_repository import GitRepository
from tasks.live_database import read_application_url
from tasks.rotation_plan import read_agreed
from tests.tasks.small_service import SmallService, status

SENSITIVE = {"id": "env_1", "key": "WANTED", "type": "sensitive", "target": ["production"], "updatedAt": 1}


def test_what_needs_to_read_one_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "token")
    fields = {"type": "generated", "variable": "WANTED", "means": "nothing", "sinks": [{"type": "platform"}]}
    secret = Generated.model_validate(fields)
    with SmallService({"GET /v10/projects/shop/env": status(200, {"envs": [SENSITIVE]})}) as vercel:
        at = {"project": "shop", "repository": "example/shop", "token": "${TOKEN}", "url": vercel.url}
        environment = Environment(
            environment="shop",
            platform=VercelPlatform.model_validate(at),
            service=Service(url="http://127.0.0.1:1"),
            metrics=PrometheusEndpoint(),
            source=GitRepository(folder="unused"),
        )
        with pytest.raises(Refused, match="has WANTED and gives it back to nobody") as refused:
            read_application_url(environment, "WANTED")
        assert "Make it one that can be read" in refused.value.hint
        with pytest.raises(RefusedBySink, match="has WANTED and does not give it back") as unread:
            read_agreed(environment, secret)
        assert "platform-sealed" in unread.value.hint
