"""A database login that alternates between two roles, so that old and new both work while consumers change.

Both roles act as one owner (`ALTER ROLE … SET role`): whatever either of them makes belongs to it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from secrets import token_urlsafe
from typing import Literal, TypeVar

import psycopg
from psycopg.conninfo import make_conninfo
from pydantic import Field, field_validator

from blocks.errors import RefusedByPlatform, SecretIsBad, Unreachable
from blocks.postgres.connection import CONNECT_SECONDS, Connection, application_name, connect, read_conninfo, with_login
from blocks.postgres.roles import (
    end_sessions,
    may_end_sessions,
    read_role,
    read_sessions,
    refuse_logins,
    set_password,
)
from blocks.reference import Secret, resolve
from blocks.secrets.interface import RotatedSecret
from blocks.sinks.interface import Values

PURPOSE = "rotation"
_STATEMENT_SECONDS = 10
_RANDOM_BYTES = 32

T = TypeVar("T")


class PostgresRole(RotatedSecret):
    """A connection URL of PostgreSQL, whose login alternates between two roles."""

    type: Literal["postgres-role"] = Field(description="A PostgreSQL login that alternates between two roles.")
    roles: list[str] = Field(
        min_length=2, max_length=2, description="The two roles that take turns; both act as the owner of the data."
    )
    rotate_url: Secret = Field(description="Reference to the URL of the role that may alter these two.")

    @field_validator("roles")
    @classmethod
    def _are_two(cls, roles: list[str]) -> list[str]:
        if roles[0] == roles[1] or not all(roles):
            raise ValueError("must be two different roles")
        return roles

    @property
    def effect(self) -> str:
        return f"{' or '.join(self.roles)} logs in, whichever does not now; nobody is interrupted"

    def read_obstacles(self, old: Values) -> list[str]:
        role = self._role(old)
        if role not in self.roles:
            return [
                f"the application logs in as {role or 'nobody'}, which is neither of {' and '.join(self.roles)}: let it"
                " log in as the first of them"
            ]
        with self._connected() as connection:
            found = _translated(lambda: {name: read_role(connection, name) for name in self.roles})
        missing = [f"there is no role {name}" for name, it in found.items() if it is None]
        there = {name: it for name, it in found.items() if it}
        unalterable = [f"the rotating role may not alter {name}" for name, it in there.items() if not it.alterable]
        foreign = [f"{name} is no member of {it.acts_as}" for name, it in there.items() if not it.may_act_as]
        owners = {it.acts_as for it in there.values()}
        apart = [] if len(owners) == 1 and all(owners) else ["the two do not act as one owner"]
        return [*missing, *unalterable, *foreign, *(apart if not missing else [])]

    def read_cut_obstacles(self, old: Values) -> list[str]:
        role = self._role(old)
        with self._connected() as connection:
            if _translated(lambda: may_end_sessions(connection, role)):
                return []
        return [f"the rotating role may not end the sessions of {role}: GRANT pg_signal_backend to it"]

    def make(self, old: Values) -> Values:
        return {self.variable: with_login(old[self.variable], self._idle_role(old), token_urlsafe(_RANDOM_BYTES))}

    def install(self, old: Values, new: Values) -> None:
        self._set_password(new)

    def prove(self, values: Values) -> None:
        if not self._is_accepted(values):
            raise SecretIsBad(f"PostgreSQL refuses the login {self._role(values)}.")

    def read_users(self, old: Values) -> list[str]:
        with self._connected() as connection:
            return _translated(lambda: read_sessions(connection, self._role(old)))

    def retire(self, old: Values) -> None:
        with self._connected() as connection:
            _translated(lambda: refuse_logins(connection, self._role(old)))

    def end_sessions(self, old: Values) -> None:
        with self._connected() as connection:
            _translated(lambda: end_sessions(connection, self._role(old)))

    def prove_refused(self, old: Values) -> None:
        if self._is_accepted(old):
            raise SecretIsBad(f"PostgreSQL accepts the retired login {self._role(old)} still.")

    def reinstate(self, old: Values) -> None:
        if not self._is_accepted(old):
            self._set_password(old)

    def withdraw(self, old: Values) -> None:
        with self._connected() as connection:
            _translated(lambda: refuse_logins(connection, self._idle_role(old)))

    def _role(self, values: Values) -> str:
        return read_conninfo(values[self.variable]).get("user", "")

    def _idle_role(self, old: Values) -> str:
        return next(role for role in self.roles if role != self._role(old))

    def _set_password(self, values: Values) -> None:
        login = read_conninfo(values[self.variable])
        with self._connected() as connection:
            _translated(lambda: set_password(connection, login["user"], login["password"]))

    def _is_accepted(self, values: Values) -> bool:
        """Whether a login succeeds. Raises Unreachable where the server does not answer the rotating role either."""
        login = {**read_conninfo(values[self.variable]), "connect_timeout": str(CONNECT_SECONDS)}
        try:
            psycopg.connect(make_conninfo("", **{**login, "application_name": application_name(PURPOSE)})).close()
        except psycopg.OperationalError:
            with self._connected():
                return False
        return True

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with connect(resolve(self.rotate_url), PURPOSE, statement_seconds=_STATEMENT_SECONDS) as connection:
            yield connection


def _translated(act: Callable[[], T]) -> T:
    """Raises Unreachable for what may pass, RefusedByPlatform for a no. A statement is never quoted."""
    try:
        return act()
    except psycopg.OperationalError as error:
        raise Unreachable(f"The database server went away ({type(error).__name__}).") from None
    except psycopg.Error as error:
        raise RefusedByPlatform(f"The database server refuses: {error.diag.message_primary}.") from None
