"""Environment files and deployments in a real Prefect server: the difference is shown, then saved, then gone."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from blocks.environment import load_environment, read_applied
from blocks.errors import BadParameter
from deployments.apply import ROOT, apply_deployments, apply_environment
from deployments.environment_file import PARTS
from tests.running_stack import RunningStack

NAME = "shop-apply"
EXAMPLES = sorted((ROOT / "deployments" / "environments" / "examples").glob("*.yaml"))

Apply = Callable[..., list[str]]


@pytest.fixture(scope="module", autouse=True)
def server(shared_stack: RunningStack) -> Iterator[None]:
    shared_stack.run("up")
    variables = shared_stack.surroundings
    settings = {
        PREFECT_API_URL: variables["PREFECT_API_URL"],
        PREFECT_API_AUTH_STRING: variables["PREFECT_API_AUTH_STRING"],
    }
    with temporary_settings(settings), pytest.MonkeyPatch.context() as surroundings:
        surroundings.setenv("BACKSTOP_SCHEDULES", "paused")
        yield
        apply_deployments(check=False)


@pytest.fixture(autouse=True)
def forgotten(server: None) -> Iterator[None]:
    """The environment of these tests is gone when each ends."""
    yield
    forget(NAME)


def forget(name: str) -> None:
    kinds = {"environment", *(kind.get_block_type_slug() for kinds in PARTS.values() for kind in kinds.values())}
    with get_client(sync_client=True) as client:
        for document in client.read_block_documents(limit=200):
            if document.name == name and document.block_type and document.block_type.slug in kinds:
                client.delete_block_document(document.id)


@pytest.fixture
def apply(tmp_path: Path) -> Apply:
    """The shipped staging under a name of its own, with parts replaced; None removes one."""
    shipped = yaml.safe_load((ROOT / "deployments" / "environments" / "shop-staging.yaml").read_text())

    def apply(check: bool = False, **parts: Any) -> list[str]:
        content = {**deepcopy(shipped), "environment": NAME, **parts}
        path = tmp_path / "shop.yaml"
        path.write_text(yaml.safe_dump({name: part for name, part in content.items() if part is not None}))
        return apply_environment(path, check)

    return apply


def test_the_first_time_everything_is_new_and_the_second_time_nothing(apply: Apply) -> None:
    differences = apply()
    assert differences[0] == f"{NAME}: new environment"
    parts = PARTS.keys() - {"region_copy"}  # staging has none
    assert set(differences[1:]) == {f"{NAME}: {part}: new" for part in parts}
    assert apply() == []
    assert apply(check=True) == []


def test_what_is_saved_is_what_the_file_says(apply: Apply) -> None:
    apply(limits={"error_rate": 0.2}, rollout={"steps": [5, 100]})
    saved = load_environment(NAME)
    assert (saved.limits.error_rate, saved.rollout.steps) == (0.2, [5, 100])
    assert saved.platform.token == "${SHOP_STAGING_SANDBOX_TOKEN}"
    assert saved.service.smoke[0].json_body["password"] == "${SHOP_STAGING_DEMO_PASSWORD}"


def test_a_check_of_something_new_saves_nothing(apply: Apply) -> None:
    assert apply(check=True)[0] == f"{NAME}: new environment"
    with pytest.raises(BadParameter, match="an applied environment"):
        load_environment(NAME)
    assert NAME not in names()


def test_an_edit_shows_exactly_what_it_changes(apply: Apply) -> None:
    limits = {"minimum_samples": 1, "probes": ["/version"]}
    apply(limits=limits)
    edited = {"limits": {**limits, "error_rate": 0.02}, "notices": {"channels": ["${SLACK}"]}}
    expected = [
        f"{NAME}: limits.error_rate: 0.01 → 0.02",
        f"{NAME}: notices.channels: [] → ['${{SLACK}}']",
    ]
    for _ in range(2):
        assert sorted(apply(check=True, **edited)) == expected
    assert load_environment(NAME).limits.error_rate == 0.01
    assert sorted(apply(**edited)) == expected
    assert load_environment(NAME).limits.error_rate == 0.02
    assert apply(check=True, **edited) == []


def test_an_edit_in_the_interface_is_shown_and_taken_back(apply: Apply) -> None:
    apply()
    limits = load_environment(NAME).limits
    limits.error_rate = 0.5
    limits.save(NAME, overwrite=True)
    assert load_environment(NAME).limits.error_rate == 0.5
    assert apply() == [f"{NAME}: limits.error_rate: 0.5 → 0.01"]
    assert load_environment(NAME).limits.error_rate == 0.01


def test_a_part_that_the_file_no_longer_has(apply: Apply) -> None:
    apply()
    for _ in range(2):
        assert apply(check=True, cache=None) == [f"{NAME}: cache: removed"]
    assert apply(cache=None) == [f"{NAME}: cache: removed"]
    assert load_environment(NAME).cache is None
    assert apply(cache=None) == []
    assert apply() == [f"{NAME}: cache: new"]
    assert load_environment(NAME).cache


def test_the_run_form_offers_the_environments_that_exist(apply: Apply) -> None:
    apply()
    changed = apply_deployments(check=True)
    assert changed
    assert {line.rpartition(": ")[2] for line in changed} == {"parameter_openapi_schema", "schedules"}
    assert NAME not in offered()
    assert apply_deployments(check=False) == changed
    assert apply_deployments(check=False) == []
    assert {"shop-production", "shop-staging", NAME} <= set(offered())
    assert offered() == names()


def test_each_environment_with_backups_has_its_schedules(apply: Apply) -> None:
    apply()
    apply_deployments(check=False)
    with_backups = [name for name in names() if load_environment(name).store]
    assert scheduled("back-up-database") == {f"nightly-{name}": name for name in with_backups}
    assert NAME in with_backups
    apply(store=None)
    assert apply_deployments(check=False) == [
        f"deployment {procedure}/{procedure}: schedules"
        for procedure in ("back-up-database", "verify-backup", "prune-backups")
    ]
    assert NAME not in scheduled("back-up-database").values()


def test_one_bad_file_of_two_saves_nothing(stack: RunningStack, apply: Apply, tmp_path: Path) -> None:
    apply(check=True)
    (tmp_path / "bad.yaml").write_text("environment: Bad Name\n")
    code, output = stack.try_to_run("apply", str(tmp_path / "shop.yaml"), str(tmp_path / "bad.yaml"))
    assert code == 1
    assert "bad.yaml: service: missing" in output
    assert NAME not in names()


def test_the_command_line_says_what_it_did(stack: RunningStack, apply: Apply, tmp_path: Path) -> None:
    apply()
    apply(check=True, limits={"error_rate": 0.02, "minimum_samples": 1, "probes": ["/version"]})
    apply_deployments(check=False)
    file = str(tmp_path / "shop.yaml")
    assert stack.try_to_run("apply", "--check", file) == (1, f"{NAME}: limits.error_rate: 0.01 → 0.02\n")
    assert stack.try_to_run("apply", file) == (0, f"{NAME}: limits.error_rate: 0.01 → 0.02\nApplied.\n")


def test_the_examples_are_new_at_first_and_differ_in_nothing_once_they_are_applied(stack: RunningStack) -> None:
    files = [str(path) for path in EXAMPLES]
    try:
        code, output = stack.try_to_run("apply", "--check", *files)
        assert code == 1
        assert {line for line in output.splitlines() if line.endswith("new environment")} == {
            f"{path.stem}: new environment" for path in EXAMPLES
        }
        assert "Applied." in stack.run("apply", *files)
        assert stack.run("apply", "--check", *files) == "Nothing differs.\n"
    finally:
        for path in EXAMPLES:
            forget(path.stem)


def test_no_block_of_an_environment_holds_a_secret(stack: RunningStack, apply: Apply) -> None:
    apply()
    everything = load_environment(NAME).model_dump_json(by_alias=True)
    secrets = [value for name, value in stack.surroundings.items() if name.startswith("SHOP_STAGING_")]
    assert secrets
    assert [secret for secret in secrets if secret in everything] == []


def names() -> list[str]:
    with get_client(sync_client=True) as client:
        return list(read_applied(client))


def scheduled(procedure: str) -> dict[str, str]:
    """Slug → environment, of the procedure's schedules."""
    with get_client(sync_client=True) as client:
        schedules = client.read_deployment_by_name(f"{procedure}/{procedure}").schedules
    return {str(schedule.slug): str(schedule.parameters["environment"]) for schedule in schedules}


def offered() -> list[str]:
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("deploy/deploy")
    schema = deployment.parameter_openapi_schema or {}
    return list(schema["properties"]["environment"]["enum"])
