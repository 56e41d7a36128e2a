"""The secrets of an environment that are rotated."""

from typing import Annotated

from pydantic import Field, StringConstraints

from blocks.part import Part
from blocks.secrets.encryption_key import EncryptionKey
from blocks.secrets.generated import Generated
from blocks.secrets.postgres_role import PostgresRole
from blocks.secrets.provided import Provided
from blocks.secrets.redis_acl import RedisAcl
from blocks.secrets.signing_key import SigningKey

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]


AnySecret = Annotated[
    PostgresRole | RedisAcl | Generated | SigningKey | EncryptionKey | Provided, Field(discriminator="type")
]


class Rotation(Part):
    """Which secrets are rotated, and how."""

    _block_type_name = "Rotated secrets"
    _block_type_slug = "rotated-secrets"
    _description = "Which secrets are rotated, of what kind they are, and where they must arrive."

    rotated: dict[Name, AnySecret] = Field(
        default_factory=dict, max_length=100, description="Name → a secret that is rotated."
    )
    leave_seconds: float = Field(
        default=30, gt=0, le=3600, description="How long whoever uses an old secret has for leaving it."
    )
