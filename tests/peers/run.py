"""Run one suite once, plain or with drainkit, in a process group of its own."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.peers.environment import ROOT, Environment
from tests.peers.inside.peers_inside.outcomes import Record
from tests.peers.inside.peers_inside.setting import BODY_BYTES, Place, Setting
from tests.peers.suites import Runner

_INSIDE = Path(__file__).parent / "inside"
_TEST_SECONDS = 120
_RUN_SECONDS = 1800
_LAST_LINES = 15
# It is meant: what is tested behind it must not hide behind a warning that their pytest makes an
# error of.
_MEANT = {Place.ADD_MIDDLEWARE: ("-W", "ignore::drainkit_starlette.PlacementWarning")}
# What would change how their pytest or their Django behaves.
_FORGOTTEN = re.compile(r"PYTEST_|COV_|DJANGO_|FLASK_|QUART_|LITESTAR_|PYTHON(DEV|PATH|SAFE|WARN)")


class RunError(Exception):
    """A run ended without saying what became of the tests; the message has its last words."""


class Process:
    """Runs suites in their environments."""

    def __init__(self, environment: Environment, *, workers: int) -> None:
        self._environment = environment
        self._workers = workers

    def run(
        self, place: Place | None, *, with_body: bool, only: str | None = None
    ) -> tuple[Record, float]:
        """Run the suite, or one of its tests alone; return what became of it, and the seconds.

        Raises:
            RunError: It ended too early, or not at all.
        """
        name = re.sub(r"\W+", "-", f"{place or 'plain'}{' with body' if with_body else ''}")
        results = self._environment.logs / f"{name}{'-alone' if only else ''}.json"
        log = results.with_suffix(".log")
        results.unlink(missing_ok=True)
        setting = Setting(
            framework=self._environment.suite.framework,
            place=place,
            body_bytes=BODY_BYTES if with_body else 0,
            results=str(results),
        )
        started = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(
                self._command(place, only),
                cwd=self._folder(),
                env=self._variables(setting),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                process.wait(_RUN_SECONDS)
            except subprocess.TimeoutExpired as error:
                raise RunError(f"did not end within {_RUN_SECONDS} s") from error
            finally:
                _end(process)
        if not results.exists():
            last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
            raise RunError("\n".join([f"exit status {process.returncode}", *last]))
        return Record.read(str(results)), time.monotonic() - started

    def _folder(self) -> Path:
        suite = self._environment.suite
        return self._environment.source / ("tests" if suite.runner is Runner.DJANGO else "")

    def _command(self, place: Place | None, only: str | None) -> Sequence[str]:
        suite = self._environment.suite
        python = str(self._environment.python)
        chosen = suite.tests if only is None else (only,)
        workers = 1 if suite.is_short or only is not None else self._workers
        if suite.runner is Runner.DJANGO:
            settings = "--settings=peers_inside.django_runner"
            return [python, "runtests.py", settings, f"--parallel={workers}", *chosen]
        parallel = ("-n", str(workers), "--dist", "load") if workers > 1 else ()
        meant = () if place is None else _MEANT.get(place, ())
        return [
            *(python, "-m", "pytest", "-q", "-p", "peers_inside.plugin", "-p", "no:cacheprovider"),
            "--continue-on-collection-errors",
            *(f"--timeout={_TEST_SECONDS}", *parallel, *meant, *suite.deselected, *chosen),
        ]

    def _variables(self, setting: Setting) -> dict[str, str]:
        suite = self._environment.suite
        kept = {name: value for name, value in os.environ.items() if not _FORGOTTEN.match(name)}
        theirs = [str(self._environment.source / folder) for folder in suite.python_path]
        ours = [str(_INSIDE), str(ROOT), str(ROOT / "adapters")]
        path = os.pathsep.join([*theirs, *ours])
        return {**kept, **suite.variables, **setting.in_environment(), "PYTHONPATH": path}


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End what a run has left behind: it leads a group of its own."""
    if sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
