"""`backstop doctor` says what an environment could not rely upon, and changes nothing."""

import json
from typing import Any

import pytest
import yaml

from tests.flows.environments import PRODUCTION
from tests.flows.production import Production
from tests.flows.records import Records
from tests.running_stack import RunningStack

ILL = "shop-ill"
WRONG_TOKEN = "planted-wrong-token"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def ill(shared_stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Production, with one thing wrong in each part."""
    shared_stack.mend()
    folder = tmp_path_factory.mktemp("ill")
    (folder / "token").write_text(WRONG_TOKEN)
    (folder / "channel").write_text("nobody knows this")
    content: dict[str, Any] = {**yaml.safe_load(PRODUCTION.read_text()), "environment": ILL}
    content["platform"]["token"] = f"file:{folder}/token"
    content["metrics"] = {"type": "prometheus", "url": "http://127.0.0.1:1"}
    content["source"] = {"type": "git", "folder": str(folder)}
    content["notices"] = {
        "channels": [f"file:{folder}/channel"],
        "pager": {"routing_key": f"file:{folder}/no-such-file"},
        "status_page": {"page": "shop", "key": f"file:{folder}/token", "url": "http://127.0.0.1:1"},
    }
    content["store"] = {"type": "directory", "folder": f"{folder}/away"}
    content["database"]["restore_url"] = content["database"]["backup_url"]
    content["cache"] = {"url": f"file:{folder}/no-such-file"}
    path = folder / f"{ILL}.yaml"
    path.write_text(yaml.safe_dump(content))
    shared_stack.run("apply", str(path))
    return ILL


def examined(stack: RunningStack, environment: str) -> tuple[int, dict[str, dict[str, Any]], str]:
    """The exit code, the checks by their names, and all that was printed."""
    code, printed = stack.try_to_run("doctor", environment, "--json")
    shown, _ = json.JSONDecoder().raw_decode(printed)
    return code, {check["name"]: check for check in shown[environment]}, printed


def test_what_is_well_is_said_to_be_and_nothing_changes(
    stack: RunningStack, production: Production, records: Records
) -> None:
    before = production.look(), records.newest_run("shop-production")

    code, checks, _ = examined(stack, "shop-production")

    assert [check for check in checks.values() if not check["passed"] or check["hint"]] == []
    assert code == 0
    assert {"platform", "service", "metrics", "source", "store", "Redis"} <= checks.keys()
    assert {"database", "database, to back up", "database, to restore", "secret database"} <= checks.keys()
    assert (production.look(), records.newest_run("shop-production")) == before


def test_what_is_not_is_named_with_a_hint_and_without_a_secret(stack: RunningStack, ill: str) -> None:
    code, checks, printed = examined(stack, ill)

    assert code == 1
    (channel,) = [name for name in checks if name.startswith("channel ")]
    fails = {
        "platform": "refused",
        "platform's variables": "refused",
        "metrics": "refused",  # of whose release it asks the platform first
        "source": "no commit",
        channel: "holds no address",
        "pager": "refers to file:",
        "status page": "cannot be reached",
        "database, to restore": "may not create databases",
        "Redis": "refers to file:",
    }
    for name, told in fails.items():
        assert not checks[name]["passed"], name
        assert told in checks[name]["detail"], checks[name]
        assert checks[name]["hint"] or name.startswith("channel"), checks[name]
    assert checks["database"]["passed"]
    assert WRONG_TOKEN not in printed
    shown = stack.try_to_run("doctor", ill)[1]
    assert "FAILS  platform" in shown
    assert "→ Set the token reference" in shown


def test_an_unknown_environment_is_refused(stack: RunningStack) -> None:
    code, printed = stack.try_to_run("doctor", "no-such-one")
    assert code == 1
    assert "no-such-one" in printed
