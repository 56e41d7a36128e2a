"""Secrets of Google's Secret Manager. https://cloud.google.com/secret-manager/docs/reference/rest

A value is a version of its secret, which nobody can change. What its readers ask for is `latest`: the newest made. So
the way back is one more version, with the old value. Only the access to a version by its number is promised to be of
the last moment, so a write ends when `latest` is what it added. Whoever knows a version's number is given its value
until it is disabled; here none is ever destroyed.
"""

import time
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field

from blocks.errors import NotInSink, RefusedBySink, Unreachable
from blocks.google_access import GoogleAccess
from blocks.platforms.interface import Platform
from blocks.reference import Address, Secret
from blocks.sinks.interface import Values, VersionedSink, Versions
from blocks.vendor_api import VendorApi

_LATE_SECONDS = 75
_PAUSE_SECONDS = 0.5
_PAGE = "1000"


class _Payload(BaseModel):
    data: str = ""
    """Base64."""
    dataCrc32c: str | None = None


class _Version(BaseModel):
    name: str = Field(pattern=r"/versions/[0-9]+$")
    state: str = ""
    payload: _Payload = _Payload()

    @property
    def number(self) -> int:
        return int(self.name.rpartition("/")[2])


class GoogleSecretManager(VersionedSink):
    """Secrets of a Google Cloud project: a variable is a secret of that name behind the prefix."""

    keeps_empty: ClassVar[bool] = False

    type: Literal["google-secret-manager"] = Field(description="Secrets of Google's Secret Manager.")
    project: str = Field(pattern=r"^[a-z][a-z0-9:.-]{4,62}[a-z0-9]$", description="Id of the Google Cloud project.")
    prefix: str = Field(
        "", pattern=r"^[A-Za-z0-9_-]{0,100}$", description="What the secret's name has in front of the variable's."
    )
    credentials: Secret = Field(description="Reference to the key (JSON) of a service account: ${NAME} or file:/PATH.")
    url: Address = Field("https://secretmanager.googleapis.com", description="Address of Secret Manager's API.")
    timeout: float = Field(
        10, gt=0, le=120, description="Seconds that one call may take, and a new version until it is the latest."
    )

    @property
    def named(self) -> str:
        which = f"the secrets {self.prefix}…" if self.prefix else "the secrets"
        return f"{which} of {self.project} in Google's Secret Manager"

    def late_seconds(self, platform: Platform) -> float:
        return max(_LATE_SECONDS, self.timeout)

    def read(self, platform: Platform, variables: Iterable[str]) -> Values:
        read: Values = {}
        for name in variables:
            try:
                read[name] = self._value(name, self._read_latest(name))
            except NotInSink:
                continue
        return read

    def write(self, platform: Platform, values: Values) -> None:
        """A version of each that is another one. The secrets are there; Google keeps no empty value."""
        held = self.read(platform, values)
        changed = {name: value for name, value in values.items() if held.get(name, "") != value}
        if empty := [name for name, value in changed.items() if not value]:
            raise RefusedBySink(f"{self._titled} keep no empty value, as of {' and '.join(empty)}.")
        for name, value in changed.items():
            data = value.encode()
            payload = {"data": b64encode(data).decode(), "dataCrc32c": str(crc32c(data))}
            private = [value, payload["data"]]
            answer = self._api.call("POST", f"{self._path(name)}:addVersion", private, json={"payload": payload})
            self._wait_for(name, self._parsed(answer))

    def read_enabled(self, platform: Platform, variables: Iterable[str]) -> Versions:
        """As Google lists them, which may be of some minutes ago."""
        listed = {name: self._read_all(name) for name in variables}
        return {name: [one.number for one in found if one.state == "ENABLED"] for name, found in listed.items()}

    def disable(self, platform: Platform, versions: Versions) -> None:
        for name, numbers in versions.items():
            self._set(name, numbers, "disable", "DISABLED")

    def enable(self, platform: Platform, versions: Versions) -> None:
        for name, numbers in versions.items():
            destroyed = [one.number for one in self._read_all(name) if one.state == "DESTROYED"]
            self._set(name, [number for number in numbers if number not in destroyed], "enable", "ENABLED")

    def _set(self, name: str, numbers: list[int], verb: str, state: str) -> None:
        """Google takes it for one that is in that state already, too, and changes nothing."""
        for number in numbers:
            answer = self._api.call("POST", f"{self._path(name)}/versions/{number}:{verb}", json={})
            if self._parsed(answer).state != state:
                raise Unreachable(f"{self._titled} have not {verb}d version {number} of {name} yet.")

    def _read_all(self, name: str) -> list[_Version]:
        """Oldest first. Raises NotInSink where there is no such secret."""
        found: list[_Version] = []
        asked = {"pageSize": _PAGE}
        while True:
            answer = self._api.call("GET", f"{self._path(name)}/versions", params=asked)
            page = self._api.parsed(dict[str, Any], answer)
            found += self._api.shaped(list[_Version], page.get("versions", []))
            if not page.get("nextPageToken"):
                return sorted(found, key=lambda one: one.number)
            asked["pageToken"] = page["nextPageToken"]

    def _wait_for(self, name: str, added: _Version) -> None:
        deadline = time.monotonic() + self.timeout
        while self._read_latest(name).number < added.number:
            if time.monotonic() > deadline:
                raise Unreachable(f"{self._titled} do not give out the new version of {name} yet.")
            time.sleep(_PAUSE_SECONDS)

    def _read_latest(self, name: str) -> _Version:
        """Raises NotInSink where there is none."""
        return self._parsed(self._api.call("GET", f"{self._path(name)}/versions/latest:access"))

    def _parsed(self, answer: Any) -> _Version:
        return self._api.parsed(_Version, answer)

    def _value(self, name: str, version: _Version) -> str:
        try:
            data = b64decode(version.payload.data, validate=True)
            text = data.decode()
        except ValueError:
            raise RefusedBySink(f"{self._titled} hold no text as {name}.") from None
        if version.payload.dataCrc32c not in (None, str(crc32c(data))):
            raise Unreachable(f"{self._titled}: {name} did not arrive whole.")
        return text

    def _path(self, name: str) -> str:
        return f"/v1/projects/{self.project}/secrets/{self.prefix}{name}"

    @property
    def _titled(self) -> str:
        return f"{self.named[0].upper()}{self.named[1:]}"

    @property
    def _api(self) -> VendorApi:
        return VendorApi(
            named=self._titled,
            url=self.url,
            token=GoogleAccess(self.credentials, self.timeout, RefusedBySink),
            seconds=self.timeout,
            look="Look at Google Cloud's status page, and whether the address of its API is right.",
            unauthorized="Give the service account the roles that docs/environment-file.md names. Nothing was changed.",
            read_reason=lambda refusal: refusal["error"]["message"],
            refusal=RefusedBySink,
            missing=NotInSink,
        )


def crc32c(data: bytes) -> int:
    """Checksum of RFC 3720, with which Google tells whether a value arrived whole."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _remainder(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRC = [_remainder(byte) for byte in range(256)]
