import shutil
import subprocess
from pathlib import Path

import pytest

from tests.blocks.migrations.node import SOURCE

INSTALL_SECONDS = 100


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TypeORM and its driver, fetched once; the tests that need it are skipped where that cannot be."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node.js is not installed")
    folder = tmp_path_factory.mktemp("typeorm")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SOURCE / name, folder)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=INSTALL_SECONDS)
    except subprocess.SubprocessError as error:
        pytest.skip(f"TypeORM cannot be fetched ({error})")
    return folder / "node_modules"
