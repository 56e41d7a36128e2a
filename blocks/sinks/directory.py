"""A directory with one file a variable, as an orchestrator mounts secrets."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field

from blocks.errors import RefusedBySink
from blocks.platforms.interface import Platform
from blocks.reference import resolve
from blocks.sinks.files import replace_file
from blocks.sinks.interface import ReadableSink, Values


class Directory(ReadableSink):
    """A directory on the worker's machine: a file bears the variable's name and holds its value, nothing else."""

    type: Literal["directory"] = Field(description="A directory with one file a variable.")
    path: str = Field(
        pattern=r"^(/|\$\{[A-Z][A-Z0-9_]*\})",
        max_length=1000,
        description="Absolute path of the directory, which exists; may be a reference.",
    )

    @property
    def named(self) -> str:
        return f"the directory {self.path}"

    def read(self, platform: Platform, variables: Iterable[str]) -> Values:
        read = {name: self._read(name) for name in variables}
        return {name: value for name, value in read.items() if value is not None}

    def write(self, platform: Platform, values: Values) -> None:
        """Each file at one moment, one after the other."""
        for name, value in values.items():
            file = self._folder / name
            try:
                owner = file.stat() if file.exists() else self._folder.stat()
                replace_file(file.resolve(), value.encode(), owner)
            except OSError as error:
                raise self._refused(error.strerror) from None

    def _read(self, name: str) -> str | None:
        """None where there is no such file in a directory that is there."""
        try:
            if not self._folder.is_dir():
                raise self._refused("there is no such directory")
            return (self._folder / name).read_bytes().decode()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._refused(error.strerror) from None
        except UnicodeDecodeError:
            raise self._refused(f"{name} is not UTF-8") from None

    @property
    def _folder(self) -> Path:
        return Path(resolve(self.path))

    def _refused(self, reason: str | None) -> RefusedBySink:
        return RefusedBySink(f"{self.named[0].upper()}{self.named[1:]} cannot be used: {reason or 'unknown error'}.")
