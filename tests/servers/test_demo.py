"""The demonstration behind a real nginx: 502 without drainkit, the answer with it, nothing left."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.harness import find_program

pytest.importorskip("click", reason="drainkit demo needs click (extra: cli)")
pytest.importorskip("rich", reason="drainkit demo needs rich (extra: cli)")

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(find_program("nginx") is None, reason="needs nginx"),
]

LIMIT_SECONDS = 60.0
# A shell that runs the tests in the background has SIGINT ignored, and children inherit that.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from drainkit_cli import _behind
if sys.argv[1] == "wsgiref":
    _behind._gunicorn_version = lambda: None
from drainkit_cli._commands import main
main(sys.argv[2:])
"""


def command(server, *arguments):
    return [sys.executable, "-c", PROGRAM, server, "demo", "--behind", "nginx", *arguments]


def processes_in(folder):
    """Return the processes that work in a folder, by their command lines."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if folder in (process / "cwd").resolve().parents:
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # it has ended
    return found


@pytest.mark.parametrize("server", ["gunicorn", "wsgiref"])
def test_without_drainkit_nginx_says_502_and_with_it_every_answer_arrives(tmp_path, server):
    if server == "gunicorn":
        pytest.importorskip("gunicorn", reason="needs gunicorn")
    result = subprocess.run(
        command(server, "--json"),
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )

    assert (0, "") == (result.returncode, result.stderr)
    data = json.loads(result.stdout)
    assert (server, "nginx", 8 * 1024 * 1024) == (data["server"], data["proxy"], data["size_bytes"])
    bare, drained = data["without_drainkit"], data["with_drainkit"]
    assert {502} == {one["status"] for one in bare["tries"] if not one["arrived"]}
    assert sum(data["proxy_errors"].values()) >= bare["lost"] > 0
    assert (10, 0) == (drained["arrived"], drained["lost"])
    assert {"complete", "disconnected"} >= {one["drain"]["outcome"] for one in drained["tries"]}
    assert [] == list(tmp_path.iterdir()) == processes_in(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing_behind(tmp_path, number):
    """Ctrl-C, or somebody who ends it kindly: status 130, no process and no folder."""
    with subprocess.Popen(
        command("gunicorn", "--tries", "100"),
        # As whoever calls it runs it: nobody closes a socket that Ctrl-C has kept from connecting,
        # of which Python may warn.
        env={
            **os.environ,
            "TMPDIR": str(tmp_path),
            "PYTHONDEVMODE": "",
            "PYTHONWARNINGS": "ignore",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("without drainkit, try 1 "):
                break
        before = processes_in(tmp_path)
        process.send_signal(number)
        _, errors = process.communicate(timeout=LIMIT_SECONDS)

    assert (130, "\nInterrupted; the server has been stopped.\n") == (process.returncode, errors)
    assert any("nginx" in line for line in before), before
    assert [] == processes_in(tmp_path) == list(tmp_path.iterdir())
