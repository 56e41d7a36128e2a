"""Files that hold secrets: replaced at one moment, and their owner's alone."""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, content: bytes, owner: os.stat_result) -> None:
    """Whoever reads it finds the old content or the new one, whole. Mode 600. Raises OSError, and it is as it was."""
    made, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # of mode 600
    try:
        with os.fdopen(made, "wb") as file:
            file.write(content)
            if os.geteuid() == 0:
                shutil.chown(file.fileno(), owner.st_uid, owner.st_gid)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
