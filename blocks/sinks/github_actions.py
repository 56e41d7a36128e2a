"""Secrets of a GitHub repository, or of one of its environments, which its workflows read.

https://docs.github.com/rest/actions/secrets

GitHub gives no value back: all that can be read is that a secret is there, and in which second it was last written. A
value is sealed to a key of the repository, or of the environment, before it leaves this process.
"""

import time
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Literal
from urllib.parse import quote

from pydantic import BaseModel, Field

from blocks.errors import RefusedBySink, Unreachable
from blocks.platforms.interface import Platform
from blocks.rate_limit import read_wait_of_github
from blocks.reference import Address, Secret
from blocks.sinks.interface import Marks, Values, WriteOnlySink
from blocks.vendor_api import VendorApi

_APART_SECONDS = 1.0
"""GitHub's advice for calls that change something. Its marks count in seconds, so each write is of another one."""
_LATE_SECONDS = 75
_MOST = 100
"""Secrets of a repository, or of an environment, that GitHub keeps, and lists at once."""


class _Key(BaseModel):
    key_id: str
    key: str
    """Base64."""


class _Secret(BaseModel):
    name: str
    """In capitals, however it was written."""
    updated_at: str


class GithubActions(WriteOnlySink):
    """The Actions secrets of a repository on GitHub, or of one of its environments."""

    type: Literal["github-actions"] = Field(description="Secrets of a GitHub repository, for its workflows.")
    repository: str = Field(
        pattern=r"^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", max_length=200, description="The repository, owner/name."
    )
    environment: str = Field(
        "", max_length=255, description="Environment of the repository; empty: the repository's own secrets."
    )
    token: Secret = Field(description="Reference to a token that may read and write these secrets.")
    url: Address = Field("https://api.github.com", description="Address of GitHub's API.")
    timeout: float = Field(10, gt=0, le=120, description="Seconds that one call may take.")

    @property
    def named(self) -> str:
        where = f"{self.repository}, environment {self.environment}" if self.environment else self.repository
        return f"the Actions secrets of {where} at {self.url}"

    @property
    def readers(self) -> str:
        return f"the workflow jobs of {self.repository} that began before: a job keeps the secrets of its beginning"

    def late_seconds(self, platform: Platform) -> float:
        return max(_LATE_SECONDS, self.timeout)

    def read_marks(self, platform: Platform, variables: Iterable[str]) -> Marks:
        answer = self._api.call("GET", self._path, params={"per_page": _MOST})
        marks = {one.name.upper(): one.updated_at for one in self._api.parsed(list[_Secret], answer, "secrets")}
        return {name: marks[name.upper()] for name in variables if name.upper() in marks}

    def write(self, platform: Platform, values: Values) -> None:
        """One after the other."""
        key = self._api.parsed(_Key, self._api.call("GET", f"{self._path}/public-key"))
        sealed = {name: self._seal(value, key) for name, value in values.items()}
        for name, value in sealed.items():
            time.sleep(_APART_SECONDS)
            self._api.call("PUT", f"{self._path}/{name}", json={"encrypted_value": value, "key_id": key.key_id})

    def _seal(self, value: str, key: _Key) -> str:
        """For whoever has the other half of the key, which is GitHub alone."""
        from nacl.public import PublicKey, SealedBox  # here: most runs never write to it

        try:
            box = SealedBox(PublicKey(b64decode(key.key, validate=True)))
        except (TypeError, ValueError):
            raise Unreachable(f"What answered as {self.named} gives no key.") from None
        return b64encode(box.encrypt(value.encode())).decode()

    @property
    def _path(self) -> str:
        if self.environment:
            return f"/repos/{self.repository}/environments/{quote(self.environment, safe='')}/secrets"
        return f"/repos/{self.repository}/actions/secrets"

    @property
    def _api(self) -> VendorApi:
        return VendorApi(
            named=f"{self.named[0].upper()}{self.named[1:]}",
            url=self.url,
            token=self.token,
            seconds=self.timeout,
            look="Look at GitHub's status page, and whether the address of its API is right.",
            unauthorized="Set the token reference to one that has not expired, and may read and write these secrets.",
            read_reason=_read_reason,
            refusal=RefusedBySink,
            request_id="X-GitHub-Request-Id",
            read_wait=read_wait_of_github,
        )


def _read_reason(refusal: dict[str, object]) -> object:
    """GitHub says that nothing is there to whoever may not see it, too."""
    told = refusal["message"]
    return "there is no such repository or environment, or the token may not see it" if told == "Not Found" else told
