"""Real servers as they are measured: one for each contender, all up at once, and what they use."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import http.client
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.bench.alternatives import FLOOR, HANDLER, HANDLER_64, NAIVE, NONE, SNIPPET
from tests.bench.bench import Bench, BenchError
from tests.bench.results import ROOT
from tests.servers.harness import SERVERS, Running, Server, running, serving

_APPS = Path(__file__).resolve().parent / "apps"
# Where the served application finds itself and tests.bench.alternatives.
_PYTHONPATH = os.pathsep.join([str(_APPS), str(ROOT), str(ROOT / "adapters")])
_TIMEOUT_SECONDS = 120.0
_PIECE = b"x" * 262_144

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


def row(name: str, contender: str, env: Mapping[str, str]) -> Server:
    """Return a server of the harness' table that serves the measured application."""
    env = {"PYTHONPATH": _PYTHONPATH, "BENCH_CONTENDER": contender, **env}
    return serving(name, f"bench_{SERVERS[name].interface}", env)


def floor_row() -> Server:
    """Return the bare socket as if it were a server."""
    return Server(
        FLOOR,
        "wsgi",
        (sys.executable, "-m", "tests.bench.floor", "{port}"),
        env=(("PYTHONPATH", _PYTHONPATH),),
    )


def rival(name: str) -> str:
    """Return what a site on this server would take instead of drainkit."""
    return SNIPPET if SERVERS[name].interface == "wsgi" else NAIVE


def available(bench: Bench, names: Sequence[str]) -> list[str]:
    """Return the servers that are installed; note the others as skipped."""
    found = []
    for name in names:
        if missing := SERVERS[name].missing():
            bench.skip(f"{name} needs {missing}")
        else:
            found.append(name)
    return found


@contextlib.contextmanager
def contenders(
    name: str,
    which: Sequence[str],
    policy: dict[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[Mapping[str, Running]]:
    """Run one server for each contender, all at once.

    Args:
        name: The server.
        which: The contenders. "In the handler" needs no middleware, so it is served by the
            application without one.
        policy: The fields of drainkit's policy that are not at their defaults.
        env: More environment variables for the servers.
    """
    with contextlib.ExitStack() as stack:
        started: dict[str, Running] = {}
        for contender in which:
            if contender == FLOOR:
                server = floor_row()
            else:
                server = row(
                    name, NONE if contender in (HANDLER, HANDLER_64) else contender, env or {}
                )
            started[contender] = stack.enter_context(running(server, wrap=False, policy=policy))
        yield started


def early_path(contender: str, read_bytes: int | None = None) -> str:
    """Return the path whose upload is not wanted."""
    if contender not in (HANDLER, HANDLER_64, FLOOR):
        return "/early"
    return "/handler" if read_bytes is None else f"/handler?{read_bytes}"


def upload(address: tuple[str, int], path: str, size_bytes: int) -> tuple[int, bytes, float]:
    """Upload as fast as the server takes it, and wait for the connection's end.

    The end matters: behind it the server has discarded everything, and its use can be read off.

    Returns:
        The status, the response's body, and the seconds it all took.

    Raises:
        BenchError: The upload or its answer was lost.
    """
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Length: {size_bytes}\r\n\r\n"
    )
    started = time.perf_counter()
    try:
        with socket.create_connection(address, _TIMEOUT_SECONDS) as connection:
            connection.sendall(head.encode())
            for piece in _pieces(size_bytes):
                connection.sendall(piece)
            response = http.client.HTTPResponse(connection)
            response.begin()
            body = response.read()
            while connection.recv(KIB):
                pass
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"{path}: {size_bytes} bytes lost: {error!r}") from error
    return response.status, body, time.perf_counter() - started


def _pieces(size_bytes: int) -> Iterator[memoryview]:
    piece = memoryview(_PIECE)
    for offset in range(0, size_bytes, len(piece)):
        yield piece[: size_bytes - offset]


class Processes:
    """A server's process and its workers, and what they have used."""

    def __init__(self, server: Running) -> None:
        parent = psutil.Process(server.pid)
        pids = [parent.pid, *(child.pid for child in parent.children(recursive=True))]
        self._clocks = [_cpu_clock(pid) for pid in pids]
        self._folders = [Path("/proc", str(pid)) for pid in pids]

    def cpu_seconds(self) -> float:
        """Return the CPU time that all of them have used, ended threads included."""
        return sum(map(time.clock_gettime, self._clocks))

    def page_faults(self) -> int:
        """Return how often memory that was used for the first time had to be given to them."""
        # proc(5): minflt is the eighth field behind the program's name.
        stats = [(folder / "stat").read_text(encoding="utf-8") for folder in self._folders]
        return sum(int(stat.rpartition(")")[2].split()[7]) for stat in stats)

    def forget_peak(self) -> int:
        """Let the peak begin anew; return the bytes that are resident now."""
        for folder in self._folders:
            (folder / "clear_refs").write_text("5", encoding="ascii")  # proc(5)
        return self._memory("VmRSS")

    def peak_bytes(self) -> int:
        """Return the most that was resident since `forget_peak`."""
        return self._memory("VmHWM")

    def _memory(self, name: str) -> int:
        total = 0
        for folder in self._folders:
            for line in (folder / "status").read_text(encoding="utf-8").splitlines():
                if line.startswith(f"{name}:"):
                    total += int(line.split()[1]) * KIB
        return total


def _cpu_clock(pid: int) -> int:
    """Return the clock of a process's CPU time, finer than the ticks of /proc (POSIX)."""
    libc = ctypes.CDLL(ctypes.util.find_library("c"))
    clock = ctypes.c_int()
    number = libc.clock_getcpuclockid(pid, ctypes.byref(clock))
    if number:
        raise BenchError(f"no CPU clock of process {pid}: {os.strerror(number)}")
    return clock.value


def discard(
    server: Running, contender: str, size_bytes: int, read_bytes: int | None = None
) -> tuple[float, float]:
    """Upload what nobody wants; return the server's CPU seconds and the seconds it took."""
    processes = Processes(server)
    before = processes.cpu_seconds()
    _, _, seconds = upload(server.address, early_path(contender, read_bytes), size_bytes)
    return processes.cpu_seconds() - before, seconds
