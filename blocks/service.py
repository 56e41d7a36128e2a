"""The service as its users meet it: where it answers, and what must work on it."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from blocks.limits import Path
from blocks.part import Part
from blocks.reference import Address, Secret, is_reference

_SECRET_WORDS = re.compile(r"password|secret|token|api_?key|authorization|cookie", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"\$\{[A-Z][A-Z0-9_]*\}|\{[a-z_]+\}")


class Signature(BaseModel):
    """A body signed as `t=UNIX_SECONDS,v1=HEX` with HMAC-SHA256 over `t.body`, as payment providers do."""

    model_config = ConfigDict(extra="forbid")

    header: str = Field(default="X-Signature", description="Header that carries the signature.")
    secret: Secret = Field(description="Reference to the signing secret.")


class SmokeStep(BaseModel):
    """One request of the smoke test, and what its answer must be.

    `{name}` stands for a value that an earlier step kept, `${NAME}` for a reference.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=80, description="What a person would call this step.")
    request: Annotated[str, StringConstraints(pattern=r"^(GET|POST|PUT|PATCH|DELETE) /\S*$")] = Field(
        description="Method and path, as `POST /login`."
    )
    headers: dict[str, str] = Field(default_factory=dict, description="Request headers.")
    json_body: Any = Field(default=None, alias="json", description="JSON body.")
    body: str | None = Field(default=None, description="Plain body, instead of a JSON one.")
    sign: Signature | None = Field(default=None, description="How the body is signed.")
    expect: int = Field(default=200, ge=100, le=599, description="Status that it must answer.")
    expect_json: dict[str, Any] = Field(default_factory=dict, description="Members that the answer must have.")
    keep: dict[str, str] = Field(default_factory=dict, description="Name → member of the answer, for later steps.")

    @model_validator(mode="after")
    def _holds_no_secret(self) -> "SmokeStep":
        for name, value in _members(self.json_body) + list(self.headers.items()):
            literal = isinstance(value, str) and not is_reference(value) and not _PLACEHOLDER.search(value)
            if literal and _SECRET_WORDS.search(name):
                raise ValueError(f"'{name}' must be a reference, ${{NAME}}, never the secret itself")
        return self


class Service(Part):
    """Where the service answers, and what a person would try on it."""

    _block_type_name = "Service"
    _block_type_slug = "service"
    _description = "Where a service answers, its health checks, critical endpoints and smoke test."

    url: Address = Field(description="Address that users reach, through the traffic split.")
    health: Path = Field(default="/health", description="Answers 200 when healthy; its JSON may name the version.")
    detailed_health: Path | None = Field(default=None, description="Answers 200 with `components` and their status.")
    version: Path | None = Field(default=None, description="Answers JSON with `version`, as the release tag says it.")
    critical: list[Path] = Field(default_factory=list, max_length=50, description="Must not answer 500 or more.")
    smoke: list[SmokeStep] = Field(default_factory=list, max_length=50, description="What a person would try.")
    response_seconds: float = Field(default=1.0, gt=0, le=60, description="Slower than this is not healthy.")
    certificate_days: int = Field(default=14, ge=0, le=398, description="Least days a certificate must last.")
    timeout: float = Field(default=5.0, gt=0, le=60, description="Seconds that one request may take.")


def _members(body: Any) -> list[tuple[str, Any]]:
    if isinstance(body, dict):
        return [pair for name, value in body.items() for pair in [(name, value), *_members(value)]]
    if isinstance(body, list):
        return [pair for value in body for pair in _members(value)]
    return []
