"""Every procedure that makes a plan makes one for each of the examples, where its platform is a stand-in or an engine.

What the sample service is instead of theirs (its paths, its repository, its database) is the sample's; the rest is
what the example says.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.apply import ROOT
from tests.blocks.platforms.engine import require_engine
from tests.flows.docked import docked_shop
from tests.flows.elsewhere import BACKED_UP, Elsewhere
from tests.flows.hosted import hosted_shop
from tests.flows.interface import Interface
from tests.flows.on_cloud_run import shop_on_cloud_run
from tests.flows.production import GOOD, Production
from tests.flows.railed import railed_shop
from tests.running_stack import RunningStack

EXAMPLES = ROOT / "deployments" / "environments" / "examples"
OF_THE_EXAMPLE = ("limits", "rollout", "approvals", "drills", "secrets")
SYSTEMS = ["go4u", "guesslyfe", "nextjs", "plm", "vendhub"]

pytestmark = [pytest.mark.drill, pytest.mark.timeout(900)]

Bring = Callable[[str], Elsewhere]


@pytest.fixture(scope="module")
def bring(shared_production: Production, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bring]:
    """The sample service on a platform of that type."""
    shared_production.reset()
    running: dict[str, Elsewhere] = {}

    def bring(kind: str) -> Elsewhere:
        if kind not in running:
            folder = tmp_path_factory.mktemp(kind)
            if kind == "docker":
                require_engine()
                place: Elsewhere = opened.enter_context(docked_shop(shared_production, [GOOD], folder))
            elif kind == "vercel":
                place = opened.enter_context(hosted_shop(shared_production, GOOD, folder))
            elif kind == "cloud_run":
                place = opened.enter_context(shop_on_cloud_run(shared_production, GOOD, folder))
            else:
                place = opened.enter_context(railed_shop(shared_production, GOOD, folder))
            running[kind] = place
        return running[kind]

    with ExitStack() as opened:
        yield bring
    shared_production.reset()


@pytest.mark.parametrize("system", SYSTEMS)
def test_all_of_them_are_done_and_change_nothing(
    stack: RunningStack, bring: Bring, interface: Interface, system: str
) -> None:
    name = f"{system}-production"
    example = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    place = bring(example["platform"]["type"])
    parts = {part: _known(example[part], place.folder) for part in OF_THE_EXAMPLE if part in example}
    place.apply(place.platform, name, **BACKED_UP | parts)
    made = stack.run_procedure("back-up-database", name)
    assert made["ending"] == "Done", made["message"]
    backup = str(made["message"]).split()[1]
    before = place.platform.read_traffic(), place.platform.read_variables(), place.production.tags()

    plans: dict[str, dict[str, Any]] = {
        "deploy": {"version": "v1.1.0"},
        "migrate-with-backup": {"version": "v2.0.0"},
        "back-up-database": {},
        "restore-and-verify": {"backup": backup},
        "restore-table": {"backup": backup, "tables": "tasks"},
        "rotate-secrets": {},
    }
    for procedure, parameters in plans.items():
        planned = stack.run_procedure(procedure, name, plan_only=True, **parameters)
        assert planned["ending"] == "Done", (procedure, planned["message"])
        assert interface.artifacts(planned["run"]), procedure

    assert before == (place.platform.read_traffic(), place.platform.read_variables(), place.production.tags())


def _known(content: Any, folder: Path) -> Any:
    """Each reference replaced by one that can be looked up here, and a sink at Google by one that is."""
    if isinstance(content, dict) and content.get("type") == "google-secret-manager":
        return {"type": "platform"}
    if isinstance(content, dict):
        return {name: _known(value, folder) for name, value in content.items()}
    if isinstance(content, list):
        return [_known(value, folder) for value in content]
    if isinstance(content, str) and content.startswith("${"):
        path = folder / content.strip("${}")
        path.write_text("of the test")
        return f"file:{path}"
    return content
