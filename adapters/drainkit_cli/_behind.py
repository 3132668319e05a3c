"""A proxy of the demonstration's own, in front of a server, as most sites have one.

Rule: when the block ends, what was started has ended, and its folder is gone, whatever happened.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from drainkit import DrainReport, Outcome
from drainkit_wsgi import DrainMiddleware

from . import _experiment
from ._experiment import LOOPBACK, Setting, Try
from ._served import REPORTS_VARIABLE

Address = tuple[str, int]

# Debian keeps servers where only root's PATH looks; Homebrew has a folder of its own.
_MORE_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin")
_START_SECONDS = 20.0
_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.02
# A report is made behind the answer, so it may come later than that.
_REPORT_SECONDS = 5.0
# A port that was free may be taken by the time nginx binds it.
_START_TRIES = 3
_MOST_LOG_BYTES = 1024 * 1024

# nginx at its defaults, but for its limit on uploads (1 MiB; 0 is none) and what it takes to leave
# nothing behind.
_CONFIG = """\
daemon off; master_process off; pid nginx.pid; error_log error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  client_max_body_size 0;
  server {{
    listen 127.0.0.1:{bare};
    location / {{ proxy_pass http://127.0.0.1:{behind_bare}; }}
  }}
  server {{
    listen 127.0.0.1:{drained};
    location / {{ proxy_pass http://127.0.0.1:{behind_drained}; }}
  }}
}}
"""
_ERROR = re.compile(r"\[error\] [^ ]+ \*\d+ (.*?), client:")


class NoProxyError(OSError):
    """The proxy is not installed, or does not start."""


def program() -> str:
    """Return the path of nginx.

    Raises:
        NoProxyError: There is none.
    """
    folders = (os.environ.get("PATH", os.defpath), *_MORE_FOLDERS)
    found = shutil.which("nginx", path=os.pathsep.join(folders))
    if found is None:
        raise NoProxyError(
            "--behind nginx needs the program nginx, which is not on the PATH; install it "
            "(Debian: apt-get install nginx-light), or leave the option out"
        )
    return found


@dataclass(frozen=True, slots=True)
class Behind:
    """Two servers behind a proxy, one with drainkit around its application and one without.

    Attributes:
        setting: What runs.
        addresses: Where the proxy listens, for the bare server and for the one with drainkit.
        reports: Returns what drainkit has reported so far.
        log_path: The proxy's log of errors.
    """

    setting: Setting
    addresses: Mapping[bool, Address]
    reports: Callable[[], list[DrainReport]]
    log_path: Path

    def upload(self, size_bytes: int, *, drained: bool) -> Try:
        """Make one upload through the proxy."""
        before = len(self.reports())
        answer = _experiment.ask(self.addresses[drained], size_bytes)
        if not drained:
            return Try(answer, None)
        deadline = time.monotonic() + _REPORT_SECONDS
        while len(made := self.reports()) == before and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return Try(answer, made[before] if len(made) > before else None)

    def errors(self) -> dict[str, int]:
        """Return what stands in the proxy's log of errors, and how often, most frequent first."""
        text = _tail(self.log_path)
        return dict(Counter(_ERROR.findall(text)).most_common())


@contextlib.contextmanager
def behind_nginx() -> Iterator[Behind]:
    """Run an nginx, and behind it gunicorn where that is installed, or else our own server.

    Raises:
        NoProxyError: nginx is not here, or does not start.
        OSError: No port of the loopback interface could be bound.
    """
    nginx = program()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_ended_by_signals())
        folder = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="drainkit-demo-", ignore_cleanup_errors=True)
            )
        )
        gunicorn = _gunicorn_version()
        if gunicorn is None:
            servers, reports = _own_servers(stack)
        else:
            servers, reports = _gunicorns(stack, folder)
        addresses = _start_nginx(stack, nginx, folder, servers)
        versions = {"nginx": _nginx_version(nginx), **({"gunicorn": gunicorn} if gunicorn else {})}
        setting = Setting("gunicorn" if gunicorn else "wsgiref", "nginx", versions)
        yield Behind(setting, addresses, reports, folder / "error.log")


def _gunicorn_version() -> str | None:
    try:
        import fcntl  # noqa: F401  # gunicorn cannot run without it

        return importlib.metadata.version("gunicorn")
    except (ImportError, importlib.metadata.PackageNotFoundError):
        return None


def _nginx_version(nginx: str) -> str:
    ran = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=False, timeout=10)
    return ran.stderr.strip().rpartition("/")[2].partition(" ")[0]


def _own_servers(
    stack: contextlib.ExitStack,
) -> tuple[dict[bool, Address], Callable[[], list[DrainReport]]]:
    reports: list[DrainReport] = []
    bare = _experiment.answering_early
    drained = DrainMiddleware(bare, on_report=reports.append)
    servers = {
        False: stack.enter_context(_experiment.serving(bare)),
        True: stack.enter_context(_experiment.serving(drained)),
    }
    return servers, lambda: list(reports)


def _gunicorns(
    stack: contextlib.ExitStack, folder: Path
) -> tuple[dict[bool, Address], Callable[[], list[DrainReport]]]:
    reports_path = folder / "reports"
    # A setting that an older gunicorn does not know is passed over in a file, and only there.
    (folder / "gunicorn.conf.py").write_text("control_socket_disable = True\n", encoding="utf-8")
    env = {**os.environ, REPORTS_VARIABLE: str(reports_path)}
    env.pop("GUNICORN_CMD_ARGS", None)  # one worker of the kind sync, as is the default
    servers = {}
    for drained, name in ((False, "bare"), (True, "drained")):
        # Bound here: there is no port to lose, and whoever connects early waits for the worker.
        with socket.create_server((LOOPBACK, 0)) as listener:
            servers[drained] = (LOOPBACK, listener.getsockname()[1])
            command = [sys.executable, "-m", "gunicorn", "--bind", f"fd://{listener.fileno()}"]
            command += ["--config", "gunicorn.conf.py", f"drainkit_cli._served:{name}"]
            _start(stack, command, folder, folder / f"{name}.log", env, listener.fileno())
    return servers, functools.partial(_reports_in, reports_path)


def _reports_in(path: Path) -> list[DrainReport]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    # A line that is just being written is not one yet.
    lines = text[: text.rfind("\n") + 1].splitlines()
    return [
        DrainReport(**{**data, "outcome": Outcome(data["outcome"])})
        for data in map(json.loads, lines)
    ]


def _start_nginx(
    stack: contextlib.ExitStack, nginx: str, folder: Path, servers: Mapping[bool, Address]
) -> dict[bool, Address]:
    log_path = folder / "error.log"
    for _ in range(_START_TRIES):
        ports = {drained: _free_port() for drained in servers}
        config = _CONFIG.format(
            bare=ports[False],
            drained=ports[True],
            behind_bare=servers[False][1],
            behind_drained=servers[True][1],
        )
        (folder / "nginx.conf").write_text(config, encoding="utf-8")
        log_path.unlink(missing_ok=True)
        command = [nginx, "-p", str(folder), "-e", "error.log", "-c", "nginx.conf"]
        process = _start(stack, command, folder, folder / "nginx.log", dict(os.environ))
        addresses = {drained: (LOOPBACK, port) for drained, port in ports.items()}
        if _listens(process, addresses):
            return addresses
    told = (_tail(log_path) or _tail(folder / "nginx.log")).strip().splitlines()
    raise NoProxyError(f"nginx does not start: {told[-1] if told else 'it says nothing'}")


def _listens(process: subprocess.Popen[bytes], addresses: Mapping[bool, Address]) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    left = list(addresses.values())
    while left and process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(left[0], _START_SECONDS).close()
            left.pop(0)
        except OSError:
            time.sleep(_POLL_SECONDS)
    return not left and process.poll() is None


def _start(
    stack: contextlib.ExitStack,
    command: list[str],
    folder: Path,
    log_path: Path,
    env: dict[str, str],
    *handed_over: int,
) -> subprocess.Popen[bytes]:
    """Start a process, to be ended with all that it started when the stack unwinds."""
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=handed_over,
            # A group of its own: its workers end with it, and Ctrl-C reaches only us.
            start_new_session=True,
        )
    stack.callback(_stop, process)
    return process


def _stop(process: subprocess.Popen[bytes]) -> None:
    try:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_STOP_SECONDS)
    finally:
        # Whoever was left in the group, also when an impatient Ctrl-C ended the wait.
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()  # Windows has no groups, and nginx is one process here
        process.wait(timeout=_STOP_SECONDS)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and a terminal that closes end the block as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt)
        for name in ("SIGTERM", "SIGHUP")
        if (number := getattr(signal, name, None)) is not None
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _tail(path: Path) -> str:
    try:
        return path.read_bytes()[-_MOST_LOG_BYTES:].decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
