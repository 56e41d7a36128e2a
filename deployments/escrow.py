"""Fill an escrow with what an environment cannot be brought back without, and lay one out on a new machine."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from blocks.errors import MissingReference, Refused
from blocks.escrow import Escrow
from blocks.platforms.interface import Capability
from blocks.reference import references_in, resolve
from deployments.environment_file import build_environment, read_environment_file
from deployments.stack.state import write_private
from deployments.strict_yaml import load_strictly

OWN = ("${BACKSTOP_APPROVALS_KEY}", "${PREFECT_SERVER_ENCRYPTION_KEY}")
"""Backstop's own keys, where they are known."""


def fill_escrow(path: Path) -> Escrow:
    """By the environment file. Raises Refused naming everything that is not to be had, BadEnvironmentFile."""
    name, parts = read_environment_file(path)
    environment, text = build_environment(name, parts), path.read_text()
    drills = environment.drills
    not_in_itself = {drills.escrow_identity, *references_in(drills.escrow)} if drills else set()
    wanted = [one for one in dict.fromkeys(_references(load_strictly(text))) if one not in not_in_itself]
    values, missing = {}, []
    for reference in wanted:
        try:
            values[reference] = resolve(reference)
        except MissingReference as error:
            missing.append(error.message)
    if missing:
        raise Refused("\n".join(missing), "Set them where this command runs. No escrow was made.")
    values |= {one: os.environ[one.strip("${}")] for one in OWN if one.strip("${}") in os.environ}
    platform = environment.platform
    return Escrow(
        environment=name,
        made_at=datetime.now(UTC),
        file=text,
        repository=environment.source.read_address(),
        references=values,
        application=platform.read_variables() if Capability.READ_VARIABLES in platform.capabilities else {},
    )


def write_out(escrow: Escrow, folder: Path) -> tuple[Path, dict[str, str]]:
    """Its environment file, which is written there with every secret that was a file; and the variables, by name."""
    text = escrow.file
    files = sorted((one for one in escrow.references if one.startswith("file:/")), key=len, reverse=True)
    for number, reference in enumerate(files):
        kept = folder / f"secret-{number}"
        write_private(kept, escrow.references[reference])
        text = text.replace(reference, f"file:{kept}")
    file = folder / f"{escrow.environment}.yaml"
    write_private(file, text)
    return file, {one.strip("${}"): value for one, value in escrow.references.items() if one not in files}


def _references(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield from references_in(content)
    elif isinstance(content, dict | list):
        for one in content.values() if isinstance(content, dict) else content:
            yield from _references(one)
