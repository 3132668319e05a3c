"""Real servers in subprocesses: the table of them, and how to start, ask and stop one."""

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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


class ServerError(RuntimeError):
    """A server did not start, or does not answer any more."""


@dataclass(frozen=True, slots=True)
class Server:
    """One row of the matrix.

    Attributes:
        name: What the tests call it.
        interface: What it serves.
        arguments: The program and its arguments; ``{port}`` and ``{app}`` are filled in.
        requires: The modules without which it cannot start.
        programs: The programs without which it cannot start.
        env: More environment variables.
        notes: What is special about this row.
        app: The module in ``apps`` that it serves; the usual one of its interface when empty.
        tls_arguments: What makes it speak TLS, for `secured`: ``{certificate}`` and ``{key}`` are
            filled in; empty where it cannot.
        ssl_context: What a client speaks TLS with; None where the server speaks plain TCP.
        folders: More folders that its application may import from.
    """

    name: str
    interface: Interface
    arguments: tuple[str, ...]
    requires: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    notes: str = ""
    app: str = ""
    tls_arguments: tuple[str, ...] = ()
    ssl_context: ssl.SSLContext | None = None
    folders: tuple[Path, ...] = ()

    @property
    def module(self) -> str:
        """The module that it serves."""
        return self.app or f"served_{self.interface}"

    def command(self, port: int) -> list[str]:
        """Return the program and its arguments, for a port."""
        app = f"{self.module}:application"
        return [word.format(port=port, app=app) for word in self.arguments]

    def missing(self) -> str | None:
        """Return the first thing that it needs and that is not here; None if it can start."""
        modules = [name for name in self.requires if importlib.util.find_spec(name) is None]
        programs = [name for name in self.programs if find_program(name) is None]
        return next(iter(modules + programs), None)


def find_program(name: str) -> str | None:
    """Return the path of a program, or None where there is none."""
    # Debian keeps servers where only root's PATH looks; a wheel puts its own beside Python.
    folders = [
        os.environ.get("PATH", ""),
        str(Path(sys.executable).parent),
        "/usr/sbin",
        "/usr/local/sbin",
    ]
    return shutil.which(name, path=os.pathsep.join(folders))


def _module(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", *arguments)


def _script(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, str(_RUN / name), "{port}", *arguments)


_FILES = ("{certificate}", "{key}")


def _gunicorn(
    worker: str, *more: str, interface: Interface = "wsgi", name: str = "", needs: str = "gunicorn"
) -> Server:
    arguments = _module(
        *("gunicorn", "--bind", "127.0.0.1:{port}", "--log-level", "warning"),
        *("--no-control-socket", "-k", worker, *more, "{app}"),
    )
    tls = ("--certfile", "{certificate}", "--keyfile", "{key}")
    return Server(
        f"gunicorn-{name or worker}",
        interface,
        arguments,
        ("gunicorn", needs),
        tls_arguments=tls,
    )


def _granian(interface: Interface) -> Server:
    arguments = _module(
        *("granian", "--interface", interface, "--host", "127.0.0.1", "--port", "{port}"),
        *("--workers", "1", "--log-level", "warning", "{app}"),
    )
    tls = ("--ssl-certificate", "{certificate}", "--ssl-keyfile", "{key}")
    return Server(f"granian-{interface}", interface, arguments, ("granian",), tls_arguments=tls)


def _uvicorn(parser: str, *more: str) -> Server:
    arguments = _module(
        *("uvicorn", "--http", parser, *more, "--port", "{port}", "--log-level", "warning"), "{app}"
    )
    tls = ("--ssl-certfile", "{certificate}", "--ssl-keyfile", "{key}")
    return Server(f"uvicorn-{parser}", "asgi", arguments, ("uvicorn", parser), tls_arguments=tls)


def _hypercorn(worker: str) -> Server:
    arguments = _module(
        *("hypercorn", "-k", worker, "--bind", "127.0.0.1:{port}", "--log-level", "warning"),
        "{app}",
    )
    tls = ("--certfile", "{certificate}", "--keyfile", "{key}")
    return Server(
        f"hypercorn-{worker}", "asgi", arguments, ("hypercorn", worker), tls_arguments=tls
    )


def _uwsgi(way: str, *programs: str) -> Server:
    return Server(
        f"uwsgi-{way}",
        "wsgi",
        _script("run_uwsgi.py", way),
        programs=("uwsgi", *programs),
        notes="with threads; a chunked body is read with uwsgi.chunked_read()",
    )


def _mod_wsgi(mode: str) -> Server:
    return Server(
        f"mod_wsgi-{mode}",
        "wsgi",
        _script("run_mod_wsgi.py", mode),
        ("mod_wsgi",),
        programs=("apache2",),
    )


def _by_name(*servers: Server) -> dict[str, Server]:
    return {server.name: server for server in servers}


# The servers that the tests put everything to.
SERVERS: dict[str, Server] = _by_name(
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
        tls_arguments=_FILES,
    ),
    _gunicorn("sync"),
    _gunicorn("gthread", "--threads", "4"),
    _gunicorn("gevent", needs="gevent"),
    _gunicorn("asgi", interface="asgi"),
    Server(
        "cheroot",
        "wsgi",
        _script("run_cheroot.py"),
        ("cheroot",),
        tls_arguments=_FILES,
    ),
    Server(
        "waitress",
        "wsgi",
        _module("waitress", "--listen=127.0.0.1:{port}", "{app}"),
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
        _module("daphne", "-b", "127.0.0.1", "-p", "{port}", "-v", "0", "{app}"),
        ("daphne",),
        notes="spools the whole body before it calls the application",
    ),
)

# More servers, and other ways to run some of those: the tests put the cases BRIEF to them, and the
# matrix everything.
MORE_SERVERS: dict[str, Server] = _by_name(
    _uwsgi("http-socket"),
    _uwsgi("http"),
    _uwsgi("nginx", "nginx"),
    Server("gevent-pywsgi", "wsgi", _script("run_gevent.py"), ("gevent",), tls_arguments=_FILES),
    _gunicorn("gevent_pywsgi", needs="gevent"),
    _gunicorn("tornado", needs="tornado"),
    _mod_wsgi("daemon"),
    _mod_wsgi("embedded"),
    Server("bjoern", "wsgi", _script("run_bjoern.py"), ("bjoern",)),
    Server("runserver", "wsgi", _script("run_runserver.py"), ("django",)),
    Server(
        "aiohttp-wsgi",
        "wsgi",
        _script("run_aiohttp_wsgi.py"),
        ("aiohttp_wsgi",),
        notes="spools the whole body before it calls the application",
    ),
    _uvicorn("zttp", "--http2"),
    _gunicorn(
        "uvicorn_worker.UvicornWorker", interface="asgi", name="uvicorn", needs="uvicorn_worker"
    ),
    Server(
        "aiohttp-asgi",
        "asgi",
        _module(
            *("aiohttp_asgi", "--address", "127.0.0.1", "--port", "{port}"),
            *("--log-level", "warning", "{app}"),
        ),
        ("aiohttp_asgi",),
    ),
)

ALL_SERVERS = SERVERS | MORE_SERVERS


def secured(name: str, certificate: Path, key: Path) -> Server:
    """Return a row of ``ALL_SERVERS`` that speaks TLS itself, as some can."""
    row = ALL_SERVERS[name]
    assert row.tls_arguments, f"{name} is not known to speak TLS"
    files = [word.format(certificate=certificate, key=key) for word in row.tls_arguments]
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nobody has signed it
    return dataclasses.replace(
        row, name=f"{name}-tls", arguments=(*row.arguments, *files), ssl_context=context
    )


# Where a server listens, by the words that say so, once it is at a Unix socket.
_AT_SOCKET = {
    ("--bind", "127.0.0.1:{port}"): ("--bind", "unix:app.sock"),
    ("--port", "{port}"): ("--uds", "app.sock"),
}


def over_unix(row: Server) -> Server:
    """Return a row behind an nginx that reaches it over a Unix socket."""
    words = list(row.arguments)
    for there, instead in _AT_SOCKET.items():
        for at in range(len(words) - 1):
            if tuple(words[at : at + 2]) == there:
                words[at : at + 2] = instead
    assert "app.sock" in " ".join(words), f"{row.name} is not known to listen at a Unix socket"
    return dataclasses.replace(
        row,
        name=f"{row.name}-unix",
        arguments=_script("run_nginx_unix.py", *words),
        programs=(*row.programs, "nginx"),
    )


def serving(name: str, app: str, env: Mapping[str, str]) -> Server:
    """Return a row of ``ALL_SERVERS`` that serves another module of ``apps``.

    Args:
        name: The row.
        app: The module; its ``application`` is served.
        env: More environment variables, for the module.
    """
    row = ALL_SERVERS[name]
    return dataclasses.replace(row, app=app, env=(*row.env, *env.items()))


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

    def wait_for_report(
        self,
        since: int,
        matches: Callable[[dict[str, Any]], bool],
        *,
        timeout_seconds: float = 5.0,
    ) -> dict[str, Any]:
        """Return the first report that matches, behind the first *since* of all.

        That of an earlier request may come only now, behind its client's answer.

        Raises:
            ServerError: If it does not come in time.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            reports = self.reports()[since:]
            if found := next(filter(matches, reports), None):
                return found
            if time.monotonic() > deadline:
                told = "\n".join(map(json.dumps, reports))
                raise ServerError(f"{self.server.name}: not among these\n{told}\n{self.log()}")
            time.sleep(_POLL_SECONDS)


@contextlib.contextmanager
def running(
    server: Server,
    *,
    wrap: bool,
    policy: dict[str, Any] | None = None,
    ready_seconds: float | None = None,
) -> Iterator[Running]:
    """Start a server, wait until it answers, and stop it with all its workers in the end.

    Args:
        server: A row of ``ALL_SERVERS``.
        wrap: Whether drainkit's middleware is around the application.
        policy: The fields of the policy that are not at their defaults.
        ready_seconds: How long it may take to start; None for `READY_SECONDS`.

    Raises:
        ServerError: If it does not answer in time; with the end of its log.
    """
    with tempfile.TemporaryDirectory(prefix="drainkit-", ignore_cleanup_errors=True) as folder:
        for left in reversed(range(_START_TRIES)):
            process, started, token = _start(server, wrap, policy, Path(folder))
            try:
                try:
                    _wait_until_ready(started, token, ready_seconds or READY_SECONDS)
                except ServerError:
                    if left and _port_was_taken(started):
                        continue
                    raise
                yield started
                return
            finally:
                stop(process)


def _start(
    server: Server, wrap: bool, policy: dict[str, Any] | None, folder: Path
) -> tuple["subprocess.Popen[bytes]", Running, str]:
    port = _free_port()
    token = secrets.token_hex(8)
    log_path = folder / f"{server.name}.log"
    reports_path = folder / f"{server.name}.reports"
    env = {
        "PYTHONPATH": os.pathsep.join(_import_path(server.folders)),
        "PYTHONUNBUFFERED": "1",
        "DRAINKIT_TEST_WRAP": "1" if wrap else "0",
        "DRAINKIT_TEST_POLICY": json.dumps(policy or {}),
        "DRAINKIT_TEST_REPORTS": str(reports_path),
        "DRAINKIT_TEST_TOKEN": token,
        "DRAINKIT_TEST_APP": server.module,
        **dict(server.env),
    }
    process = start_logged(server.command(port), folder, log_path, env)
    started = Running(server, ("127.0.0.1", port), log_path, process.pid, reports_path, process)
    return process, started, token


def start_logged(
    command: Sequence[str], folder: Path, log_path: Path, env: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    """Start a program that `stop` ends; what it prints is in a file.

    Args:
        command: The program and its arguments.
        folder: Where it is started.
        log_path: The file.
        env: Environment variables beside those of this process.
    """
    with log_path.open("wb") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A group of its own: its workers end with it, and Ctrl-C reaches only the test.
            start_new_session=True,
        )


def _import_path(folders: tuple[Path, ...]) -> list[str]:
    paths = [str(folder) for folder in (*folders, _APPS)]
    try:
        importlib.metadata.distribution("drainkit")
    except importlib.metadata.PackageNotFoundError:
        paths += [str(_ROOT), str(_ROOT / "adapters")]
    if inherited := os.environ.get("PYTHONPATH"):
        # Relative entries mean the folder that this process runs in, not the server's.
        paths += [str(Path(entry).resolve()) for entry in inherited.split(os.pathsep) if entry]
    return paths


@contextlib.contextmanager
def reserved_port() -> Iterator[int]:
    """Yield a port that nobody else is given until the block ends; a server may listen at it.

    Linux gives a port that is bound to nobody who asks for any. Who asks for this one has it if
    both sockets have SO_REUSEADDR, as a server's has, and neither listens yet.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        if sys.platform != "linux":
            held.close()  # others would keep the server from it, too
        yield port


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(started: Running, token: str, ready_seconds: float) -> None:
    deadline = time.monotonic() + ready_seconds
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
    raise ServerError(f"{started.server.name} did not answer in {ready_seconds} s\n{started.log()}")


def _port_was_taken(started: Running) -> bool:
    return "address already in use" in started.log().lower()


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a process and the whole group that it leads: kindly, then not."""
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
