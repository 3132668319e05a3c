"""Run other projects' test suites plain and with drainkit: ``python -m tests.peers [suite ...]``.

It fails if a test passes plain and fails with drainkit, and nothing in ``explained.py`` says why;
and if something there has no reason any more. A suite that cannot be had is skipped by name.
"""

import argparse
import contextlib
import functools
import platform
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from tests.peers import page, results
from tests.peers.compare import Comparison, compare, passes_as_often
from tests.peers.environment import ROOT, Environment, UnavailableError, prepare
from tests.peers.explained import TABLE
from tests.peers.inside.peers_inside.outcomes import Outcome, Record
from tests.peers.inside.peers_inside.setting import BODY_BYTES
from tests.peers.run import Process, RunError
from tests.peers.suites import SUITES, Run

_BAD_ARGUMENTS = 2
_INTERRUPTED = 130
_CACHE = ROOT / ".nox" / ".cache" / "peers"


def _say(words: str) -> None:
    print(words, flush=True)


class SuiteRun:
    """Runs one suite in its environment, and judges it."""

    def __init__(self, environment: Environment, *, quick: bool, workers: int) -> None:
        self._environment = environment
        self._suite = environment.suite
        self._runs = environment.suite.runs(quick=quick)
        self._process = Process(environment, workers=workers)
        self._plain: dict[bool, Record] = {}
        self._measured: list[dict[str, Any]] = []
        self.problems: list[str] = []

    def measure(self) -> None:
        """Run everything. What is wrong is in ``problems``."""
        for run in self._runs:
            measured = self._one(run)
            if measured is not None:
                self._measured.append(measured)

    def as_data(self) -> dict[str, Any]:
        """Return what has been measured until now."""
        return {
            "version": self._environment.version,
            "date": results.today(),
            "python": platform.python_version(),
            "body_bytes": BODY_BYTES,
            "note": self._suite.version_reason,
            "deselected": dict(self._suite.deselected),
            "runs": self._measured,
        }

    def _one(self, run: Run) -> dict[str, Any] | None:
        with_body = run.with_body
        words = f"{self._suite.name} {self._environment.version}, {run.place}"
        words += ", with bodies" if with_body else ""
        try:
            if with_body not in self._plain:
                self._plain[with_body], _ = self._process.run(None, with_body=with_body)
            drained, seconds = self._process.run(run.place, with_body=with_body)
        except RunError as error:
            self.problems.append(f"{words}: {error}")
            _say(f"{words}: ended too early\n{error}")
            return None
        plain = self._plain[with_body]
        rows = [row for row in TABLE if row.is_about(self._suite.name, run.place, with_body)]
        judged = compare(
            plain,
            drained,
            rows,
            lambda test: passes_as_often(functools.partial(self._passes_alone, test, run)),
            lambda test: self._passes_alone(test, run, is_drained=True),
        )
        passed = [one.with_outcome(Outcome.PASSED) for one in (plain, drained)]
        _say(
            f"{words}: {passed[0]} pass plain, {passed[1]} with drainkit, "
            f"{len(judged.explained)} explained; {drained.counts['requests']} requests, "
            f"{drained.counts['drains']} drains, {seconds:.1f} s"
        )
        self._tell(words, drained, judged)
        return {
            "place": str(run.place),
            "with_body": with_body,
            "plain_passed": passed[0],
            "passed": passed[1],
            "requests": drained.counts["requests"],
            "drains": drained.counts["drains"],
            **{
                kind: [{"test": one.test, "reason": one.reason} for one in getattr(judged, kind)]
                for kind in ("explained", "unsteady", "worse")
            },
        }

    def _tell(self, words: str, drained: Record, judged: Comparison) -> None:
        found = [*map(str, judged.worse), *(f"explained.py: {one}" for one in judged.stale)]
        if not drained.counts["requests"]:
            found.append("no request came to drainkit: it wraps nothing of what is tested")
        for one in found:
            _say(f"    {one}")
        for difference in judged.unsteady:
            _say(f"    unsteady, alone it is the same with and without: {difference}")
        self.problems += [f"{words}: {one}" for one in found]

    def _passes_alone(self, test: str, run: Run, is_drained: bool) -> bool:
        place = run.place if is_drained else None
        try:
            record, _ = self._process.run(place, with_body=run.with_body, only=test)
        except RunError:
            return False
        return record.of(test) is Outcome.PASSED


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.peers", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="suite", help=", ".join(SUITES))
    parser.add_argument("--quick", action="store_true", help="only the runs of a short check")
    parser.add_argument("--json", type=Path, help="write what was measured, and its page")
    parser.add_argument("--cache", type=Path, default=_CACHE, help="where environments are kept")
    parser.add_argument("--workers", type=int, default=2, help="test processes of a run")
    parser.add_argument("--page", action="store_true", help="write the page from the JSON, only")
    return parser.parse_args(arguments)


def _ended(number: int, frame: FrameType | None) -> None:
    # As Ctrl-C: what runs is ended too.
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    options = _arguments(arguments)
    unknown = [name for name in options.suites if name not in SUITES]
    if unknown:
        print(f"error: no suite {unknown[0]!r}; there are {', '.join(SUITES)}", file=sys.stderr)
        return _BAD_ARGUMENTS
    path = options.json or (results.JSON_PATH if options.page else None)
    if path is not None and not path.parent.is_dir():
        print(f"error: no folder {path.parent}; make it first", file=sys.stderr)
        return _BAD_ARGUMENTS
    found = _Found()
    if not options.page:
        signal.signal(signal.SIGTERM, _ended)
        with contextlib.suppress(KeyboardInterrupt):
            _measure(options, found)
        if path is not None:
            told = results.merged(
                results.load(path), found.suites, found.skipped, found.begun, order=list(SUITES)
            )
            path.write_text(results.text(told), encoding="utf-8")
    if path is not None:
        target = page.path_of(path)
        target.write_text(page.text(results.load(path)), encoding="utf-8")
        _say(f"wrote {target}")
    if found.problems:
        _say("\n".join([f"{len(found.problems)} problems:", *found.problems]))
    if not found.is_complete and not options.page:
        print("interrupted", file=sys.stderr)
        return _INTERRUPTED
    return 1 if found.problems else 0


@dataclass(slots=True)
class _Found:
    """What a run of the program has found until now.

    Attributes:
        suites: What was measured of each suite.
        begun: The same of the suite that was interrupted.
        skipped: Why a suite was skipped.
        problems: What is wrong.
        is_complete: Whether all that was chosen has been run.
    """

    suites: dict[str, Any] = field(default_factory=dict)
    begun: dict[str, Any] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    is_complete: bool = False


def _measure(options: argparse.Namespace, found: _Found) -> None:
    """Run what is chosen."""
    names = options.suites or [
        name for name, suite in SUITES.items() if suite.quick or not options.quick
    ]
    options.cache.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    # One is prepared while another runs: pip waits for the network most of the time.
    with ThreadPoolExecutor(1) as pool:
        prepared = {name: pool.submit(prepare, SUITES[name], options.cache) for name in names}
        for name, future in prepared.items():
            try:
                environment = future.result()
            except UnavailableError as error:
                found.skipped[name] = str(error)
                _say(f"{name} is skipped: {error}")
                if name in options.suites:
                    found.problems.append(f"{name} was asked for, and cannot be had: {error}")
                continue
            one = SuiteRun(environment, quick=options.quick, workers=options.workers)
            try:
                one.measure()
            except KeyboardInterrupt:
                found.begun[name] = one.as_data()
                raise
            finally:
                found.problems += one.problems
            found.suites[name] = one.as_data()
    _say(f"{len(found.suites)} of {len(names)} suites in {time.monotonic() - started:.0f} s")
    found.is_complete = True


if __name__ == "__main__":
    sys.exit(main())
