"""Bring one environment back from nothing but its backups, its escrow and its code, on the embedded stack.

`python -P -m deployments.rebuild fetch FOLDER` gets the backup. `… rebuild FOLDER` carries out each step when it is
ordered, and then serves until it is ended. FOLDER is a blocks.rebuilding.Workplace.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, cast

import yaml

from blocks.errors import BackstopError
from blocks.escrow import Escrow
from blocks.platforms.interface import Release
from blocks.platforms.sandbox import SandboxPlatform
from blocks.rebuilding import CONTROL_PORT, FRONT_PORT, STEPS, Rebuilding, Workplace
from blocks.reference import resolve
from blocks.service import Service
from blocks.sources.git_repository import GitRepository
from blocks.stores.directory import DirectoryStore
from blocks.stores.interface import Store
from blocks.surroundings import BARE
from blocks.trial import Trial
from deployments.environment_file import read_environment_file
from deployments.escrow import write_out
from deployments.sandbox.config import TOKEN_VARIABLE
from deployments.stack.state import State, write_private
from deployments.strict_yaml import load_strictly

DATABASE, OPERATING, CACHE = "REBUILT_DATABASE_URL", "REBUILT_OPERATING_URL", "REBUILT_CACHE_URL"
NOT_HERE = ("approvals", "notices", "drills", "region_copy")
"""Nobody is enrolled in a new ledger; nobody is to be told; the rest is for what is live."""
_RUNNING_SECONDS = 120
_TRIES = 3
"""On a slow machine a part may not be ready in time: the next `up` goes on where the one before stopped."""


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m deployments.rebuild")
    parser.add_argument("what", choices=["fetch", "rebuild"])
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args(words)
    work = Workplace(arguments.folder)
    told = work.read()
    file, variables = write_out(told.escrow, work.folder)
    os.environ.update(variables)
    try:
        if arguments.what == "fetch":
            fetch(told, work, file)
        else:
            Rebuilder(told, work, file).carry_out()
    except BackstopError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def fetch(told: Rebuilding, work: Workplace, file: Path) -> None:
    """The backup's objects, out of the store that the environment file names. Raises BackstopError."""
    _, parts = read_environment_file(file)
    store = cast(Store | None, parts.get("store"))
    if store is None:
        raise BackstopError("The escrow's environment file names no store.")
    work.backups.mkdir()
    here, prefix = DirectoryStore(folder=str(work.backups)), f"{told.escrow.environment}/{told.backup}/"
    found = list(store.read_objects(prefix))
    if not found:
        raise BackstopError(f"The store that the escrow leads to has no backup {told.backup}.")
    for one in found:
        with here.writing(one.name) as copy:
            for chunk in store.reading(one.name):
                copy.write(chunk)


class Rebuilder:
    """Each step but the last leaves things as the next one needs them."""

    def __init__(self, told: Rebuilding, work: Workplace, file: Path) -> None:
        self._told, self._work = told, work
        self._file = work.folder / "rebuilt.yaml"
        self._file.write_text(yaml.safe_dump(described_anew(file.read_text(), told, work)))
        self._release = ""
        addresses = {DATABASE: told.application_url, OPERATING: told.operating_url, CACHE: told.cache_url}
        os.environ.update({**addresses, TOKEN_VARIABLE: token_urlsafe()})
        _, self._parts = read_environment_file(self._file)
        os.environ["BACKSTOP_SCHEDULES"] = "paused"  # nothing but the recovery

    def carry_out(self) -> None:
        steps = (self._bring_up, self._apply, self._restore, self._boot, self._switch)
        for name, step in zip(STEPS, steps, strict=True):
            self._work.wait_until_ordered(name)
            step()
            self._work.finish(name)
        while True:
            signal.pause()

    def _bring_up(self) -> None:
        """A ledger, a Prefect, a worker, and a platform without releases."""
        state = self._work.folder / "state"
        State(state).create()
        write_private(state / "secrets.json", json.dumps(_keys(self._told.escrow)))
        os.environ["BACKSTOP_STATE"] = str(state)
        for others in reversed(range(_TRIES)):
            if _backstop("up", "--bare", may_fail=bool(others)):
                break
        folder = self._work.folder / "platform"
        folder.mkdir(mode=0o700)
        config = {
            "environment": self._told.escrow.environment,
            "repository": str(self._work.repository),
            "command": self._trial.command,
            "health": cast(Service, self._parts["service"]).health,
            "front_port": FRONT_PORT,
            "control_port": CONTROL_PORT,
            "start_timeout": self._trial.start_seconds,
        }
        write_private(folder / "config.json", json.dumps(config))
        variables = {**BARE, "PATH": os.environ["PATH"], TOKEN_VARIABLE: os.environ[TOKEN_VARIABLE]}
        subprocess.Popen([sys.executable, "-m", "deployments.sandbox", "--folder", str(folder)], env=variables)

    def _apply(self) -> None:
        _backstop("apply", str(self._file))

    def _restore(self) -> None:
        parameters = ("-p", f"backup={self._told.backup}", "-p", "accept_loss=unknown")
        _backstop("run", "restore-and-verify", self._told.escrow.environment, *parameters, "--wait")

    def _boot(self) -> None:
        platform, trial = self._platform, self._trial
        given = {trial.database_variable: self._told.application_url}
        if trial.cache_variable and self._told.cache_url:
            given[trial.cache_variable] = self._told.cache_url
        own = {name: resolve(value) for name, value in trial.variables.items()}
        platform.set_variables({**own, **self._told.escrow.application, **given})
        commit = GitRepository(folder=str(self._work.repository)).read_tag(self._told.version)
        self._release = platform.start_release(self._told.version, commit or "", "rebuild").id
        deadline = time.monotonic() + _RUNNING_SECONDS
        while (found := self._read_release()).state == "starting" and time.monotonic() < deadline:
            time.sleep(0.1)
        if found.state != "running":
            lines = " ".join(platform.read_logs(self._release, 20))
            raise BackstopError(f"Release {self._told.version} does not run: {found.detail} {lines}")

    def _switch(self) -> None:
        self._platform.shift_traffic({self._release: 100})

    def _read_release(self) -> Release:
        return next(one for one in self._platform.read_releases() if one.id == self._release)

    @property
    def _platform(self) -> SandboxPlatform:
        return cast(SandboxPlatform, self._parts["platform"])

    @property
    def _trial(self) -> Trial:
        return cast(Trial, self._parts["trial"])


def described_anew(text: str, told: Rebuilding, work: Workplace) -> dict[str, Any]:
    """The environment file, leading to what is rebuilt; all else is as it was."""
    content: dict[str, Any] = load_strictly(text)
    for part in NOT_HERE:
        content.pop(part, None)
    content["platform"] = {
        "type": "sandbox",
        "url": f"http://127.0.0.1:{CONTROL_PORT}",
        "token": f"${{{TOKEN_VARIABLE}}}",
    }
    content["service"] = {**content["service"], "url": f"http://127.0.0.1:{FRONT_PORT}"}
    content["source"] = {"type": "git", "folder": str(work.repository)}
    content["store"] = {"type": "directory", "folder": str(work.backups)}
    operating = f"${{{OPERATING}}}"
    content["database"] = {"url": f"${{{DATABASE}}}", "backup_url": operating, "restore_url": operating}
    if told.cache_url:
        content["cache"] = {"url": f"${{{CACHE}}}"}
    else:
        content.pop("cache", None)
    return content


def _keys(escrow: Escrow) -> dict[str, str]:
    """Backstop's own, as the stack keeps them; it makes what the escrow lacks."""
    names = {"approvals_key": "${BACKSTOP_APPROVALS_KEY}", "prefect_encryption_key": "${PREFECT_SERVER_ENCRYPTION_KEY}"}
    return {name: escrow.references[one] for name, one in names.items() if one in escrow.references}


def _backstop(*words: str, may_fail: bool = False) -> bool:
    """Whether a command, as a person would type it, succeeded. Raises BackstopError unless it may fail."""
    command = [sys.executable, "-m", "deployments.cli", *words]
    # All of ours: the worker that `up` starts looks the environment's references up in them.
    code = subprocess.run(command, env=os.environ, check=False, stdin=subprocess.DEVNULL).returncode
    if code != 0 and not may_fail:
        raise BackstopError(f"`backstop {' '.join(words[:2])}` ended with {code}.")
    return code == 0


if __name__ == "__main__":
    sys.exit(main())
