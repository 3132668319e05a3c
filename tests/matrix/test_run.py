"""A run tells what fails in its cell, never hangs, and leaves nothing behind, also after Ctrl-C."""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.clients import CLIENTS
from tests.matrix import plan, run
from tests.matrix.deployments import DEPLOYMENTS, Deployment
from tests.servers import harness

pytestmark = pytest.mark.server

ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 60.0
POLL_SECONDS = 0.05

ASKED = {
    "client": "strict",
    "protocol": "h1",
    "case": "413",
    "timeout_seconds": 2.0,
}


@pytest.fixture
def refusing() -> Iterator[tuple[str, int]]:
    """Return an address that is taken and where nobody answers."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()


def measured(name: str, clients: list[str], cases: list[str], tries: int = 1) -> dict[str, Any]:
    """Return what came of one deployment with drainkit."""
    row = DEPLOYMENTS[name]
    unit = run.Unit(row, True, plan.cells(row, clients, cases, tries))
    ((_, told),) = run.Run([unit], say=lambda words: None, at_once=1).measure()
    return told


def test_a_cell_tells_what_was_delivered_and_what_it_took() -> None:
    told = measured("wsgiref", ["strict", "http.client"], ["413"], tries=2)

    assert told["error"] is None
    for name in ("strict", "http.client"):
        cell = told["clients"][name]["413"]
        size = plan.upload_bytes(name)
        assert (2, 2, {}) == (cell["tries"], cell["delivered"], cell["instead"])
        assert [size] * 3 == cell["uploaded_bytes"] == cell["taken_bytes"]
        # The one is rounded to tenths of a millisecond, the other to milliseconds.
        assert 0 < cell["first_byte_seconds"][0] <= cell["seconds"][2] + 0.001


@pytest.mark.parametrize("why", ["no disk", "port 80: Address already in use"])
def test_a_server_that_does_not_start_is_told_in_its_cells(
    monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    ends = (sys.executable, "-c", f"raise SystemExit({why!r})")
    ended = harness.Server("wsgiref", "wsgi", ends)
    monkeypatch.setitem(harness.ALL_SERVERS, "wsgiref", ended)
    told = measured("wsgiref", ["strict"], ["413", "page"])

    assert f"ended before it answered {why}" in told["error"]
    assert {"413", "page"} == set(told["clients"]["strict"])
    assert all(
        {told["error"]: 0} == cell["instead"] and cell["tries"] == 0
        for cell in told["clients"]["strict"].values()
    )


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = harness.Server(
        "wsgiref", "wsgi", (sys.executable, "-c", "import time; time.sleep(60)")
    )
    monkeypatch.setitem(harness.ALL_SERVERS, "wsgiref", silent)
    monkeypatch.setattr(harness, "READY_SECONDS", 0.5)
    told = measured("wsgiref", ["strict"], ["413"])

    assert "did not answer in 0.5 s" in told["error"]


def test_a_program_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = harness.Server("wsgiref", "wsgi", ("nothing",), programs=("no-such-server",))
    monkeypatch.setitem(harness.ALL_SERVERS, "wsgiref", absent)
    told = measured("wsgiref", ["strict"], ["413"])

    assert "needs no-such-server" in told["error"]


def test_a_client_that_hangs_is_killed_and_the_next_try_has_another(
    refusing: tuple[str, int],
) -> None:
    asked = {**ASKED, "address": refusing}
    with run.Worker(threading.Event()) as worker:
        before = worker.ask(asked, timeout_seconds=LIMIT_SECONDS)
        first = worker.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)  # as deaf as a client can be
        began = time.monotonic()
        with pytest.raises(run.HungError, match="hung and was killed"):
            worker.ask(asked, timeout_seconds=0.5)
        seconds = time.monotonic() - began
        after = worker.ask(asked, timeout_seconds=LIMIT_SECONDS)
        second = worker.pid

    assert (
        before["problem"] == after["problem"] == ("lost: ConnectionRefusedError while connecting")
    )
    assert seconds < 5
    assert first != second
    assert not Path(f"/proc/{first}").exists()
    assert not Path(f"/proc/{second}").exists()


def test_a_client_that_fails_itself_is_told(refusing: tuple[str, int]) -> None:
    with run.Worker(threading.Event()) as worker:
        told = worker.ask({**ASKED, "address": refusing, "client": "nobody"}, timeout_seconds=20)

    assert {"failed": "KeyError: 'nobody'"} == told


def processes_with(mark: str) -> list[int]:
    """Return the processes that have inherited a mark in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in path.read_bytes() and path.parent.name != str(os.getpid()):
                found.append(int(path.parent.name))
        except OSError:
            continue  # ended meanwhile, or somebody else's
    return found


def wait_until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(POLL_SECONDS)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let Ctrl-C interrupt, also where these tests run in the background of a shell."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("client", ["curl", "chromium-form"])
def test_nothing_is_left_behind_when_a_run_is_interrupted(
    tmp_path: Path, client: str, number: signal.Signals
) -> None:
    if absent := CLIENTS[client].missing():
        pytest.skip(f"needs {absent}")
    mark = f"DRAINKIT_TEST_MARK={secrets.token_hex(8)}"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    out = tmp_path / "matrix.json"
    log_path = tmp_path / "log"
    name, _, value = mark.partition("=")
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.matrix", "--json", str(out), "--only", "with"),
                *("--servers", "wsgiref,gunicorn-sync", "--clients", client, "--tries", "1000"),
            ],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1", name: value},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(lambda: log_path.read_text().count(": started") == 2, "no server in time")
        # The run, its workers and servers; then what the clients start.
        wait_until(lambda: len(processes_with(mark)) > 5, "no client in time")
        began = time.monotonic()
        process.send_signal(number)
        status = process.wait(LIMIT_SECONDS)
        seconds = time.monotonic() - began
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(LIMIT_SECONDS)

    assert 130 == status, log_path.read_text()
    assert "interrupted; nothing is written" in log_path.read_text()
    assert seconds < 20
    assert not out.exists()
    # What was killed is gone as soon as the kernel has seen to it. A process holds its ports.
    wait_until(lambda: not processes_with(mark), "processes are left")
    assert [] == [path.name for path in temporary.iterdir()]


@pytest.mark.usefixtures("interruptible")
def test_a_run_that_is_interrupted_ends_after_the_last_server_has_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stopped = []

    @contextlib.contextmanager
    def started(self: Deployment, *, wrap: bool) -> Iterator[None]:
        yield
        time.sleep(0.5)  # a server that takes its time
        stopped.append(self.name)

    def say(words: str) -> None:
        if words.endswith(": started"):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Deployment, "started", started)
    with pytest.raises(KeyboardInterrupt):
        run.Run([run.Unit(DEPLOYMENTS["wsgiref"], True, [])], say=say, at_once=1).measure()

    assert ["wsgiref"] == stopped


def test_a_run_writes_json_page_and_picture_and_leaves_no_process(tmp_path: Path) -> None:
    out = tmp_path / "matrix.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.matrix", "--json", str(out), "--tries", "1"),
            *("--servers", "wsgiref", "--clients", "strict,eager", "--cases", "413"),
        ],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=True,
    )
    halves = json.loads(out.read_text())["deployments"]["wsgiref"]

    assert "[  2/2]" in done.stdout
    assert (0, 1) == tuple(
        halves[half]["clients"]["strict"]["413"]["delivered"] for half in ("without", "with")
    )
    assert [
        "matrix-alone.svg",
        "matrix-clients.svg",
        "matrix.json",
        "matrix.md",
        "matrix.svg",
    ] == sorted(path.name for path in tmp_path.iterdir())
