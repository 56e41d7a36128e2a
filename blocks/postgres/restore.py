"""`pg_restore` from a directory whose large files are named pipes: nothing of them ever lies on a disk."""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from blocks.errors import BackstopError
from blocks.postgres.child import Child, running
from blocks.postgres.programs import Programs

JOBS = 2
"""More gain nothing where the server has two cores."""
FAST_SESSION = "-c maintenance_work_mem=256MB -c jit=off -c synchronous_commit=off"
_LOOK_SECONDS = 0.02
_PIPE_BYTES = 1 << 20
_F_SETPIPE_SZ = 1031
_SERVERS_OWN = (
    *("No space left on device", "out of memory", "could not resize shared memory"),
    *("server closed the connection", "terminating connection", "not yet accepting connections", "in recovery mode"),
)
_KNOWN_FROM = 17
_NOT_KNOWN_BEFORE = "SET transaction_timeout = 0;"
"""What pg_restore of that version and newer ones says to every server, whatever its version."""
_MOST_ERRORS_BYTES = 1 << 20

Feed = Callable[[Callable[[bytes], object]], None]
"""Writes the content of one file, chunk by chunk, to what it is given."""


class RestoreFailed(BackstopError):
    hint = "The new database is not used; the old one was not touched."


class ServerFailed(BackstopError):
    """Disk full, memory short, crashed or ended: of the backup it says nothing."""

    hint = "Look at that server's disk, memory and log, then try again. The backup may well be good."


def restore(
    programs: Programs,
    folder: Path,
    feeds: Mapping[str, Feed],
    environment: dict[str, str],
    options: list[str],
    on_look: Callable[[], None] = lambda: None,
    *,
    server_major: int = _KNOWN_FROM,
) -> None:
    """Restore the archive in `folder` into the database of `environment`.

    `feeds`: by name, the files of the archive that do not stand in the folder. Raises RestoreFailed,
    ServerFailed, or what a feed raised.
    """
    for name in feeds:
        os.mkfifo(folder / name, 0o600)
    given_up = threading.Event()
    command = [programs.path("pg_restore"), "--format=directory", f"--jobs={JOBS}", "--no-password"]
    command += [f"--dbname={environment['PGDATABASE']}", *options]
    refuses_one = server_major < _KNOWN_FROM <= programs.major
    command += [str(folder)] if refuses_one else ["--exit-on-error", str(folder)]
    environment = {**environment, "PGOPTIONS": f"{environment.get('PGOPTIONS', '')} {FAST_SESSION}".strip()}
    # One thread a pipe: which one pg_restore opens next is its own affair. Those that wait cost nothing.
    with ThreadPoolExecutor(max(1, len(feeds))) as feeders, running(command, environment) as child:
        fed = [feeders.submit(_feed, folder / name, feed, given_up) for name, feed in feeds.items()]
        try:
            _wait(child, fed, on_look)
            if child.process.returncode and not (refuses_one and _is_only_that(child)):
                raise _explain(child, fed)
        finally:
            given_up.set()
    for future in fed:
        future.result()


def _wait(child: Child, fed: list[Future[None]], on_look: Callable[[], None]) -> None:
    while child.is_running():
        _raise_failure_of(fed)
        on_look()
        time.sleep(_LOOK_SECONDS)


def _raise_failure_of(fed: list[Future[None]]) -> None:
    """What a feed raised, unless nobody read on: why, pg_restore says when it ends."""
    for future in fed:
        with suppress(BrokenPipeError):
            if future.done():
                future.result()


def _is_only_that(child: Child) -> bool:
    """Whether nothing else failed: without --exit-on-error pg_restore goes on, and tells every error."""
    told = child.read_errors(_MOST_ERRORS_BYTES)
    refused = told.count(f"Command was: {_NOT_KNOWN_BEFORE}")
    return child.process.returncode == 1 and len(told) < _MOST_ERRORS_BYTES and 0 < refused == told.count("error:")


def _explain(child: Child, fed: list[Future[None]]) -> BackstopError:
    """Raises what a feed that failed raised: pg_restore saw a file that was cut off."""
    _raise_failure_of(fed)
    complaint = child.read_complaint()
    if any(mark in complaint for mark in _SERVERS_OWN):
        return ServerFailed(f"The server that was restored into failed: {complaint}")
    return RestoreFailed(f"pg_restore failed: {complaint}")


def _feed(pipe: Path, feed: Feed, given_up: threading.Event) -> None:
    descriptor = _open_for_writing(pipe, given_up)
    if descriptor is None:
        raise RestoreFailed(f"pg_restore ended without having read {pipe.name}.")
    try:
        feed(lambda chunk: _write_all(descriptor, chunk, given_up))
    finally:
        os.close(descriptor)


def _open_for_writing(pipe: Path, given_up: threading.Event) -> int | None:
    """Waits for who reads; None when nobody will."""
    while not given_up.is_set():
        with suppress(OSError):  # ENXIO: nobody reads yet
            descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            with suppress(OSError):
                fcntl.fcntl(descriptor, _F_SETPIPE_SZ, _PIPE_BYTES)
            os.set_blocking(descriptor, True)
            return descriptor
        given_up.wait(_LOOK_SECONDS)
    return None


def _write_all(descriptor: int, chunk: bytes, given_up: threading.Event) -> None:
    if given_up.is_set():
        raise RestoreFailed("The restore was given up.")
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]
