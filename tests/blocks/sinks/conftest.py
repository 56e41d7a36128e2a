"""The sandbox daemon of the platforms' tests, too."""

from tests.blocks.platforms.conftest import builds, daemon, repository, token

__all__ = ["builds", "daemon", "repository", "token"]
