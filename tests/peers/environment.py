"""The newest source distribution of a project, and a virtual environment for its tests."""

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.peers.suites import Runner, Suite

ROOT = Path(__file__).parents[2]

# What every environment has beside the suite's own requirements.
_COMMON = ("pytest-xdist", "pytest-timeout")
_PIP_SECONDS = 600


class UnavailableError(Exception):
    """The source distribution, or what its tests need, cannot be had; the message says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """What a suite is run with.

    Attributes:
        suite: Its row.
        version: The version of the distribution.
        source: The unpacked source distribution.
        python: The Python of its virtual environment.
        logs: The folder for what its runs print.
    """

    suite: Suite
    version: str
    source: Path
    python: Path
    logs: Path


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PIP_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"pip did not end within {_PIP_SECONDS} s") from error
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise UnavailableError((told or done.stderr.splitlines()[-1:] or ["pip failed"])[-1])


def prepare(suite: Suite, cache: Path) -> Environment:
    """Fetch and unpack a suite, and make its environment or use it again.

    Raises:
        UnavailableError: It cannot be had.
    """
    home = cache / suite.name
    archive = _download(suite, home / "sdist")
    version = _version_of(archive)
    source = _unpack(archive, home / "source")
    if suite.runner is Runner.PYTEST and not (source / "tests").is_dir():
        raise UnavailableError(f"the source distribution of {version} has no tests")
    logs = home / "logs"
    logs.mkdir(exist_ok=True)
    python = _environment(
        home / "env",
        [f"{suite.package}{suite.extras}=={version}", *suite.requirements, *_COMMON],
    )
    return Environment(suite=suite, version=version, source=source, python=python, logs=logs)


def _download(suite: Suite, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    wanted = suite.package if suite.version is None else f"{suite.package}=={suite.version}"
    only_source = ("--no-deps", "--no-binary", suite.package)
    _pip("download", "--quiet", *only_source, "--dest", str(folder), wanted)
    (archive,) = folder.iterdir()
    return archive


def _version_of(archive: Path) -> str:
    return archive.name.removesuffix(".tar.gz").rpartition("-")[2]


def _unpack(archive: Path, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    return source


def _environment(folder: Path, requirements: Sequence[str]) -> Path:
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    stamp = folder / "requirements"
    wanted = "\n".join([sys.version, *requirements])
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    _pip("--python", str(python), "install", "--quiet", *requirements)
    stamp.write_text(wanted, encoding="utf-8")
    return python
