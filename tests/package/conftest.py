"""The distributions that are tested: those of DRAINKIT_DIST, or ones that are built for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def dist(tmp_path_factory):
    """Return the folder with one wheel and one sdist."""
    if built := os.environ.get("DRAINKIT_DIST"):
        return Path(built)
    pytest.importorskip("build", reason="needs build (dependency group: package)")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, timeout=300)
    return folder
