"""People who approve: each with a device of their own that shows one-time codes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from pyotp import TOTP

from blocks.ledger.approvers import add, read_approvers
from blocks.ledger.connection import connect
from blocks.one_time_code import new_seed
from tests.running_stack import RunningStack

_numbers = count(1)


@dataclass(frozen=True)
class Person:
    name: str
    seed: str

    def code(self) -> str:
        """What the device shows now. A second one within half a minute is the same, and worth nothing."""
        return TOTP(self.seed).now()


class People:
    def __init__(self, stack: RunningStack) -> None:
        self._stack = stack

    def enrol(self, name: str = "") -> Person:
        """Somebody new, who has given no code yet."""
        person = Person(name or f"person{next(_numbers)}", new_seed())
        with self._surroundings(), connect("tests", self._stack.layout.database_url("backstop")) as connection:
            earlier = read_approvers(connection)
            add(connection, person.name, person.seed, approved_by=earlier[0].name if earlier else None)
        return person

    @contextmanager
    def _surroundings(self) -> Iterator[None]:
        before = os.environ.get("BACKSTOP_APPROVALS_KEY")
        os.environ["BACKSTOP_APPROVALS_KEY"] = self._stack.layout.credentials.approvals_key
        yield
        os.environ.pop("BACKSTOP_APPROVALS_KEY")
        if before is not None:
            os.environ["BACKSTOP_APPROVALS_KEY"] = before
