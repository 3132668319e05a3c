"""Real servers as they are measured: one for each contender, all up at once, and what they use."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import dataclasses
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
from tests.servers.harness import SERVERS, Running, Server, running

_APPS = Path(__file__).resolve().parent / "apps"
# Where the served application finds itself and tests.bench.alternatives.
_PYTHONPATH = os.pathsep.join([str(_APPS), str(ROOT), str(ROOT / "adapters")])
_TIMEOUT_SECONDS = 120.0
_PIECE = b"x" * 262_144

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


def _on(loop: str, option: str, *names: str) -> Iterator[tuple[str, Server]]:
    # Where uvloop is installed some servers would choose it: each says its loop here.
    for name in names:
        row = SERVERS[name]
        needs = () if loop == "asyncio" else (loop,)
        yield (
            name if loop == "asyncio" else f"{name}-{loop}",
            dataclasses.replace(
                row, arguments=(*row.arguments, option, loop), requires=(*row.requires, *needs)
            ),
        )


# The harness' table, with what must be said to measure one thing at a time.
ROWS: dict[str, Server] = {
    **SERVERS,
    **dict(_on("asyncio", "--loop", "uvicorn-h11", "uvicorn-httptools", "granian-asgi")),
    **dict(_on("uvloop", "--loop", "uvicorn-httptools")),
    **dict(_on("asyncio", "--asgi-loop", "gunicorn-asgi")),
}


def row(name: str, contender: str, env: Mapping[str, str]) -> Server:
    """Return a server of the table that serves the measured application."""
    server = ROWS[name]
    added = {"PYTHONPATH": _PYTHONPATH, "BENCH_CONTENDER": contender, **env}
    return dataclasses.replace(
        server,
        name=name,
        app=f"bench_{server.interface}",
        env=(*server.env, *added.items()),
    )


def floor_row() -> Server:
    """Return the bare socket as if it were a server."""
    return Server(
        FLOOR,
        "wsgi",
        (sys.executable, "-m", "tests.bench.bare_socket", "{port}"),
        env=(("PYTHONPATH", _PYTHONPATH),),
    )


def rival(name: str) -> str:
    """Return what a site on this server would take instead of drainkit."""
    return SNIPPET if ROWS[name].interface == "wsgi" else NAIVE


def available(bench: Bench, names: Sequence[str]) -> list[str]:
    """Return the servers that are installed and asked for; note missing ones as skipped."""
    found = []
    for name in names:
        if bench.servers and name not in bench.servers:
            continue
        if missing := ROWS[name].missing():
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
    prefix: Sequence[str] = (),
    ready_seconds: float | None = None,
) -> Iterator[Mapping[str, Running]]:
    """Run one server for each contender, all at once.

    Args:
        name: The server.
        which: The contenders. "In the handler" needs no middleware, so it is served by the
            application without one.
        policy: The fields of drainkit's policy that are not at their defaults.
        env: More environment variables for the servers.
        prefix: A program, with its arguments, that runs each server.
        ready_seconds: How long each may take to start; None for what the harness allows.
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
            server = dataclasses.replace(server, arguments=(*prefix, *server.arguments))
            started[contender] = stack.enter_context(
                running(server, wrap=False, policy=policy, ready_seconds=ready_seconds)
            )
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
        self.pids = _pids(server)
        self._clocks = [_cpu_clock(pid) for pid in self.pids]
        self._folders = [Path("/proc", str(pid)) for pid in self.pids]

    def cpu_seconds(self) -> float:
        """Return the CPU time that all of them have used, ended threads included."""
        return sum(map(time.clock_gettime, self._clocks))

    def are_all(self, server: Running) -> bool:
        """Whether the server still has these processes and no other."""
        return set(self.pids) == set(_pids(server))

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


def _pids(server: Running) -> list[int]:
    try:
        parent = psutil.Process(server.pid)
        return [parent.pid, *(child.pid for child in parent.children(recursive=True))]
    except psutil.NoSuchProcess as error:
        raise BenchError(f"{server.server.name} has ended\n{server.log()}") from error


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
