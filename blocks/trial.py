"""How a release is tried on the worker's own machine, on a copy of the database."""

from pydantic import Field

from blocks.migrations.command_line import Command, Inside
from blocks.part import Part


class Trial(Part):
    """How a release is started here. It has no network: what it needs beside the database, its command starts."""

    _block_type_name = "Trial"
    _block_type_slug = "trial"
    _description = "How a release is started on the worker's machine, to try it on a copy of the database."

    command: Command = Field(min_length=1, description="Command that starts it in its checkout, as [python, -m, shop].")
    folder: Inside = Field(".", description="Folder of the checkout in which the commands run.")
    preparation: Command = Field(
        default_factory=list, description="Command that makes a bare checkout ready, such as npm ci; empty: none."
    )
    port_variable: str = Field("PORT", pattern=r"^[A-Za-z_]\w*$", description="Variable that says where to listen.")
    database_variable: str = Field(
        "DATABASE_URL", pattern=r"^[A-Za-z_]\w*$", description="Variable in which it finds the connection string."
    )
    cache_variable: str = Field(
        "",
        pattern=r"^([A-Za-z_]\w*)?$",
        description="Variable in which it finds the URL of its Redis, where a drill brings one up; empty: none is.",
    )
    variables: dict[str, str] = Field(
        default_factory=dict, description="Further variables; values may be references, ${NAME}."
    )
    start_seconds: float = Field(30, gt=0, le=600, description="Seconds until it has to be healthy.")
