"""`pg_dump` into a directory that is emptied while it grows, so that a dump of any size needs little disk.

The directory format with two jobs is the fastest that pg_dump writes, and the only one that
pg_restore reads in parallel. Its files are followed as they grow, and what was read is given
back to the file system. Where readers are slower than pg_dump, it is stopped until they have
caught up. A file is complete when no process has it open any more.
"""

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import psutil

from blocks.errors import BackstopError
from blocks.postgres.child import Child, running
from blocks.postgres.programs import Programs

JOBS = 2
"""More gain nothing where the server has two cores."""
LARGE_BYTES = 4 << 20
"""A file that grows beyond this is read on its own while it grows; smaller ones are read when they are complete."""
CHUNK_BYTES = 1 << 20
CONTENTS = "toc.dat"
"""The archive's table of contents, which tells where all else belongs: written last, and handed over whole."""
LOCK_SECONDS = 300
"""How long a table may be held by somebody else before pg_dump gives up."""
STOP_ABOVE_BYTES = 64 << 20
CONTINUE_BELOW_BYTES = 32 << 20
_LOOK_SECONDS = 0.02
_KEEP_SIZE, _PUNCH_HOLE = 1, 2  # of fallocate(2)
_libc = ctypes.CDLL(None, use_errno=True)


class DumpFailed(BackstopError):
    hint = "The database was only read. What was written of this backup is not one, and will be swept."


class Sink(Protocol):
    """Who reads the dump's files. Both are called from threads; what they raise ends the dump."""

    def take_large(self, name: str, chunks: Iterator[bytes]) -> None:
        """One large file, by its name in the directory."""

    def take_small(self, files: Iterator[tuple[str, bytes]]) -> None:
        """All other files, each whole, in no particular order; `toc.dat` is the last."""


class GrowingFile:
    """A file that pg_dump writes, read as far as it is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.complete = threading.Event()
        self.read_bytes = 0
        self._failed = False

    def fail(self) -> None:
        self._failed = True
        self.complete.set()

    def chunks(self) -> Iterator[bytes]:
        """The content to its end. Raises DumpFailed when that will never come."""
        with self.path.open("r+b", buffering=0) as file:
            while True:
                complete = self.complete.is_set()  # before the read: what came after it is read next time
                chunk = file.read(CHUNK_BYTES)
                if self._failed:
                    raise DumpFailed("The dump was given up before this file was complete.")
                if chunk:
                    yield chunk
                    self.read_bytes = file.tell()
                    _give_back(file.fileno(), self.read_bytes)
                elif complete:
                    break
                else:
                    self.complete.wait(_LOOK_SECONDS)
        self.path.unlink()


class Dump:
    """One run of pg_dump into `folder`, handed file by file to `sink`."""

    def __init__(self, folder: Path, sink: Sink, on_look: Callable[[], None] = lambda: None) -> None:
        """`on_look` is called many times a second while it goes on."""
        self._on_look = on_look
        self._folder = folder.resolve()  # as the kernel names the open files
        self._sink = sink
        self._files: dict[str, GrowingFile] = {}
        self._taken = {CONTENTS}
        self._tasks: list[Future[None]] = []
        self._small: list[GrowingFile] = []
        self._small_changed = threading.Condition()
        self._ended = False

    def run(self, programs: Programs, environment: dict[str, str], options: list[str]) -> None:
        """Raises DumpFailed, or what the sink raised."""
        command = [programs.path("pg_dump"), "--format=directory", "--compress=0", f"--jobs={JOBS}", "--no-sync"]
        command += [f"--file={self._folder}", "--no-password", f"--lock-wait-timeout={LOCK_SECONDS}s", *options]
        # One more than pg_dump's jobs: while it is stopped, a complete file is still being read.
        with ThreadPoolExecutor(JOBS + 2) as readers, running(command, environment) as child:
            self._tasks.append(readers.submit(self._sink.take_small, self._complete_small_files()))
            try:
                self._follow(child, readers)
            except BaseException:
                self._give_up()
                raise
            finally:
                self._end_small()
        for task in self._tasks:
            task.result()

    def _follow(self, child: Child, readers: ThreadPoolExecutor) -> None:
        stopped = False
        while True:
            ended = not child.is_running()
            if ended and child.process.returncode:
                raise DumpFailed(f"pg_dump failed: {child.read_complaint()}")
            unread = self._look(None if ended else child.process.pid, readers)
            for task in self._tasks:
                if task.done() and task.exception():
                    task.result()
            if ended:
                return
            if stopped != (unread > (CONTINUE_BELOW_BYTES if stopped else STOP_ABOVE_BYTES)):
                stopped = not stopped
                child.signal(signal.SIGSTOP if stopped else signal.SIGCONT)
            self._on_look()
            time.sleep(_LOOK_SECONDS)

    def _look(self, writer: int | None, readers: ThreadPoolExecutor) -> int:
        """Hand over what has become large or complete; returns how many bytes could be read and were not."""
        unread, entries = 0, _scan(self._folder)
        still_open = _open_files(writer) if writer else set()  # after the files were listed, or a new one looks closed
        for entry in entries:
            file = self._files.setdefault(entry.name, GrowingFile(Path(entry.path)))
            with suppress(FileNotFoundError):
                status = entry.stat()
                unread += status.st_size - file.read_bytes if entry.name != CONTENTS else 0
                if entry.name not in self._taken and status.st_size > LARGE_BYTES:
                    self._taken.add(entry.name)
                    self._tasks.append(readers.submit(self._sink.take_large, entry.name, file.chunks()))
            if entry.path not in still_open:
                file.complete.set()
                if entry.name not in self._taken:
                    self._taken.add(entry.name)
                    self._hand_over_small(file)
        return unread

    def _hand_over_small(self, file: GrowingFile) -> None:
        with self._small_changed:
            self._small.append(file)
            self._small_changed.notify()

    def _complete_small_files(self) -> Iterator[tuple[str, bytes]]:
        while True:
            with self._small_changed:
                self._small_changed.wait_for(lambda: self._small or self._ended)
                if not self._small:
                    break
                file = self._small.pop(0)
            content = file.path.read_bytes()
            file.path.unlink()
            yield file.path.name, content
        contents = self._folder / CONTENTS
        if not contents.is_file() or any(file._failed for file in self._files.values()):
            raise DumpFailed("The dump was given up before it was complete.")
        yield contents.name, contents.read_bytes()

    def _end_small(self) -> None:
        with self._small_changed:
            self._ended = True
            self._small_changed.notify()

    def _give_up(self) -> None:
        for file in self._files.values():
            file.fail()


def _scan(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:  # pg_dump makes it
        return []


def _open_files(pid: int) -> set[str]:
    """Paths that the process and its children have open."""
    found: set[str] = set()
    with suppress(psutil.Error):
        leader = psutil.Process(pid)
        for process in (leader, *leader.children()):
            with suppress(OSError):
                for descriptor in os.scandir(f"/proc/{process.pid}/fd"):
                    with suppress(OSError):
                        found.add(os.readlink(descriptor.path))
    return found


def _give_back(descriptor: int, up_to: int) -> None:
    """Free the blocks that were read. A file system that cannot do that only takes more disk."""
    whole = up_to - up_to % 4096
    _libc.fallocate(descriptor, _KEEP_SIZE | _PUNCH_HOLE, ctypes.c_long(0), ctypes.c_long(whole))
