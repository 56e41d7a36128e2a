"""Bring environments and deployments into Prefect: show the difference, then save it."""

import os
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from prefect import Flow
from prefect.blocks.core import Block
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName, FlowFilter, FlowFilterId
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.context import SyncClientContext

from blocks.environment import Environment, read_applied
from deployments.environment_file import PARTS, build_environment, read_environment_file
from deployments.time_zones import remember_time_zones

ROOT = Path(__file__).parent.parent


def apply(paths: Iterable[Path], check: bool) -> list[str]:
    """Bring the files and every deployment into Prefect; returns what differs, a line each.

    With `check` nothing is saved. Raises BadEnvironmentFile.
    """
    remember_time_zones()
    # One client for all calls: making one takes longer than a call.
    with SyncClientContext.get_or_create():
        differences = [line for path in paths for line in apply_environment(path, check)]
        return differences + apply_deployments(check)


def apply_environment(path: Path, check: bool) -> list[str]:
    """Save the file's parts and the environment that ties them; returns what differs, a line each.

    With `check` nothing is saved. Raises BadEnvironmentFile.
    """
    name, parts = read_environment_file(path)
    environment, before = build_environment(name, parts), _saved(name)
    differences = [f"{name}: new environment"] if before is None else []
    for part in PARTS:
        old, new = getattr(before, part, None), getattr(environment, part)
        changed = _differences(f"{name}: {part}", old, new)
        if new and not changed:
            setattr(environment, part, old)  # the saved one, to which the environment then refers
        elif new and not check:
            new.save(_block_name(name, part), overwrite=True)
        differences += changed
    if differences and not check:
        environment.save(name, overwrite=True)
    return differences


def apply_deployments(check: bool) -> list[str]:
    """Create or update every deployment of prefect.yaml, its `environment` one of those that exist."""
    with get_client(sync_client=True) as client:
        environments = read_applied(client)
        described = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
        saved = _read_deployments(client, [one["name"] for one in described])
        return [line for one in described for line in _apply_deployment(client, one, saved, environments, check)]


def _read_deployments(client: SyncPrefectClient, names: list[str]) -> dict[tuple[str, str], DeploymentResponse]:
    """Flow and name → what is saved, of those with these names."""
    found = client.read_deployments(deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=names)))
    flows = client.read_flows(flow_filter=FlowFilter(id=FlowFilterId(any_=[one.flow_id for one in found])))
    called = {flow.id: flow.name for flow in flows}
    return {(called[one.flow_id], one.name): one for one in found}


def _apply_deployment(
    client: SyncPrefectClient,
    described: dict[str, Any],
    saved: dict[tuple[str, str], DeploymentResponse],
    environments: dict[str, dict[str, Any]],
    check: bool,
) -> list[str]:
    flow, name = _import_flow(described["entrypoint"]), described["name"]
    wanted, schedules = _wanted(described, flow, environments), _schedules(described, flow, environments)
    title = f"deployment {flow.name}/{name}"
    found = saved.get((flow.name, name))
    if found is None:
        if not check:
            _create(client, flow.name, name, schedules, wanted)
        return [f"{title}: new"]
    changed = {field: value for field, value in wanted.items() if getattr(found, field) != value}
    differences = [f"{title}: {field}" for field in changed]
    # Whoever paused a schedule in the interface meant it.
    paused = {schedule.slug for schedule in found.schedules if not schedule.active}
    schedules = [one.model_copy(update={"active": one.active and one.slug not in paused}) for one in schedules]
    if sorted(map(_as_told, found.schedules)) != sorted(map(_as_told, schedules)):
        differences.append(f"{title}: schedules")
        if not check:
            _create(client, flow.name, name, schedules, wanted)  # an update would keep schedules that are gone
    elif changed and not check:
        client.update_deployment(found.id, DeploymentUpdate(**changed))
    return differences


def _import_flow(entrypoint: str) -> Flow[..., Any]:
    module, attribute = entrypoint.rsplit(".", 1)
    return getattr(import_module(module), attribute)  # type: ignore[no-any-return]


def _wanted(described: dict[str, Any], flow: Flow[..., Any], environments: Iterable[str]) -> dict[str, Any]:
    """Field of a deployment → what it should hold; schedules stand apart."""
    schema = flow.parameters.model_dump()
    if "environment" in schema["properties"]:
        schema["properties"]["environment"]["enum"] = list(environments)
    schema["additionalProperties"] = False
    return {
        "description": described["description"],
        "tags": described["tags"],
        "entrypoint": described["entrypoint"],
        "work_pool_name": described["work_pool"]["name"],
        "job_variables": described["work_pool"].get("job_variables", {}),
        "parameter_openapi_schema": schema,
        "enforce_parameter_schema": True,
        "pull_steps": [],  # `prefect deploy` would have every run work in the folder that it was typed in
    }


def _schedules(
    described: dict[str, Any], flow: Flow[..., Any], environments: dict[str, dict[str, Any]]
) -> list[DeploymentScheduleCreate]:
    takes_environment = "environment" in flow.parameters.properties
    occasions = _occasions(described["name"], environments) if takes_environment else [{}]
    return [_schedule(schedule, occasion) for schedule in described.get("schedules", []) for occasion in occasions]


def _create(
    client: SyncPrefectClient,
    flow: str,
    name: str,
    schedules: list[DeploymentScheduleCreate],
    wanted: dict[str, Any],
) -> None:
    """In place of one of the same name."""
    client.create_deployment(flow_id=client.create_flow_from_name(flow), name=name, schedules=schedules, **wanted)


def _occasions(procedure: str, environments: dict[str, dict[str, Any]]) -> list[dict[str, str]]:
    """For which environments a procedure is scheduled, and what such a schedule has of its own.

    Drills begin by the clock of the environment's people; all others by the one that prefect.yaml names.
    """
    if procedure == "dr-drill":
        drilled = [(name, drills) for name, fields in environments.items() if (drills := fields.get("drills"))]
        return [{"environment": name, "timezone": drills["time_zone"]} for name, drills in drilled]
    return [
        {"environment": name} for name, fields in environments.items() if fields.get("store") and fields.get("database")
    ]


def _schedule(described: dict[str, Any], occasion: dict[str, str]) -> DeploymentScheduleCreate:
    schedule, environment = {**described, **occasion}, occasion.get("environment")
    return DeploymentScheduleCreate(
        slug=f"{schedule['slug']}-{environment}" if environment else schedule["slug"],
        schedule=CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"]),
        parameters={**schedule.get("parameters", {}), **({"environment": environment} if environment else {})},
        active=os.environ.get("BACKSTOP_SCHEDULES") != "paused",
    )


def _as_told(schedule: DeploymentSchedule | DeploymentScheduleCreate) -> str:
    return f"{schedule.slug} {schedule.schedule} {sorted(schedule.parameters.items())}"


def _saved(name: str) -> Environment | None:
    try:
        return Environment.load(name)  # type: ignore[return-value]
    except ValueError:
        return None


def _block_name(environment: str, part: str) -> str:
    """A second store must not take the place of the first; no environment has two dashes in a row in its name."""
    return f"{environment}--region-copy" if part == "region_copy" else environment


def _differences(title: str, old: Block | None, new: Block | None) -> list[str]:
    if new is None:
        return [f"{title}: removed"] if old else []
    if type(old) is not type(new):
        return [f"{title}: new"]
    before, after = _fields_of(old), _fields_of(new)
    return [
        f"{title}.{field}: {before[field]!r} → {after[field]!r}" for field in after if before[field] != after[field]
    ]


def _fields_of(block: Block) -> dict[str, Any]:
    return block.model_dump(mode="json", by_alias=True, include=set(type(block).model_fields))
