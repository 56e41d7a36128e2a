"""What an environment asks of its backups."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from blocks.part import Part
from blocks.reference import Secret, is_reference


def _is_recipient(text: str) -> str:
    if is_reference(text):
        return text
    from blocks.sealing import read_recipient  # here: most runs never encrypt

    read_recipient(text)
    return text


Recipient = Annotated[str, AfterValidator(_is_recipient)]


class Assertion(BaseModel):
    """Something that must be true of the data, whatever it is."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100, description="What must be true, in words.")
    sql: str = Field(description="A query whose one value is true when it is.")


class Backups(Part):
    """How backups are made, proven and kept."""

    _block_type_name = "Backups"
    _block_type_slug = "backups"
    _description = "How backups are made, proven and kept."

    recipients: list[Recipient] = Field(
        default=[],
        description="Public keys (age1… or ssh), or references to them, that backups are encrypted for; none: not"
        " encrypted.",
    )
    identity: Secret | None = Field(
        default=None, description="Reference to the private key that opens them. Only proofs and restores need it."
    )
    compression: int = Field(default=1, ge=1, le=19, description="zstd level. 1 is the fastest by far.")
    assertions: list[Assertion] = Field(default=[], description="What a proof asks of the restored data.")
    revision_sql: str = Field(
        default="", description="Query for the schema's revision; empty: alembic's table, where there is one."
    )
    scratch_url: Secret | None = Field(
        default=None,
        description="Reference to the URL of a server for proofs, where a role may create databases; only needed"
        " where no PostgreSQL on the worker's machine has the extensions of the data.",
    )
    import_folder: str = Field(
        default="", description="Folder of the worker from which dumps that others made may be imported; none: none."
    )
    rpo_minutes: float = Field(default=1440, gt=0, description="How much time of writes may be lost at the most.")
    proof_days: float = Field(default=7, gt=0, description="How old the newest proven backup may become.")
    keep_daily: int = Field(default=7, ge=0, description="Newest backup of each of the last so many days.")
    keep_weekly: int = Field(default=4, ge=0, description="Newest backup of each of the last so many weeks.")
    keep_monthly: int = Field(default=12, ge=0, description="Newest backup of each of the last so many months.")
    keep_days: int = Field(default=0, ge=0, description="Every backup that is not older than so many days.")
