"""A client that reads while it writes has its answer at once, and stops uploading."""

import json
import shutil
import statistics
import subprocess
from pathlib import Path
from typing import Any

import pytest

from drainkit_clients import Upload, eager
from tests.servers.cases import MIB, PAGE, TRIES
from tests.servers.conftest import Fleet
from tests.servers.harness import SERVERS

pytestmark = pytest.mark.server

CURL_BYTES = 30_000_000
CURL_SERVERS = [
    "gunicorn-sync",
    "uvicorn-h11",
    "uvicorn-httptools",
    "hypercorn-asyncio",
    "hypercorn-trio",
]

# The client cannot be answered before its last byte, and why.
ANSWERS_AFTER_THE_UPLOAD = {
    "waitress": "it spools the whole body before it calls the application",
    "daphne": "it spools the whole body before it calls the application",
}

# The end of such a page cannot be sent before the body has been discarded, and why; a client that
# has stopped sending and waits for it has it after idle_seconds.
_END_IS_THE_CLOSE = "the end is sent behind the iterable's close()"
_RECEIVES_NOTHING_AFTER = "behind the last message receive() is http.disconnect"
_GIVES_THE_BODY_UP = "a response in several messages that has ended ends the request's body"
HOLDS_THE_END = {
    ("wsgiref", "/page-stream-nolength"): _END_IS_THE_CLOSE,
    ("werkzeug", "/page-stream-nolength"): _END_IS_THE_CLOSE,
    ("cheroot", "/page-stream-nolength"): _END_IS_THE_CLOSE,
    ("gunicorn-asgi", "/page-stream-nolength"): _RECEIVES_NOTHING_AFTER,
    ("uvicorn-h11", "/page-stream-nolength"): _RECEIVES_NOTHING_AFTER,
    ("uvicorn-httptools", "/page-stream-nolength"): _RECEIVES_NOTHING_AFTER,
    ("hypercorn-asyncio", "/page-stream-nolength"): _RECEIVES_NOTHING_AFTER,
    ("hypercorn-trio", "/page-stream-nolength"): _RECEIVES_NOTHING_AFTER,
    ("granian-asgi", "/page-stream"): _GIVES_THE_BODY_UP,
    ("granian-asgi", "/page-stream-nolength"): _GIVES_THE_BODY_UP,
}
# Longer than 64 MiB take on a busy machine, where a server reads all of it before it answers.
IDLE_SECONDS = 3.0


def curl(
    program: str, address: tuple[str, int], upload: Path, *, may_fail: bool = False
) -> dict[str, Any]:
    """Upload a file with curl; return what its --write-out says."""
    done = subprocess.run(
        [
            *(program, "--silent", "--show-error", "--max-time", "10", "--header", "Expect:"),
            *("--request", "POST", "--upload-file", str(upload)),
            *("--output", "/dev/null", "--write-out", "%{json}"),
            f"http://{address[0]}:{address[1]}/413",
        ],
        capture_output=True,
        timeout=15,
        check=False,
    )
    assert may_fail or done.returncode == 0, done.stderr.decode()
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@pytest.mark.parametrize("server", CURL_SERVERS)
def test_curl_has_the_413_at_once_and_stops_uploading(
    fleet: Fleet, server: str, tmp_path: Path
) -> None:
    program = shutil.which("curl")
    if program is None:
        pytest.skip("needs curl")
    upload = tmp_path / "upload"
    with upload.open("wb") as file:
        file.truncate(CURL_BYTES)
    bare, drained = (fleet.get(server, wrap=wrap) for wrap in (False, True))
    # Without drainkit it may lose the answer, but if it has it, it has it early.
    without = [curl(program, bare.address, upload, may_fail=True) for _ in range(TRIES)]
    said = [curl(program, drained.address, upload) for _ in range(TRIES)]
    assert [one["http_code"] for one in said] == [413] * TRIES
    # The median: one slow start of a process on a busy machine says nothing about drainkit.
    median = statistics.median(one["time_total"] for one in said)
    assert median < 0.2
    assert median < statistics.median(one["time_total"] for one in without) + 0.2
    # Nobody waited for idle_seconds (5).
    assert max(one["time_total"] for one in said) < 2
    assert max(one["size_upload"] for one in said) < CURL_BYTES


@pytest.mark.parametrize(
    "server", [name for name in SERVERS if name not in ANSWERS_AFTER_THE_UPLOAD]
)
@pytest.mark.parametrize("path", ["/413", "/413-nolength"])
def test_an_eager_client_need_not_upload_everything_first(
    fleet: Fleet, server: str, path: str
) -> None:
    drained = fleet.get(server, wrap=True)
    upload = Upload(path=path, size_bytes=256 * MIB)
    answer = eager(drained.address, upload)
    assert (answer.status, answer.body) == (413, b"too large\n"), f"{answer.error}\n{drained.log()}"
    assert answer.delivered
    assert answer.sent_bytes < upload.size_bytes
    without = eager(fleet.get(server, wrap=False).address, upload)
    assert answer.seconds < 2
    if without.delivered:
        assert answer.seconds < without.seconds + 0.5, "as early as without drainkit"


@pytest.mark.parametrize("path", ["/page", "/page-stream", "/page-stream-nolength"])
@pytest.mark.parametrize("server", SERVERS)
def test_an_eager_client_has_a_big_page_whole_and_waits_for_idle_seconds_only_where_it_must(
    fleet: Fleet, server: str, path: str
) -> None:
    drained = fleet.get(server, wrap=True, policy={"idle_seconds": IDLE_SECONDS})
    # It stops sending when it has the status and waits for the end of the page: drainkit must not
    # wait for it in turn.
    answer = eager(drained.address, Upload(path=path, size_bytes=64 * MIB))
    assert answer.delivered, f"{answer.error}\n{drained.log()}"
    assert (answer.status, answer.body) == (413, PAGE)
    if (server, path) in HOLDS_THE_END:
        assert IDLE_SECONDS <= answer.seconds < IDLE_SECONDS + 2
    else:
        assert answer.seconds < IDLE_SECONDS
