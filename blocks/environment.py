"""An environment: everything that a procedure acts upon, under one name."""

import re
from operator import itemgetter
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import BlockDocumentFilter, BlockDocumentFilterBlockTypeId
from prefect.exceptions import ObjectNotFound
from pydantic import Field

from blocks.approvals import Approvals
from blocks.backups import Backups
from blocks.cache import RedisCache
from blocks.database import PostgresDatabase
from blocks.drills import Drills
from blocks.errors import BadParameter
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
from blocks.part import Part
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

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
"""What an environment may be called: it is a block's name too."""


class Environment(Part):
    """Ties the parts of one environment together. Each part is a block of its own."""

    _block_type_name = "Environment"
    _block_type_slug = "environment"
    _description = "Everything that a procedure acts upon, under one name. Written by `backstop apply`."

    environment: str = Field(pattern=rf"^{NAME.pattern}$", max_length=60, description="Its name.")
    platform: SandboxPlatform | DockerPlatform | VercelPlatform | RailwayPlatform | CloudRunPlatform = Field(
        description="What runs the releases."
    )
    service: Service = Field(description="Where the service answers.")
    metrics: PrometheusEndpoint | PrometheusServer | CloudMonitoring | SentrySessions = Field(
        description="Where the numbers come from."
    )
    source: GitRepository = Field(description="Where releases come from.")
    limits: Limits = Field(default_factory=Limits, description="When a release is bad.")
    rollout: Rollout = Field(default_factory=Rollout, description="How a release gets its traffic.")
    approvals: Approvals = Field(default_factory=Approvals, description="Who has to agree before anything is changed.")
    notices: Notices = Field(default_factory=Notices, description="Who is told.")
    store: DirectoryStore | S3Store | None = Field(default=None, description="Where backups are kept.")
    region_copy: DirectoryStore | S3Store | None = Field(
        default=None, description="Where the same backups lie in another region."
    )
    backups: Backups = Field(default_factory=Backups, description="How backups are made, proven and kept.")
    database: PostgresDatabase | None = Field(default=None, description="The application's database.")
    migrations: AlembicMigrations | PrismaMigrations | TypeOrmMigrations | MigrationCommands | SqlFolder | None = Field(
        default=None, description="How the database's schema is brought from release to release."
    )
    trial: Trial | None = Field(default=None, description="How a release is tried on a copy of the database.")
    drills: Drills | None = Field(default=None, description="How recovery is drilled.")
    secrets: Rotation | None = Field(default=None, description="Which secrets are rotated.")
    cache: RedisCache | None = Field(default=None, description="The application's Redis.")


def load_environment(name: str) -> Environment:
    """The environment as it was applied. Raises BadParameter for an unknown one."""
    if not NAME.fullmatch(name) or len(name) > 60:
        raise BadParameter("environment", name, "the name of an applied environment, as shop-production")
    try:
        return Environment.load(name)  # type: ignore[return-value]
    except (ObjectNotFound, ValueError) as error:
        if isinstance(error, ValueError) and "Unable to find block document" not in str(error):
            raise
        raise BadParameter("environment", name, "an applied environment (see `backstop status`)") from None


def read_applied(client: SyncPrefectClient) -> dict[str, dict[str, Any]]:
    """Name → fields of every environment that was applied, in the order of the names; a part's are within them.

    One request, whatever their number: to load an environment takes one for each, and makes all its blocks.
    """
    try:
        kind = client.read_block_type_by_slug("environment")
    except ObjectNotFound:
        return {}
    documents = client.request(
        "POST",
        "/block_documents/filter",
        json={
            "block_documents": BlockDocumentFilter(
                block_type_id=BlockDocumentFilterBlockTypeId(any_=[kind.id])
            ).model_dump(mode="json", exclude_none=True)
        },
    ).json()
    return {found["name"]: found["data"] for found in sorted(documents, key=itemgetter("name"))}
