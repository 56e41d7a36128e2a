"""One-time codes as authenticator apps make them: TOTP (RFC 6238) with SHA-1, six digits, a new one every 30 s."""

import hmac
import re
import time

import pyotp

from blocks.errors import WrongCode

STEP_SECONDS = 30
NO_STEP = -1
"""Older than every accepted one."""
_DRIFT = 1
"""Steps that a clock may be off, either way."""


def new_seed() -> str:
    """160 random bits in Base32: what an authenticator app is given."""
    return pyotp.random_base32()


def read_code(text: str) -> str:
    """The six digits, which may have spaces between them. Raises WrongCode for anything else."""
    code = text.replace(" ", "")
    if not re.fullmatch("[0-9]{6}", code):
        raise wrong_code()
    return code


def step_of(seed: str, code: str, now: float | None = None) -> int:
    """The newest time step around `now` that has this code, NO_STEP when none has.

    It takes as long whichever it is: every candidate is compared.
    """
    step_now = int((time.time() if now is None else now) // STEP_SECONDS)
    totp = pyotp.TOTP(seed)
    found = NO_STEP
    for step in range(max(step_now - _DRIFT, 0), step_now + _DRIFT + 1):
        matches = hmac.compare_digest(totp.generate_otp(step), code)
        found = (found, step)[matches]
    return found


def confirm(seed: str, text: str, now: float | None = None) -> int:
    """The time step of a code that proves that somebody's device has this seed. Raises WrongCode."""
    step = step_of(seed, read_code(text), now)
    if step == NO_STEP:
        raise wrong_code()
    return step


def wrong_code() -> WrongCode:
    """The same whatever is wrong, an unknown name included: a guesser learns nothing from it."""
    return WrongCode(
        "This code is not one of that name now: it is wrong, too old or was used before.",
        "Look at the name, wait for the next code and enter that one. Nothing was changed.",
    )
