"""A disk that is soon full: a file system in memory, which takes root to mount."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(mebibytes: int) -> Iterator[Path]:
    """Where every OS user may write. Skips the test where it cannot be mounted."""
    folder = Path(tempfile.mkdtemp(prefix="small-disk-"))
    folder.chmod(0o755)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=1777", "backstop-test", str(folder)]
    if subprocess.run(mount, capture_output=True, timeout=10, check=False).returncode:
        folder.rmdir()
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=10)
        folder.rmdir()
