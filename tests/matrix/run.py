"""Runs the cells: several deployments at once, each try with a limit that holds."""

import contextlib
import datetime
import json
import os
import queue
import re
import selectors
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from drainkit_conformance import Try
from tests.link.emulated import Emulated, LinkError, emulated
from tests.link.links import Link
from tests.matrix.deployments import Deployment, DeploymentError, Target
from tests.matrix.plan import Cell
from tests.revision import recorded
from tests.servers.harness import ServerError

_ROOT = Path(__file__).resolve().parents[2]

# A client that has not given up so long after its limit is killed.
_GRACE_SECONDS = 10.0
_STOP_SECONDS = 10.0
# A deadlock is the same each time, and slow.
_MOST_TIMEOUTS = 2
# Servers that start at a time: where many wait for a link, few have work to do.
_STARTING_AT_ONCE = 2
# drainkit's reports may come after the client's answer.
_REPORT_SECONDS = 0.3
# And so many round trips later over a link: the client has to acknowledge, and to close.
_REPORT_ROUND_TRIPS = 4
_POLL_SECONDS = 0.1
_WORDS_CHARACTERS = 300

Say = Callable[[str], None]


class HungError(Exception):
    """A client did not come back; its process has been killed."""


class _StoppedError(Exception):
    """The run is over before its end."""


class Worker:
    """The process that the clients run in: started when needed, and again when it was killed."""

    def __init__(self, stopped: threading.Event, link: Emulated | None = None) -> None:
        """Start nothing yet.

        Args:
            stopped: Ends the wait for a client, too.
            link: Whose client's end the process is in; None for this process's own network.
        """
        self._stopped = stopped
        self._link = link
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""
        # What a killed client leaves behind, Chromium above all, lies in here.
        self._folder = tempfile.TemporaryDirectory(
            prefix="drainkit-matrix-", ignore_cleanup_errors=True
        )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
            self._end(process)
        self._folder.cleanup()

    @property
    def pid(self) -> int | None:
        """The process that the clients run in; None while there is none."""
        return None if self._process is None else self._process.pid

    def ask(self, asked: dict[str, Any], *, timeout_seconds: float) -> dict[str, Any]:
        """Have one try made.

        Args:
            asked: What ``worker`` wants to know.
            timeout_seconds: When to kill the process.

        Raises:
            HungError: If that was necessary.
            _StoppedError: If the run is to end.
        """
        if self._process is None:
            self._process = self._start()
        process = self._process
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(asked).encode() + b"\n")
            process.stdin.flush()
            line = self._line(process, time.monotonic() + timeout_seconds)
        except OSError as error:
            self.kill()
            raise HungError(f"the client's process ended: {error}") from error
        except (HungError, _StoppedError):
            self.kill()
            raise
        told: dict[str, Any] = json.loads(line)
        return told

    def kill(self) -> None:
        """End the process at once, with what it started; the next try starts another."""
        process, self._process = self._process, None
        if process is not None:
            self._end(process)

    def _start(self) -> "subprocess.Popen[bytes]":
        self._buffer = b""
        with contextlib.nullcontext() if self._link is None else self._link.client.entered():
            return subprocess.Popen(
                [sys.executable, "-m", "tests.matrix.worker"],
                cwd=_ROOT,
                env={**os.environ, "TMPDIR": self._folder.name},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # A group of its own: Ctrl-C reaches only the run, which ends it in order.
                start_new_session=True,
            )

    @staticmethod
    def _end(process: "subprocess.Popen[bytes]") -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(_STOP_SECONDS)
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()

    def _line(self, process: "subprocess.Popen[bytes]", deadline: float) -> bytes:
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if self._stopped.is_set():
                    raise _StoppedError
                if time.monotonic() >= deadline:
                    raise HungError("the client hung and was killed")
                if not selector.select(_POLL_SECONDS):
                    continue
                data = os.read(process.stdout.fileno(), 65536)
                if not data:
                    raise HungError("the client's process ended")
                self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


@dataclass(frozen=True, slots=True)
class Unit:
    """A deployment, with drainkit or without, and its cells."""

    deployment: Deployment
    wrap: bool
    cells: Sequence[Cell]

    @property
    def name(self) -> str:
        return f"{self.deployment.name} {'with' if self.wrap else 'without'} drainkit"


class _Place(NamedTuple):
    """What a unit is measured with."""

    target: Target
    worker: Worker
    link: Emulated | None


class Run:
    """Measures units, a few at once."""

    def __init__(
        self,
        units: Sequence[Unit],
        *,
        say: Say,
        at_once: int,
        link: Link | None = None,
        traces: Path | None = None,
    ) -> None:
        """Measure nothing yet.

        Args:
            units: What is measured.
            say: Told how it goes.
            at_once: So many units at a time.
            link: What lies between clients and servers, one for each unit; None for nothing.
            traces: Where the packets of each lost cell are kept that had drainkit; None to keep
                none.
        """
        self._link = link
        self._traces = traces
        self._starting = threading.BoundedSemaphore(_STARTING_AT_ONCE)
        self._units: queue.SimpleQueue[Unit] = queue.SimpleQueue()
        for unit in units:
            self._units.put(unit)
        self._total = len(units)
        self._say = say
        self._at_once = min(at_once, len(units))
        self._stopped = threading.Event()
        self._done: list[tuple[Unit, dict[str, Any]]] = []

    def measure(self) -> list[tuple[Unit, dict[str, Any]]]:
        """Return what came of each unit, in the order in which they were done."""
        ended = threading.Semaphore(0)

        def run() -> None:
            try:
                self._lane()
            finally:
                ended.release()

        lanes = [
            threading.Thread(target=run, name=f"lane {number}") for number in range(self._at_once)
        ]
        try:
            for lane in lanes:
                lane.start()
            # Until Python 3.13 a join() that Ctrl-C interrupts takes its thread for ended.
            for _ in lanes:
                ended.acquire()
        except BaseException:
            # Ctrl-C: what hangs in a client comes back once that is killed, and the servers stop.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            self._say("stopping the clients and the servers")
            self._stopped.set()
            for lane in lanes:
                if lane.ident is not None:
                    lane.join()
            raise
        return self._done

    def _lane(self) -> None:
        with contextlib.ExitStack() as stack:
            worker = stack.enter_context(Worker(self._stopped)) if self._link is None else None
            while not self._stopped.is_set():
                try:
                    unit = self._units.get_nowait()
                except queue.Empty:
                    return
                began = time.monotonic()
                told = self._unit(unit, worker)
                if self._stopped.is_set():
                    return
                self._done.append((unit, told))
                seconds = time.monotonic() - began
                self._say(f"[{len(self._done):3}/{self._total}] {_summary(unit, told, seconds)}")

    @contextlib.contextmanager
    def _started(self, unit: Unit, worker: Worker | None) -> Iterator["_Place"]:
        """Start a unit's deployment, over a link of its own where there is one."""
        with contextlib.ExitStack() as stack:
            link = None
            if self._link is not None:
                link = stack.enter_context(emulated(self._link))
                stack.enter_context(link.server.entered())
            if worker is None:
                worker = stack.enter_context(Worker(self._stopped, link))
            with self._starting:
                if self._stopped.is_set():
                    raise _StoppedError
                target = stack.enter_context(unit.deployment.started(wrap=unit.wrap))
            yield _Place(target, worker, link)

    def _unit(self, unit: Unit, worker: Worker | None) -> dict[str, Any]:
        told: dict[str, Any] = {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
            **recorded(),
            "error": None,
            "clients": {},
        }
        try:
            with self._started(unit, worker) as place:
                self._say(f"          {unit.name}: started")
                for cell in unit.cells:
                    row = told["clients"].setdefault(cell.client.name, {})
                    row[cell.case.name] = self._traced(unit, cell, place)
                    if not place.target.running.alive():
                        raise DeploymentError(f"the server ended: {_last_line(place.target)}")
        except _StoppedError:
            pass
        except (DeploymentError, LinkError) as error:
            told["error"] = _one_line(str(error))
        except Exception as error:
            # A cell says why; the others are measured all the same.
            told["error"] = _one_line(f"{type(error).__name__}: {error}")
        for cell in unit.cells:
            row = told["clients"].setdefault(cell.client.name, {})
            row.setdefault(cell.case.name, _untried(told["error"] or "not tried"))
        return told

    def _traced(self, unit: Unit, cell: Cell, place: "_Place") -> dict[str, Any]:
        """Measure a cell, and keep its packets where it is lost with drainkit."""
        if place.link is None or self._traces is None or not unit.wrap:
            return self._cell(unit, cell, place.target, place.worker)
        folder = self._traces / f"{unit.deployment.name}-{cell.client.name}-{cell.case.name}"
        folder.mkdir(parents=True, exist_ok=True)
        with place.link.traced(folder):
            told = self._cell(unit, cell, place.target, place.worker)
        if is_whole(told):
            shutil.rmtree(folder)
        else:
            (folder / "server.log").write_text(place.target.running.log(), encoding="utf-8")
        return told

    def _cell(self, unit: Unit, cell: Cell, target: Target, worker: Worker) -> dict[str, Any]:
        if absent := cell.client.missing():
            return _untried(f"needs {absent}")
        seconds = cell.seconds_with if unit.wrap else cell.seconds_without
        asked = {
            "client": cell.client.name,
            "protocol": target.protocol,
            "address": target.address,
            "case": cell.case.name,
            "timeout_seconds": seconds,
            "link": None if self._link is None else self._link.name,
        }
        reported = len(target.running.reports()) if unit.wrap else 0
        tries: list[Try] = []
        timeouts = 0
        while len(tries) < cell.tries and timeouts < _MOST_TIMEOUTS:
            if self._stopped.is_set():
                raise _StoppedError
            began = time.monotonic()
            tries.append(self._try(asked, worker, seconds))
            timeouts += tries[-1].problem is not None and time.monotonic() - began >= seconds
        taken = None
        if unit.wrap:
            taken = _taken(target, reported, len(tries), self._report_seconds())
        return _counted(cell, tries, taken)

    def _report_seconds(self) -> float:
        far = 0.0 if self._link is None else self._link.round_trip_seconds
        return _REPORT_SECONDS + _REPORT_ROUND_TRIPS * far

    def _try(self, asked: dict[str, Any], worker: Worker, seconds: float) -> Try:
        try:
            told = worker.ask(asked, timeout_seconds=seconds + _GRACE_SECONDS)
        except HungError as error:
            return Try(f"lost: {error}", None, seconds, 0)
        if "failed" in told:
            return Try(f"lost: {told['failed']}", None, 0.0, 0)
        return Try(**told)


def _last_line(target: Target) -> str:
    """Return the last words that a server printed, without the frame around a traceback."""
    lines = [line.strip(" |+-") for line in target.running.log().splitlines()]
    return next((line for line in reversed(lines) if line), "")


def _untried(why: str) -> dict[str, Any]:
    return {"tries": 0, "delivered": 0, "instead": {why: 0}}


def _taken(target: Target, before: int, tries: int, timeout_seconds: float) -> list[int]:
    """Return the body bytes that the application and drainkit took, a try at a time."""
    with contextlib.suppress(ServerError):
        target.running.wait_for_reports(before + tries, timeout_seconds=timeout_seconds)
    reports = target.running.reports()[before:]
    return [report["bytes_read"] + report["bytes_discarded"] for report in reports]


def _counted(cell: Cell, tries: Sequence[Try], taken: Sequence[int] | None) -> dict[str, Any]:
    """Return a cell as it stands in the JSON."""
    problems = Counter(_plain(one.problem) for one in tries if one.problem is not None)
    firsts = [one.first_byte_seconds for one in tries if one.first_byte_seconds is not None]
    sent = [one.sent_bytes for one in tries] if cell.client.counts else []
    return {
        "tries": len(tries),
        "delivered": sum(one.problem is None for one in tries),
        "instead": dict(problems.most_common()),
        "first_byte_seconds": _spread([round(seconds, 4) for seconds in firsts]),
        "seconds": _spread([round(one.seconds, 3) for one in tries]),
        "uploaded_bytes": _spread(sent),
        # Where the server or the application reads everything, there is no report.
        "taken_bytes": _spread(taken) if taken and len(taken) == len(tries) else None,
    }


def _spread(values: Sequence[float]) -> list[float] | None:
    """Return the least, the median and the greatest."""
    if not values:
        return None
    return [min(values), statistics.median_low(values), max(values)]


def _plain(problem: str) -> str:
    """Return a problem in words that are the same in each try."""
    words = re.sub(r"\d{4,}", "...", problem)
    return _one_line(re.sub(r"https?://\S+", "the server", words))


def _one_line(words: str) -> str:
    return " ".join(words.split())[:_WORDS_CHARACTERS]


def _summary(unit: Unit, told: dict[str, Any], seconds: float) -> str:
    cells = [cell for row in told["clients"].values() for cell in row.values()]
    whole = sum(is_whole(cell) for cell in cells)
    words = f"{unit.name}: {whole} of {len(unit.cells)} cells whole, {seconds:.0f} s"
    return words if told["error"] is None else f"{words}; {told['error']}"


def is_whole(cell: dict[str, Any]) -> bool:
    """Return whether every try of a cell brought the right answer."""
    return bool(0 < cell["tries"] == cell["delivered"])
