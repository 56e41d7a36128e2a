"""A secret of HashiCorp Vault's KV store, version 2, or of OpenBao, which has the same API.

A write names the version that it builds on (check-and-set), so that nobody's write is lost to it. It leaves every other
key of the secret as it is, and its metadata.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from pydantic import Field

from blocks.errors import RefusedBySink, Unreachable
from blocks.platforms.interface import Platform
from blocks.reference import Address, Secret, resolve
from blocks.sinks.interface import ReadableSink, Values
from blocks.trust import trusted_file

if TYPE_CHECKING:
    from hvac import Client

T = TypeVar("T")

_LATE_SECONDS = 75
_IN_ONE_SEGMENT = r"^[^/\s]+(/[^/\s]+)*$"


class _Held(NamedTuple):
    """All that the secret consists of, and its newest version: 0 where there never was one."""

    data: dict[str, Any]
    version: int


class VaultKv(ReadableSink):
    """One secret of a KV store of version 2."""

    type: Literal["vault-kv"] = Field(description="A secret of Vault's KV store, version 2.")
    address: Address = Field(description="Address of the Vault, as https://vault.internal:8200.")
    token: Secret = Field(description="Reference to a token that may read and update the secret.")
    mount: str = Field("secret", pattern=_IN_ONE_SEGMENT, max_length=200, description="Where the store is mounted.")
    path: str = Field(pattern=_IN_ONE_SEGMENT, max_length=500, description="Path of the secret in the store.")
    namespace: str = Field("", max_length=200, description="Namespace; empty where there are none.")
    timeout: float = Field(10, gt=0, le=120, description="Seconds that one call may take.")

    @property
    def named(self) -> str:
        where = "/".join(filter(None, [self.namespace.strip("/"), self.mount, self.path]))
        return f"the secret {where} of {self.address}"

    def late_seconds(self, platform: Platform) -> float:
        return max(_LATE_SECONDS, self.timeout)

    def read(self, platform: Platform, variables: Iterable[str]) -> Values:
        held = self._ask(self._read).data
        there = {name: held[name] for name in variables if name in held}
        if odd := [name for name, value in there.items() if not isinstance(value, str)]:
            raise RefusedBySink(f"{self._titled} holds no text as {' and '.join(odd)}.")
        return there

    def write(self, platform: Platform, values: Values) -> None:
        """Raises Unreachable, too, where somebody else wrote meanwhile: asked again, it builds on theirs."""
        self._ask(lambda vault: self._write(vault, values))

    def _read(self, vault: "Client") -> _Held:
        from hvac.exceptions import InvalidPath

        try:
            answer = vault.secrets.kv.v2.read_secret_version(
                self.path, mount_point=self.mount, raise_on_deleted_version=False
            )
        except InvalidPath:
            return _Held({}, 0)
        content = answer["data"]
        return _Held(content["data"] or {}, int(content["metadata"]["version"]))

    def _write(self, vault: "Client", values: Values) -> None:
        held = self._read(vault)
        secret = {**held.data, **values}
        if secret != held.data:
            vault.secrets.kv.v2.create_or_update_secret(
                self.path, secret=secret, cas=held.version, mount_point=self.mount
            )

    def _ask(self, act: "Callable[[Client], T]") -> T:
        """Raises Unreachable for what may pass, RefusedBySink for a no. No answer is quoted: it may hold a value."""
        import hvac  # here: most runs never ask it
        from hvac import exceptions

        client = hvac.Client(
            url=resolve(self.address),
            token=resolve(self.token),
            verify=trusted_file(),
            timeout=self.timeout,
            allow_redirects=False,  # else the token goes wherever it is sent to
            namespace=self.namespace or None,
        )
        client.adapter.session.trust_env = False
        try:
            return act(client)
        except (exceptions.Forbidden, exceptions.Unauthorized):
            reason = "refuses the token: it has expired, or may not read and update this secret"
            raise RefusedBySink(f"{self._titled} {reason}.") from None
        except exceptions.InvalidRequest as error:
            if "check-and-set" in str(error):
                raise Unreachable(f"{self._titled} was changed by somebody else in the middle of a write.") from None
            raise RefusedBySink(f"{self._titled} cannot be written as asked (400).") from None
        except exceptions.VaultDown:
            raise Unreachable(f"{self._titled} is sealed, or in maintenance.") from None
        except exceptions.RateLimitExceeded:
            raise Unreachable(f"{self._titled} takes no more calls for a moment.") from None
        except (exceptions.VaultError, OSError) as error:  # requests' own are OSErrors
            raise Unreachable(f"{self._titled} does not answer ({type(error).__name__}).") from None
        except (LookupError, TypeError, ValueError):
            raise RefusedBySink(f"{self._titled} is no KV store of version 2, or sends elsewhere.") from None
        finally:
            client.adapter.close()

    @property
    def _titled(self) -> str:
        return f"{self.named[0].upper()}{self.named[1:]}"
