"""A Redis login that alternates between two ACL users, so that old and new both work while consumers change."""

import hashlib
from collections.abc import Callable
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from pydantic import Field, field_validator

from blocks.errors import Refused, RefusedByPlatform, SecretIsBad, Unreachable
from blocks.reference import Secret, resolve
from blocks.secrets.interface import RotatedSecret
from blocks.sinks.interface import Values

if TYPE_CHECKING:
    from redis import Redis

_SECONDS = 5
_RANDOM_BYTES = 32

T = TypeVar("T")


class RedisAcl(RotatedSecret):
    """A connection URL of Redis, whose login alternates between two ACL users."""

    type: Literal["redis-acl"] = Field(description="A Redis login that alternates between two ACL users.")
    users: list[str] = Field(
        min_length=2, max_length=2, description="The two ACL users that take turns; both may do the same."
    )
    rotate_url: Secret = Field(description="Reference to the URL of the user that may alter these two.")

    @field_validator("users")
    @classmethod
    def _are_two(cls, users: list[str]) -> list[str]:
        if users[0] == users[1] or not all(users) or "default" in users:
            raise ValueError("must be two different users, neither of them default")
        return users

    @property
    def effect(self) -> str:
        return f"{' or '.join(self.users)} logs in, whichever does not now; nobody is interrupted"

    def read_obstacles(self, old: Values) -> list[str]:
        user = self._user(old)
        if user not in self.users:
            return [
                f"the application logs in as {user or 'default'}, which is neither of {' and '.join(self.users)}:"
                " let it log in as the first of them"
            ]
        found: dict[str, Any] = self._ask(lambda server: {name: server.acl_getuser(name) for name in self.users})
        if missing := [f"there is no user {name}" for name, it in found.items() if it is None]:
            return missing
        first, second = map(_rules, found.values())
        differ = [] if first == second else ["the two may not do the same"]
        kept = self._ask(lambda server: server.config_get("aclfile").get("aclfile"))
        return [*differ, *([] if kept else ["the server has no aclfile: a restart would forget the new password"])]

    def read_cut_obstacles(self, old: Values) -> list[str]:
        def kill_nobody(server: "Redis") -> bool:
            from redis.exceptions import NoPermissionError

            try:
                server.execute_command("CLIENT KILL", "ADDR", "0.0.0.0:0")  # type: ignore[no-untyped-call]
            except NoPermissionError:
                return False
            return True

        obstacle = f"the rotating user may not end the sessions of {self._user(old)}: allow it +client|kill"
        return [] if self._ask(kill_nobody) else [obstacle]

    def make(self, old: Values) -> Values:
        return {self.variable: _with_login(old[self.variable], self._idle_user(old), token_urlsafe(_RANDOM_BYTES))}

    def install(self, old: Values, new: Values) -> None:
        self._accept(new)

    def prove(self, values: Values) -> None:
        if not self._is_accepted(values):
            raise SecretIsBad(f"Redis refuses the login {self._user(values)}.")

    def read_users(self, old: Values) -> list[str]:
        clients = self._ask(lambda server: server.client_list())
        ours = [client for client in clients if client["user"] == self._user(old)]
        return sorted({client["name"] or client["addr"] for client in ours})

    def retire(self, old: Values) -> None:
        self._refuse(self._user(old))

    def end_sessions(self, old: Values) -> None:
        user = self._user(old)
        self._ask(lambda server: server.execute_command("CLIENT KILL", "USER", user))  # type: ignore[no-untyped-call]

    def prove_refused(self, old: Values) -> None:
        if self._is_accepted(old):
            raise SecretIsBad(f"Redis accepts the retired login {self._user(old)} still.")

    def reinstate(self, old: Values) -> None:
        if not self._is_accepted(old):
            self._accept(old)

    def withdraw(self, old: Values) -> None:
        self._refuse(self._idle_user(old))

    def _user(self, values: Values) -> str:
        return unquote(_split(values[self.variable]).username or "")

    def _idle_user(self, old: Values) -> str:
        return next(user for user in self.users if user != self._user(old))

    def _accept(self, values: Values) -> None:
        """The server is sent a digest, never the password: neither MONITOR nor its slow log can show it."""
        password = unquote(_split(values[self.variable]).password or "")
        digest = hashlib.sha256(password.encode()).hexdigest()
        self._set(self._user(values), "on", "resetpass", f"#{digest}")

    def _refuse(self, user: str) -> None:
        self._set(user, "off", "resetpass")

    def _set(self, user: str, *rules: str) -> None:
        def change(server: "Redis") -> None:
            server.execute_command("ACL SETUSER", user, *rules)  # type: ignore[no-untyped-call]
            server.acl_save()

        self._ask(change)

    def _is_accepted(self, values: Values) -> bool:
        """Whether a login succeeds; what it may do then is another matter. Raises Unreachable."""
        from redis import AuthenticationError
        from redis.exceptions import NoPermissionError

        try:
            _with_server(values[self.variable], lambda server: server.ping())
        except AuthenticationError:
            return False
        except NoPermissionError:
            return True
        return True

    def _ask(self, act: "Callable[[Redis], T]") -> T:
        """As the rotating user. Raises RefusedByPlatform for a no; a command is never quoted."""
        from redis import RedisError

        try:
            return _with_server(resolve(self.rotate_url), act)
        except RedisError as error:
            raise RefusedByPlatform(f"Redis refuses the rotating user ({type(error).__name__}).") from None


def _with_server(url: str, act: "Callable[[Redis], T]") -> T:
    """Raises Unreachable, and redis's own errors for a no."""
    import redis  # here: most runs never ask it

    try:
        with redis.Redis.from_url(
            url, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS, decode_responses=True
        ) as server:
            return act(server)
    except redis.AuthenticationError:
        raise
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise Unreachable(f"Redis does not answer ({type(error).__name__}).") from None
    except ValueError:
        raise Refused("A Redis URL cannot be understood.", "Look at its reference. Nothing was changed.") from None


def _split(url: str) -> Any:
    """Raises Refused without quoting it."""
    try:
        return urlsplit(url)
    except ValueError:
        raise Refused("A Redis URL cannot be understood.", "Look at its sinks. Nothing was changed.") from None


def _with_login(url: str, user: str, password: str) -> str:
    parts = _split(url)
    address = parts.netloc.rpartition("@")[2]
    return str(urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{address}")))


def _rules(user: dict[str, Any]) -> dict[str, Any]:
    """What it may do, whoever it is and however it logs in."""
    own = {"passwords", "enabled", "flags"}
    flags = sorted(set(user["flags"]) - {"on", "off"})
    return {**{name: value for name, value in user.items() if name not in own}, "flags": flags}
