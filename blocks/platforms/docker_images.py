"""The images of a service: pulled or built where the engine has none, and of the commit that they should be of."""

import re
import time
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from blocks.errors import RefusedByPlatform, Unreachable
from blocks.platforms.docker_engine import engine_at
from blocks.sources.git_repository import GitRepository

if TYPE_CHECKING:
    from docker import APIClient

REVISION = "org.opencontainers.image.revision"
"""The label that says of which commit an image was built (OCI image specification, annotations)."""
REPOSITORY = r"^([A-Za-z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$"
"""A pattern: without a scheme, a tag or a digest."""
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


class Images(NamedTuple):
    engine: str
    """Its address, or a reference to it."""
    repository: str
    """Of the images; a version is a tag."""
    pull: bool
    build_from: str
    """Folder of a git repository; empty: nothing is built."""
    dockerfile: str
    seconds: float
    """For pulling or building one."""

    def require(self, engine: "APIClient", version: str, commit: str) -> None:
        """Raises RefusedByPlatform where there is none of that version, or it was built of another commit."""
        import docker

        if not _TAG.fullmatch(version):
            raise RefusedByPlatform("The version is no image tag.", "Name one that exists. Nothing was changed.")
        image = f"{self.repository}:{version}"
        try:
            found = engine.inspect_image(image)
        except docker.errors.ImageNotFound:
            self._get(version, commit)
            found = engine.inspect_image(image)
        revision = (found["Config"].get("Labels") or {}).get(REVISION, "")
        if revision != commit:
            raise RefusedByPlatform(
                f"{image} was built of {revision or 'a commit that it does not name'}, not of {commit}.",
                f"Build it with the label {REVISION}. Nothing was changed.",
            )

    def _get(self, version: str, commit: str) -> None:
        if self.build_from:
            self._build(version, commit)
        elif self.pull:
            self._pull(version)
        else:
            raise RefusedByPlatform(f"The engine has no image {self.repository}:{version}.", "Nothing was changed.")

    def _build(self, version: str, commit: str) -> None:
        """Of the files of the commit: nothing that lies about in the folder gets into it."""
        image = f"{self.repository}:{version}"
        with TemporaryDirectory(prefix="backstop-build-") as folder:
            context = Path(folder) / "context.tar"
            GitRepository(folder=self.build_from).archive(commit, context)
            with context.open("rb") as content, engine_at(self.engine, self.seconds) as engine:
                steps = engine.build(
                    fileobj=content,
                    custom_context=True,
                    dockerfile=self.dockerfile,
                    tag=image,
                    labels={REVISION: commit},
                    rm=True,
                    forcerm=True,
                    decode=True,
                )
                self._follow(steps, f"{image} could not be built")

    def _pull(self, version: str) -> None:
        with engine_at(self.engine, self.seconds) as engine:
            steps = engine.pull(self.repository, tag=version, stream=True, decode=True)
            self._follow(steps, f"{self.repository}:{version} could not be pulled")

    def _follow(self, steps: Iterable[dict[str, Any]], failed: str) -> None:
        """The engine answers 200 before it begins: whether it succeeded stands in what follows."""
        deadline = time.monotonic() + self.seconds
        for step in steps:
            if "error" in step:
                raise RefusedByPlatform(f"{failed}: {str(step['error'])[:300].strip()}.", "Nothing was changed.")
            if time.monotonic() > deadline:
                raise Unreachable(f"{failed} within {self.seconds:g} s.", "Give it longer: `pull_seconds`.")
