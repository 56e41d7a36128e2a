"""Read an environment file: every mistake in it at once, by file, path and what is allowed."""

from pathlib import Path
from typing import Any

import yaml
from prefect.blocks.core import Block
from pydantic import ValidationError

from blocks.approvals import Approvals
from blocks.backups import Backups
from blocks.cache import RedisCache
from blocks.database import PostgresDatabase
from blocks.drills import Drills
from blocks.environment import NAME, Environment
from blocks.errors import Refused
from blocks.limits import Limits
from blocks.metrics.cloud_monitoring import CloudMonitoring
from blocks.metrics.prometheus_endpoint import PrometheusEndpoint
from blocks.metrics.prometheus_server import PrometheusServer
from blocks.metrics.sentry_sessions import SentrySessions
from blocks.migrations.alembic import AlembicMigrations
from blocks.migrations.commands import MigrationCommands
from blocks.migrations.prisma import PrismaMigrations
from blocks.migrations.sql_folder import SqlFolder
from blocks.migrations.typeorm import TypeOrmMigrations
from blocks.notices import Notices
from blocks.platforms.cloud_run import CloudRunPlatform
from blocks.platforms.docker import DockerPlatform
from blocks.platforms.railway import RailwayPlatform
from blocks.platforms.sandbox import SandboxPlatform
from blocks.platforms.vercel import VercelPlatform
from blocks.rollout import Rollout
from blocks.rotation import Rotation
from blocks.service import Service
from blocks.sources.git_repository import GitRepository
from blocks.stores.directory import DirectoryStore
from blocks.stores.s3 import S3Store
from blocks.trial import Trial
from deployments.strict_yaml import explain, load_strictly

PARTS: dict[str, dict[str, type[Block]]] = {
    "platform": {
        "sandbox": SandboxPlatform,
        "docker": DockerPlatform,
        "vercel": VercelPlatform,
        "railway": RailwayPlatform,
        "cloud_run": CloudRunPlatform,
    },
    "service": {"": Service},
    "metrics": {
        "prometheus-endpoint": PrometheusEndpoint,
        "prometheus": PrometheusServer,
        "cloud-monitoring": CloudMonitoring,
        "sentry": SentrySessions,
    },
    "source": {"git": GitRepository},
    "limits": {"": Limits},
    "rollout": {"": Rollout},
    "approvals": {"": Approvals},
    "notices": {"": Notices},
    "store": {"directory": DirectoryStore, "s3": S3Store},
    "region_copy": {"directory": DirectoryStore, "s3": S3Store},
    "backups": {"": Backups},
    "database": {"": PostgresDatabase},
    "migrations": {
        "alembic": AlembicMigrations,
        "prisma": PrismaMigrations,
        "typeorm": TypeOrmMigrations,
        "commands": MigrationCommands,
        "sql": SqlFolder,
    },
    "trial": {"": Trial},
    "drills": {"": Drills},
    "secrets": {"": Rotation},
    "cache": {"": RedisCache},
}
"""Part → its `type` in the file → block. A part of one kind needs no type."""

REQUIRED = ("platform", "service", "metrics", "source")


class BadEnvironmentFile(Refused):
    """The message lists every mistake, one a line."""


def read_environment_file(path: Path) -> tuple[str, dict[str, Block]]:
    """The environment's name, and its parts as blocks that are not saved yet. Raises BadEnvironmentFile."""
    content = _parse(path)
    mistakes = [
        f"{path}: {name}: unknown part; allowed: environment, {', '.join(PARTS)}"
        for name in content
        if name not in {*PARTS, "environment"}
    ]
    name = content.get("environment")
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > 60:
        mistakes.append(f"{path}: environment: {name!r}; allowed: small letters, digits and dashes, as shop-production")
    mistakes += [f"{path}: {part}: missing" for part in REQUIRED if part not in content]
    parts: dict[str, Block] = {}
    for part in PARTS:
        if part in content:
            mistakes += [f"{path}: {mistake}" for mistake in _read_part(part, content[part], parts)]
    if mistakes:
        raise BadEnvironmentFile("\n".join(mistakes))
    return str(name), parts


def build_environment(name: str, parts: dict[str, Block]) -> Environment:
    """The block that ties the parts together; a part that the file leaves out has its defaults."""
    with_defaults = {
        "limits": Limits(),
        "rollout": Rollout(),
        "approvals": Approvals(),
        "notices": Notices(),
        "backups": Backups(),
        **parts,
    }
    return Environment(environment=name, **with_defaults)


def _parse(path: Path) -> dict[str, Any]:
    try:
        content = load_strictly(path.read_text())
    except OSError as error:
        raise BadEnvironmentFile(f"{path}: {error.strerror}.") from None
    except yaml.YAMLError as error:
        raise BadEnvironmentFile(f"{path}: not YAML: {explain(error)}") from None
    except UnicodeDecodeError as error:
        raise BadEnvironmentFile(f"{path}: not YAML: not UTF-8 at byte {error.start}") from None
    if not isinstance(content, dict):
        raise BadEnvironmentFile(f"{path}: must hold the parts of an environment by name.")
    return content


def _read_part(part: str, content: Any, parts: dict[str, Block]) -> list[str]:
    """Adds the part to `parts`, or returns its mistakes."""
    kinds = PARTS[part]
    if not isinstance(content, dict):
        return [f"{part}: must hold fields by name"]
    fields = dict(content)
    kind = "" if "" in kinds else fields.pop("type", None)
    if not isinstance(kind, str) or kind not in kinds:
        return [f"{part}.type: {kind!r}; allowed: {', '.join(kinds)}"]
    block = kinds[kind]
    known = {name: value for name, value in fields.items() if name in block.model_fields}
    mistakes = [f"{part}.{name}: unknown field; allowed: {_fields(block)}" for name in fields if name not in known]
    try:
        parts[part] = block(**known)
    except ValidationError as error:
        for one in error.errors(include_input=False):
            told = "unknown field" if one["type"] == "extra_forbidden" else one["msg"]
            mistakes.append(f"{'.'.join(map(str, [part, *one['loc']]))}: {told}")
    return mistakes


def _fields(block: type[Block]) -> str:
    return ", ".join(name for name in block.model_fields)
