"""A stack that the benchmarks have for themselves, and environments made from the example of staging."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from deployments.stack.state import CHECKOUT
from tests.running_stack import RunningStack

STAGING = CHECKOUT / "deployments" / "environments" / "shop-staging.yaml"
"""It has no visitors of its own: a benchmark sends as many as it wants."""


@contextmanager
def own_stack() -> Iterator[RunningStack]:
    with TemporaryDirectory(prefix="backstop-benchmark-") as folder:
        stack = RunningStack(Path(folder) / "state")
        with stack.taken_down_afterwards():
            stack.run("up")
            yield stack


def apply_environment(stack: RunningStack, name: str, **parts: dict[str, Any]) -> Path:
    """Staging under another name, some of its settings replaced. Returns its file."""
    described = yaml.safe_load(STAGING.read_text())
    described["environment"] = name
    for part, settings in parts.items():
        described[part] = {**described.get(part, {}), **settings}
    file = stack.folder.parent / f"{name}.yaml"
    file.write_text(yaml.safe_dump(described))
    stack.run("apply", str(file))
    return file
