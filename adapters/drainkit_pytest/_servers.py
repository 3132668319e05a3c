"""Servers in processes of their own: each command is started once, and all are stopped.

Rule: a process that was started is ended, with all that it started, whatever a test does.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from drainkit_clients import Upload, check_positive, strict

from ._site import ServerError, Site, tail

HOST = "127.0.0.1"
START_SECONDS = 30.0
_STOP_SECONDS = 5.0
# For one answer to the question whether it is ready.
_ANSWER_SECONDS = 5.0
_POLL_SECONDS = 0.05
# A port that was free may be taken by the time the server binds it.
_START_TRIES = 3
_TAKEN = ("address already in use", "errno 98", "errno 48", "winerror 10048")


class Start(Protocol):
    """What the fixture `drainkit_server` is: a function that starts a server."""

    def __call__(
        self,
        *command: str,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        ready_path: str = "/",
        start_seconds: float = START_SECONDS,
    ) -> Site:
        """Start a server, unless the same one runs already, and wait until it answers.

        Args:
            *command: The program and its arguments. In each word ``{host}``, ``{port}`` and
                ``{address}`` (both, with a colon) are filled in, with a free port of this machine.
                A program is looked for beside the Python that runs the tests, then on the PATH;
                ``python`` is that Python.
            env: Environment variables beside those of the tests. ``None`` means no others.
            cwd: The folder to start it in. ``None`` means pytest's root folder.
            ready_path: A GET of this path tells that the server answers, whatever the status.
            start_seconds: How long it may take until it does.

        Raises:
            ServerError: There is no such program, or it does not answer in time; with the end of
                its log.
            TypeError: A word of the command, a variable or its value is no text.
            ValueError: The command is empty, has no place for the port, or is one text with all of
                its words; or another argument is not allowed.
        """
        ...


class Servers:
    """The servers of one session."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._running: dict[object, Site] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def __call__(
        self,
        *command: str,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        ready_path: str = "/",
        start_seconds: float = START_SECONDS,
    ) -> Site:
        """Start a server, as `Start` says."""
        __tracebackhide__ = True
        _check_command(command)
        _check_surroundings(env, cwd, ready_path, start_seconds)
        folder = Path(cwd) if cwd is not None else self._root
        key = (command, folder, tuple(sorted((env or {}).items())))
        site = self._running.get(key)
        if site is None:
            site = self._start(
                command, {**os.environ, **(env or {})}, folder, ready_path, start_seconds
            )
            self._running[key] = site
        return site

    def _start(
        self,
        command: tuple[str, ...],
        env: dict[str, str],
        folder: Path,
        ready_path: str,
        start_seconds: float,
    ) -> Site:
        __tracebackhide__ = True
        program = _program(command[0])
        logs = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="drainkit-")))
        log_path = logs / "server.log"
        for left in reversed(range(_START_TRIES)):
            address = (HOST, _free_port())
            words = (program, *(_filled(word, address) for word in command[1:]))
            process = _started(words, env, folder, log_path)
            site = Site(words, address, log_path)
            try:
                _wait_until_ready(process, site, ready_path, start_seconds)
            except BaseException:
                _stop(process)
                if left and any(words in tail(log_path).lower() for words in _TAKEN):
                    continue
                raise
            self._stack.callback(_stop, process)
            return site
        raise AssertionError("the last try returns or raises")


def _check_command(command: tuple[Any, ...]) -> None:
    __tracebackhide__ = True
    if not command:
        raise ValueError("the command is empty; give the program and its arguments")
    for word in command:
        if isinstance(word, (list, tuple)):
            raise TypeError(
                f"each word of the command is an argument of its own; got {word!r}: write "
                f"drainkit_server(*{word!r})"
            )
        if not isinstance(word, str):
            raise TypeError(
                f"each word of the command must be a text; got {word!r}: write {str(word)!r}"
            )
    if len(command) == 1 and len(words := command[0].split()) > 1:
        raise ValueError(
            f"each word of the command is an argument of its own; got {command[0]!r}: write "
            f"drainkit_server({', '.join(map(repr, words))})"
        )
    if not any("{port}" in word or "{address}" in word for word in command):
        raise ValueError(
            f"no word of the command says where to listen; write '{{address}}' or '{{port}}' "
            f"where the server takes it; got {command!r}"
        )


def _check_surroundings(env: Any, cwd: Any, ready_path: Any, start_seconds: Any) -> None:
    __tracebackhide__ = True
    if env is not None and not isinstance(env, Mapping):
        raise TypeError(f"env must be a dict of texts, or None for no variables; got {env!r}")
    for name, value in (env or {}).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(
                f"env must be a dict of texts; got {name!r}: {value!r}: write "
                f"{str(name)!r}: {str(value)!r}"
            )
    if cwd is not None and not isinstance(cwd, (str, os.PathLike)):
        raise TypeError(f"cwd must be a path, or None for pytest's root folder; got {cwd!r}")
    if cwd is not None and not Path(cwd).is_dir():
        raise ValueError(
            f"cwd must be a folder that exists, or None for pytest's root folder; got "
            f"{os.fspath(cwd)!r}"
        )
    if not isinstance(ready_path, str) or not ready_path.startswith("/"):
        raise ValueError(f"ready_path must be a text that begins with '/'; got {ready_path!r}")
    check_positive("start_seconds", start_seconds)


def _program(name: str) -> str:
    __tracebackhide__ = True
    if name == "python":
        return sys.executable
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    found = shutil.which(name, path=os.pathsep.join(folders))
    if found is None:
        raise ServerError(f"there is no program {name!r} beside {sys.executable} nor on the PATH")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _filled(word: str, address: tuple[str, int]) -> str:
    host, port = address
    filled = word.replace("{address}", f"{host}:{port}")
    return filled.replace("{host}", host).replace("{port}", str(port))


def _started(
    words: tuple[str, ...], env: dict[str, str], folder: Path, log_path: Path
) -> subprocess.Popen[bytes]:
    with log_path.open("wb") as log:
        return subprocess.Popen(
            words,
            cwd=folder,
            env={"PYTHONUNBUFFERED": "1", **env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A group of its own: its workers end with it, and Ctrl-C reaches only the tests.
            start_new_session=True,
        )


def _wait_until_ready(
    process: subprocess.Popen[bytes], site: Site, ready_path: str, start_seconds: float
) -> None:
    __tracebackhide__ = True
    deadline = time.monotonic() + start_seconds
    get = Upload(path=ready_path, method="GET", connection="close")
    told = " ".join(site.command)
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerError(
                f"{told} ended with status {process.returncode} before it answered\n{site.log()}"
            )
        answer = strict(site.address, get, timeout_seconds=_ANSWER_SECONDS)
        if answer.status is not None and process.poll() is None:
            return
        time.sleep(_POLL_SECONDS)
    raise ServerError(f"{told} did not answer within {start_seconds} s\n{site.log()}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started: kindly, then not."""
    if not hasattr(os, "killpg"):  # Windows
        process.kill()
        process.wait(timeout=_STOP_SECONDS)
        return
    _signal_group(process, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while time.monotonic() < deadline and (process.poll() is None or _group_lives(process)):
        time.sleep(_POLL_SECONDS)
    _signal_group(process, signal.SIGKILL)
    process.wait(timeout=_STOP_SECONDS)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _group_lives(process: subprocess.Popen[bytes]) -> bool:
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True
