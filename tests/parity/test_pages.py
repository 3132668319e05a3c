"""What a client has of an error page behind a framework's own middlewares."""

import subprocess
import time
from pathlib import Path

import pytest

from tests.parity.harness import Seen, scenario
from tests.parity.peer import Peer
from tests.servers.harness import Running, find_program

pytestmark = pytest.mark.server

_UPLOAD_BYTES = 30_000_000
# As many as the application's (`parity_fastapi.PAGE`).
_PAGE_BYTES = 64 * len("<p>Your file is too large, and this is a page that says so.</p>\n")
# Where GZipMiddleware is; outside, the page has no Content-Length.
PLACES = ("gzip-outside", "gzip-inside")


@pytest.fixture(scope="module")
def upload_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("upload") / "upload.bin"
    with path.open("wb") as file:
        file.truncate(_UPLOAD_BYTES)
    return path


@scenario(
    "parity_fastapi",
    right={"exit": 0, "status": 413, "bytes": _PAGE_BYTES},
    better=("exit", "status", "bytes"),
    within={"answer": 0.5},
    requires=("fastapi",),
)
@pytest.mark.parametrize(
    ("expect", "rate"), [(True, None), (False, None), (False, "4M")], ids=["expect", "fast", "slow"]
)
@pytest.mark.parametrize("place", PLACES)
def test_curl_has_a_compressed_error_page_at_once(
    server: Running, upload_file: Path, place: str, expect: bool, rate: str | None
) -> Seen:
    """Behind ``@app.middleware("http")`` and GZipMiddleware the page comes in pieces."""
    curl = find_program("curl")
    if curl is None:
        pytest.skip("needs curl")
    url = "http://{}:{}/{}/error".format(*server.address, place)
    command = [curl, "-sS", "--compressed", "-m", "20", "--data-binary", f"@{upload_file}"]
    command += [] if expect else ["-H", "Expect:"]
    command += [] if rate is None else ["--limit-rate", rate]
    done = subprocess.run(
        [*command, "-w", "\n%{http_code} %{time_total}", url],
        capture_output=True,
        timeout=30,
        check=False,
    )
    page, _, numbers = done.stdout.rpartition(b"\n")
    status, seconds = numbers.split()
    return Seen(
        {"exit": done.returncode, "status": int(status), "bytes": len(page)},
        {"answer": float(seconds) if done.returncode == 0 else None},
    )


@scenario(
    "parity_fastapi",
    right={"answer": (413, _PAGE_BYTES), "sent": True},
    better=("answer", "sent"),
    requires=("fastapi",),
)
def test_a_strict_client_that_pauses_within_its_upload_has_the_page(server: Running) -> Seen:
    """It sends half of the body, pauses for 3 s, sends the rest and reads."""
    with Peer(server.address) as peer:
        peer.request("/gzip-outside/error", length=_UPLOAD_BYTES)
        sent = peer.write(b"x" * (_UPLOAD_BYTES // 2))
        time.sleep(3.0)
        sent = peer.write(b"x" * (_UPLOAD_BYTES // 2)) and sent
        # Whoever writes before reading does not read once writing has failed.
        answer = (peer.status, len(peer.body)) if sent and peer.wait_for_end() else None
    return Seen({"answer": answer, "sent": sent})
