"""Real servers in subprocesses: the table of them, and how to start, ask and stop one."""

import contextlib
import dataclasses
import importlib.metadata
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from drainkit_clients import Upload, strict

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parent.parent
_APPS = _HERE / "apps"
_RUN = _HERE / "run"

READY_SECONDS = 20.0
STOP_SECONDS = 5.0
_POLL_SECONDS = 0.05
# A port that was free may be taken by the time the server binds it.
_START_TRIES = 3

Interface = Literal["wsgi", "asgi"]
Command = Callable[[int], list[str]]


class ServerError(RuntimeError):
    """A server did not start, or does not answer any more."""


@dataclass(frozen=True, slots=True)
class Server:
    """One row of the matrix.

    Attributes:
        name: What the tests call it.
        interface: What it serves.
        command: Returns the arguments after the Python executable, for a port.
        requires: The modules without which it cannot start.
        env: More environment variables.
        notes: What is special about this row.
        ssl_context: What a client speaks TLS with; None where the server speaks plain TCP.
    """

    name: str
    interface: Interface
    command: Command
    requires: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    notes: str = ""
    ssl_context: ssl.SSLContext | None = None


def _module(interface: Interface, *arguments: str) -> Command:
    """Return the command of ``python -m``; ``{port}`` and ``{app}`` are filled in."""

    def command(port: int) -> list[str]:
        app = f"served_{interface}:application"
        return ["-m", *(argument.format(port=port, app=app) for argument in arguments)]

    return command


def _script(name: str) -> Command:
    return lambda port: [str(_RUN / name), str(port)]


def _gunicorn(worker: str, *more: str) -> Server:
    interface: Interface = "asgi" if worker == "asgi" else "wsgi"
    common = (
        "gunicorn",
        "--bind",
        "127.0.0.1:{port}",
        "--log-level",
        "warning",
        "--no-control-socket",
    )
    command = _module(interface, *common, "-k", worker, *more, "{app}")
    requires = ("gunicorn", "gevent") if worker == "gevent" else ("gunicorn",)
    return Server(f"gunicorn-{worker}", interface, command, requires)


def _granian(interface: Interface) -> Server:
    command = _module(
        interface,
        *("granian", "--interface", interface, "--host", "127.0.0.1", "--port", "{port}"),
        *("--workers", "1", "--log-level", "warning", "{app}"),
    )
    return Server(f"granian-{interface}", interface, command, ("granian",))


def _uvicorn(parser: str) -> Server:
    command = _module(
        "asgi", "uvicorn", "--http", parser, "--port", "{port}", "--log-level", "warning", "{app}"
    )
    return Server(f"uvicorn-{parser}", "asgi", command, ("uvicorn", parser))


def _hypercorn(worker: str) -> Server:
    command = _module(
        "asgi",
        "hypercorn",
        "-k",
        worker,
        "--bind",
        "127.0.0.1:{port}",
        "--log-level",
        "warning",
        "{app}",
    )
    return Server(f"hypercorn-{worker}", "asgi", command, ("hypercorn", worker))


SERVERS: dict[str, Server] = {
    server.name: server
    for server in (
        Server(
            "wsgiref",
            "wsgi",
            _script("run_wsgiref.py"),
            notes="a thread a request; HTTP/1.0 responses",
        ),
        Server(
            "werkzeug",
            "wsgi",
            _script("run_werkzeug.py"),
            ("werkzeug",),
            notes="a thread a request",
        ),
        _gunicorn("sync"),
        _gunicorn("gthread", "--threads", "4"),
        _gunicorn("gevent"),
        _gunicorn("asgi"),
        Server(
            "cheroot",
            "wsgi",
            _module("wsgi", "cheroot", "--bind", "127.0.0.1:{port}", "{app}"),
            ("cheroot",),
        ),
        Server(
            "waitress",
            "wsgi",
            _module("wsgi", "waitress", "--listen=127.0.0.1:{port}", "{app}"),
            ("waitress",),
            notes="spools the whole body before it calls the application",
        ),
        _granian("wsgi"),
        _granian("asgi"),
        _uvicorn("h11"),
        _uvicorn("httptools"),
        _hypercorn("asyncio"),
        _hypercorn("trio"),
        Server(
            "daphne",
            "asgi",
            _module("asgi", "daphne", "-b", "127.0.0.1", "-p", "{port}", "-v", "0", "{app}"),
            ("daphne",),
            notes="spools the whole body before it calls the application",
        ),
    )
}


def secured(name: str, certificate: Path, key: Path) -> Server:
    """Return a gunicorn row of ``SERVERS`` that speaks TLS itself."""
    row = SERVERS[name]

    def command(port: int) -> list[str]:
        *before, app = row.command(port)
        return [*before, "--certfile", str(certificate), "--keyfile", str(key), app]

    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nobody has signed it
    return dataclasses.replace(row, name=f"{name}-tls", command=command, ssl_context=context)


def serving(name: str, app: str, env: Mapping[str, str]) -> Server:
    """Return a row of ``SERVERS`` that serves the ``application`` of another module in ``apps``.

    Args:
        name: The row.
        app: The module.
        env: More environment variables, for the module.
    """
    row = SERVERS[name]
    usual = f"served_{row.interface}:application"

    def command(port: int) -> list[str]:
        return [f"{app}:application" if word == usual else word for word in row.command(port)]

    return dataclasses.replace(row, command=command, env=(*row.env, *env.items()))


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers.

    Attributes:
        server: Which one.
        address: Where it listens.
        log_path: What it printed; gone once it is stopped.
        pid: The process that was started, which leads its own group.
    """

    server: Server
    address: tuple[str, int]
    log_path: Path
    pid: int
    _reports_path: Path
    _process: "subprocess.Popen[bytes]"

    def alive(self) -> bool:
        """Whether the process that was started still runs."""
        return self._process.poll() is None

    def log(self, last_bytes: int = 4000) -> str:
        """Return the end of what the server printed."""
        return _tail(self.log_path, last_bytes)

    def reports(self) -> list[dict[str, Any]]:
        """Return drainkit's reports so far, outcomes by name, in the order they were made."""
        if not self._reports_path.exists():
            return []
        text = self._reports_path.read_text(encoding="utf-8")
        # A line that is just being written is not one yet.
        lines = text[: text.rfind("\n") + 1].splitlines()
        return [json.loads(line) for line in lines]

    def wait_for_reports(self, count: int, *, timeout_seconds: float = 5.0) -> list[dict[str, Any]]:
        """Return the reports once there are so many; a report may come after the client's answer.

        Raises:
            ServerError: If they do not come in time.
        """
        deadline = time.monotonic() + timeout_seconds
        while len(reports := self.reports()) < count:
            if time.monotonic() > deadline:
                raise ServerError(
                    f"{self.server.name}: {len(reports)} reports instead of {count}\n{self.log()}"
                )
            time.sleep(_POLL_SECONDS)
        return reports


@contextlib.contextmanager
def running(
    server: Server, *, wrap: bool, policy: dict[str, Any] | None = None
) -> Iterator[Running]:
    """Start a server, wait until it answers, and stop it with all its workers in the end.

    Args:
        server: A row of ``SERVERS``.
        wrap: Whether drainkit's middleware is around the application.
        policy: The fields of the policy that are not at their defaults.

    Raises:
        ServerError: If it does not answer in time; with the end of its log.
    """
    with tempfile.TemporaryDirectory(prefix="drainkit-", ignore_cleanup_errors=True) as folder:
        for left in reversed(range(_START_TRIES)):
            process, started, token = _start(server, wrap, policy, Path(folder))
            try:
                try:
                    _wait_until_ready(started, token)
                except ServerError:
                    if left and _port_was_taken(started):
                        continue
                    raise
                yield started
                return
            finally:
                _stop(process)


def _start(
    server: Server, wrap: bool, policy: dict[str, Any] | None, folder: Path
) -> tuple["subprocess.Popen[bytes]", Running, str]:
    port = _free_port()
    token = secrets.token_hex(8)
    log_path = folder / f"{server.name}.log"
    reports_path = folder / f"{server.name}.reports"
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(_import_path()),
        "PYTHONUNBUFFERED": "1",
        "DRAINKIT_TEST_WRAP": "1" if wrap else "0",
        "DRAINKIT_TEST_POLICY": json.dumps(policy or {}),
        "DRAINKIT_TEST_REPORTS": str(reports_path),
        "DRAINKIT_TEST_TOKEN": token,
        **dict(server.env),
    }
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *server.command(port)],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A group of its own: its workers end with it, and Ctrl-C reaches only the test.
            start_new_session=True,
        )
    started = Running(server, ("127.0.0.1", port), log_path, process.pid, reports_path, process)
    return process, started, token


def _import_path() -> list[str]:
    paths = [str(_APPS)]
    try:
        importlib.metadata.distribution("drainkit")
    except importlib.metadata.PackageNotFoundError:
        paths += [str(_ROOT), str(_ROOT / "adapters")]
    if inherited := os.environ.get("PYTHONPATH"):
        # Relative entries mean the folder that this process runs in, not the server's.
        paths += [str(Path(entry).resolve()) for entry in inherited.split(os.pathsep) if entry]
    return paths


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(started: Running, token: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    get = Upload(path="/ready", method="GET", connection="close")
    expected = f"ready {token}".encode()
    while time.monotonic() < deadline:
        if not started.alive():
            raise ServerError(f"{started.server.name} ended before it answered\n{started.log()}")
        answer = strict(
            started.address, get, timeout_seconds=2.0, ssl_context=started.server.ssl_context
        )
        if answer.status == 200 and answer.body == expected:
            return
        time.sleep(_POLL_SECONDS)
    raise ServerError(f"{started.server.name} did not answer in {READY_SECONDS} s\n{started.log()}")


def _port_was_taken(started: Running) -> bool:
    return "address already in use" in started.log().lower()


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End the whole group: kindly, then not."""
    _signal_group(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline and (process.poll() is None or _group_lives(process.pid)):
        time.sleep(_POLL_SECONDS)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait(timeout=STOP_SECONDS)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _tail(path: Path, last_bytes: int) -> str:
    try:
        return path.read_bytes()[-last_bytes:].decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
