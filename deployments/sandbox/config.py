"""What one sandbox is told: FOLDER/config.json, and a token from its environment."""

import os
import sys
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

TOKEN_VARIABLE = "BACKSTOP_SANDBOX_TOKEN"  # noqa: S105 (its name)

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    environment: str = Field(min_length=1, max_length=100)
    repository: Path
    command: list[str] = Field(min_length=1)
    """Starts one replica, in the checkout; the word "python" means this interpreter."""
    health: str = Field(pattern="^/")
    front_port: Port
    control_port: Port
    start_timeout: Seconds = 30
    drain_timeout: Seconds = 10
    """How long requests under way may take to finish, and then the process to end."""
    answer_timeout: Seconds = 60
    """How long a release may be silent before the front door answers 504."""

    @property
    def argv(self) -> list[str]:
        return [sys.executable if word == "python" else word for word in self.command]


def read_config(folder: Path) -> Config:
    """Raises OSError when the file is unreadable, ValueError when it does not fit."""
    return Config.model_validate_json((folder / "config.json").read_bytes())


def read_token() -> str:
    """Raises ValueError when the token is missing."""
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not token:
        raise ValueError(f"{TOKEN_VARIABLE} is not set")
    return token
