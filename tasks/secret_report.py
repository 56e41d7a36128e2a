"""Which secrets the service says that it uses, by their fingerprints."""

import json
from typing import Any

from blocks.bounded_get import bounded_get
from blocks.environment import Environment
from blocks.errors import BackstopError
from blocks.secrets.interface import Reported

_MOST_BYTES = 1_000_000


def read_wrong_reports(environment: Environment, expected: Reported | None) -> list[str]:
    """Of the releases with traffic, those that say something else, a phrase each; none where nothing is expected."""
    if expected is None:
        return []
    traffic = environment.platform.read_traffic()
    releases = [one for one in environment.platform.read_releases() if one.id in traffic]
    found = {one.id: _look(environment, one.url or "", expected) for one in releases}
    return [f"release {release} {problem}" for release, problem in found.items() if problem]


def _look(environment: Environment, url: str, expected: Reported) -> str:
    """What is wrong with its report; empty when nothing is."""
    try:
        told = read_report(environment, url, expected.path, expected.member)
    except BackstopError as error:
        return f"reports nothing: {error.message}"
    return "" if told == expected.fingerprints else f"reports another {expected.member} at {expected.path}"


def read_report(environment: Environment, url: str, path: str, member: str) -> Any:
    """That member of the JSON which the release answers there. Raises Unreachable, or BackstopError without it."""
    answer = bounded_get(url.rstrip("/") + path, environment.service.timeout, _MOST_BYTES)
    try:
        found = json.loads(answer.body)
        for name in member.split("."):
            found = found[name]
    except (ValueError, LookupError, TypeError):
        raise BackstopError(f"{path} answers {answer.status} without {member}") from None
    return found
