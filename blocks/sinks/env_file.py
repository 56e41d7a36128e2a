"""A file of NAME=value lines, as a service manager or a shell reads it before it starts a program.

A value of nothing but letters, digits and `_-./:@%+=,~` stands as it is, for readers that know no quotes (docker
--env-file). Any other one stands in double quotes, in which backslash, quote, dollar and backtick are escaped: POSIX
shells and systemd (EnvironmentFile) read that alike.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field

from blocks.errors import RefusedBySink
from blocks.platforms.interface import Platform
from blocks.reference import resolve
from blocks.sinks.files import replace_file
from blocks.sinks.interface import ReadableSink, Values

_PLAIN = re.compile(r"[\w./:@%+=,~-]*", re.ASCII)
_NEEDS_ESCAPE = re.compile(r'([\\"$`])')
_ENTRY = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_]\w*)=
    (?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>[^']*)'|(?P<bare>[^\s"'#][^\n]*?|))[ \t\r]*$""",
    re.VERBOSE | re.MULTILINE | re.DOTALL | re.ASCII,
)


class _Entry(NamedTuple):
    name: str
    value: str
    span: tuple[int, int]


class EnvFile(ReadableSink):
    """A file of NAME=value lines on the worker's machine."""

    type: Literal["env-file"] = Field(description="A file of NAME=value lines on the worker's machine.")
    path: str = Field(
        pattern=r"^(/|\$\{[A-Z][A-Z0-9_]*\})",
        max_length=1000,
        description="Absolute path of the file; may be a reference.",
    )

    @property
    def named(self) -> str:
        return f"the file {self.path}"

    def read(self, platform: Platform, variables: Iterable[str]) -> Values:
        wanted = set(variables)
        return {entry.name: entry.value for entry in _entries(self._read()) if entry.name in wanted}

    def write(self, platform: Platform, values: Values) -> None:
        """In place of the file, at one moment; mode 600, owner as before."""
        text = self._read()
        for entry in reversed(list(_entries(text))):
            if entry.name in values:
                begin, end = entry.span
                text = f"{text[:begin]}{entry.name}={_quoted(values[entry.name])}{text[end:]}"
        there = {entry.name for entry in _entries(text)}
        added = [f"{name}={_quoted(value)}\n" for name, value in values.items() if name not in there]
        separator = "\n" if added and text and not text.endswith("\n") else ""
        self._replace(f"{text}{separator}{''.join(added)}")

    def _read(self) -> str:
        try:
            return self._path.read_bytes().decode()
        except OSError as error:
            raise self._refused(error.strerror) from None
        except UnicodeDecodeError:
            raise self._refused("it is not UTF-8") from None

    def _replace(self, text: str) -> None:
        try:
            replace_file(self._path, text.encode(), self._path.stat())
        except OSError as error:
            raise self._refused(error.strerror) from None

    @property
    def _path(self) -> Path:
        return Path(resolve(self.path)).resolve()  # a link stays one: what it leads to is replaced

    def _refused(self, reason: str | None) -> RefusedBySink:
        return RefusedBySink(f"{self.named[0].upper()}{self.named[1:]} cannot be used: {reason or 'unknown error'}.")


def _entries(text: str) -> Iterator[_Entry]:
    """The last one of a name is what readers take."""
    for match in _ENTRY.finditer(text):
        if match["double"] is not None:
            value = re.sub(r"\\(.)", _unescaped, match["double"], flags=re.DOTALL)
        else:
            value = match["single"] if match["single"] is not None else match["bare"]
        yield _Entry(match["name"], value, match.span())


def _unescaped(match: re.Match[str]) -> str:
    return match[1] if match[1] in '\\"$`' else match[0]


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    escaped = _NEEDS_ESCAPE.sub(r"\\\1", value)
    return f'"{escaped}"'
