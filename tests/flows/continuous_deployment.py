"""A CI that deploys whatever tag is pushed: a repository's post-receive hook, as the tests install it."""

import os
import subprocess
import sys
from pathlib import Path

from blocks.platforms.interface import Platform
from blocks.platforms.sandbox import SandboxPlatform
from deployments.apply import ROOT
from tests.blocks.platforms.waiting import eventually

START_SECONDS = 40


def install(repository: Path, platform: SandboxPlatform) -> None:
    """From now on a tag that is pushed to the bare repository is deployed to the platform."""
    hook = repository / "hooks" / "post-receive"
    lines = [
        f"#!{sys.executable}",
        "import sys",
        f"sys.path.insert(0, {str(ROOT)!r})",
        "from blocks.platforms.sandbox import SandboxPlatform",
        "from tests.flows.continuous_deployment import run",
        f"run(SandboxPlatform(url={platform.url!r}, token={platform.token!r}))",
    ]
    hook.write_text("\n".join(lines) + "\n")
    hook.chmod(0o700)


def run(platform: Platform) -> None:
    """The hook: git writes a line for each ref that was pushed, OLD NEW NAME. The push does not wait for it."""
    pushed = [line.split() for line in sys.stdin]
    if os.fork():
        return
    os.setsid()
    for descriptor in range(3):
        os.close(descriptor)
    for _, new, name in pushed:
        if name.startswith("refs/tags/") and set(new) != {"0"}:
            _deploy(platform, name.removeprefix("refs/tags/"))


def _deploy(platform: Platform, version: str) -> None:
    command = ["git", "rev-parse", f"refs/tags/{version}^{{commit}}"]
    commit = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()
    started = platform.start_release(version, commit, "")
    eventually(lambda: {one.id: one.state for one in platform.read_releases()}[started.id] == "running", START_SECONDS)
    platform.shift_traffic({started.id: 100})
