"""`backstop approvers` as a person at a terminal, or a script with a pipe, uses it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, Self

from pyotp import TOTP

from blocks.ledger.approvers import add
from blocks.one_time_code import new_seed
from tests.ledger_database import LedgerDatabase

WITHIN = 30
SEED_LINE = "Or type it in there: "
COMMAND = [sys.executable, "-m", "deployments.cli", "approvers"]


@dataclass(frozen=True)
class Ended:
    code: int
    output: str
    errors: str


@dataclass(frozen=True)
class Enrolment:
    ledger: LedgerDatabase
    key: str

    @property
    def surroundings(self) -> dict[str, str]:
        return {
            **os.environ,
            "PREFECT_API_URL": "http://127.0.0.1:1/api",  # not the embedded stack; nothing asks Prefect here
            "BACKSTOP_LEDGER_URL": self.ledger.url,
            "BACKSTOP_APPROVALS_KEY": self.key,
        }

    def run(self, *words: str, codes: Iterable[str] = (), **others: str) -> Ended:
        """With all codes given beforehand, and these other variables."""
        done = subprocess.run(
            [*COMMAND, *words],
            env={**self.surroundings, **others},
            input="".join(f"{code}\n" for code in codes),
            capture_output=True,
            text=True,
            timeout=WITHIN,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def begin(self, *words: str) -> "Dialogue":
        return Dialogue(
            subprocess.Popen(
                [*COMMAND, *words],
                env=self.surroundings,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )

    def enrolled(self, name: str, approved_by: str | None = None) -> TOTP:
        """Without the command; its device, none of whose codes was used."""
        device = TOTP(new_seed())
        with self.ledger.connect("test") as connection:
            add(connection, name, device.secret, approved_by=approved_by)
        return device

    def names(self) -> list[str]:
        return [str(name) for (name,) in self.ledger.as_superuser("SELECT name FROM approver ORDER BY name")]

    def events(self) -> list[tuple[object, ...]]:
        """Event, actor, and name in its detail, of every row of the trail."""
        return self.ledger.as_superuser("SELECT event, actor, detail ->> 'name' FROM audit ORDER BY sequence")


@dataclass(frozen=True)
class Dialogue:
    """`with` it: what did not end by then is ended."""

    process: subprocess.Popen[str]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate(timeout=WITHIN)

    def answer(self, *codes: str) -> None:
        pipe = _opened(self.process.stdin)
        pipe.write("".join(f"{code}\n" for code in codes))
        pipe.flush()

    def read_device(self) -> tuple[TOTP, str]:
        """The device that was shown, and all that was printed until then."""
        shown = ""
        for line in _opened(self.process.stdout):
            shown += line
            if line.startswith(SEED_LINE):
                return TOTP(line.removeprefix(SEED_LINE).replace(" ", "").strip()), shown
        raise AssertionError(f"{shown}{_opened(self.process.stderr).read()}")

    def end(self) -> Ended:
        output, errors = self.process.communicate(timeout=WITHIN)
        return Ended(self.process.returncode, output, errors)


def wrong_code(device: TOTP) -> str:
    """None of the device's codes of about now."""
    right = {device.at(time.time() + drift) for drift in range(-60, 90, 30)}
    return next(code for code in map(str, range(100_000, 100_010)) if code not in right)


def _opened(pipe: IO[str] | None) -> IO[str]:
    assert pipe
    return pipe
