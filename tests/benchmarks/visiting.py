"""Visitors of a benchmark's own, in a process beside the service."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployments.stack.state import CHECKOUT


@contextmanager
def visitors(url: str, log: Path, per_second: float, password: str = "") -> Iterator[None]:
    """Without a password nobody logs in, and everybody looks at the offers."""
    options = ["--url", url, "--rate", str(per_second), "--mix", "all" if password else "offers", "--log", str(log)]
    command = [sys.executable, "-m", "deployments.shop.visitors", *options]
    process = subprocess.Popen(command, cwd=CHECKOUT, env={**os.environ, "SHOP_DEMO_PASSWORD": password})
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)
