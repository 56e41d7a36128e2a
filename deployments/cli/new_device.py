"""Giving a person's authenticator app its seed: shown once on the terminal, kept by nobody until a code confirms it."""

import sys
from io import StringIO

import pyotp
import segno

from blocks.one_time_code import new_seed

ISSUER = "Backstop"


def show_new_seed(name: str) -> str:
    """A seed that was just made, after it was shown as a QR code and as text."""
    seed = new_seed()
    if not sys.stdout.isatty():
        print("What follows is a secret: nobody must keep it but the person's own device.", file=sys.stderr)
    print(f"Scan this with the authenticator app of {name}. It is shown only now.\n")
    print(_qr_code(pyotp.TOTP(seed).provisioning_uri(name=name, issuer_name=ISSUER)))
    print(f"Or type it in there: {' '.join(seed[at : at + 4] for at in range(0, len(seed), 4))}")
    print("(based on time, six digits, a new code every 30 s)\n", flush=True)
    return seed


def _qr_code(address: str) -> str:
    drawn = StringIO()
    segno.make_qr(address).terminal(drawn, compact=_shows_blocks())
    return drawn.getvalue()


def _shows_blocks() -> bool:
    """Half the size, where the terminal's encoding has the characters."""
    try:
        "█▀▄".encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return False
    return True
