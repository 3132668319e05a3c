"""What the client of a WSGI application has of the answer, and when: pieces, pages, redirects."""

import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.parity.harness import TIMES, WSGI, Seen, scenario
from tests.parity.peer import Peer
from tests.servers.harness import Running, find_program

pytestmark = pytest.mark.server

# As many as the application's (`parity_wsgi.PIECE` and `PAGE`).
_PIECE_BYTES = 100_000
_PAGE_BYTES = 200_000
_FRAMES = 3
_SPOOLS = {"waitress": "it has the whole body before it calls the application"}
_JSON = b'{"question": "when?"}'


@scenario(
    "parity_wsgi",
    right={"status": 200, "bytes": 2 * _PIECE_BYTES},
    better=("bytes",),
    within={"piece": 0.3},
    servers=WSGI,
)
@pytest.mark.parametrize("path", ["/first/untouched", "/first/touched"])
def test_the_first_piece_does_not_wait_for_the_second(server: Running, path: str) -> Seen:
    """The whole upload has been sent."""
    with Peer(server.address) as peer:
        peer.request(path, length=20_000, headers=["Connection: close"], body=b"x" * 20_000)
        peer.wait_for_end()
    return Seen(
        {"status": peer.status, "bytes": len(peer.body)},
        {"piece": peer.body_seconds, "whole": peer.whole_seconds},
    )


@scenario(
    "parity_wsgi",
    right={"status": 200, "pieces": [b"1", b"2"], "bytes": 2 * _PIECE_BYTES},
    within={"first": 0.3, "whole": 0.6},
    servers=WSGI,
    unable=_SPOOLS,
)
def test_a_transform_gives_a_piece_before_it_reads_on(server: Running) -> Seen:
    """Its client sends on only when it has the first piece.

    Both halves are larger than what gunicorn gathers for each read.
    """
    first: float | None = None
    with Peer(server.address) as peer:
        headers = ["Connection: close"]
        peer.request("/transform", length=4_000, headers=headers, body=b"1" * 2_000)
        if peer.wait_for_body(_PIECE_BYTES, 4.0):
            first = peer.elapsed
            peer.write(b"2" * 2_000)
            peer.wait_for_end(4.0)
    pieces = [bytes(peer.body[start : start + 1]) for start in (0, _PIECE_BYTES)]
    return Seen(
        {"status": peer.status, "pieces": pieces, "bytes": len(peer.body)},
        {"first": first, "whole": peer.whole_seconds},
    )


@scenario(
    "parity_wsgi",
    right={"status": 200, "bytes": _FRAMES * _PIECE_BYTES},
    servers=WSGI,
)
def test_frames_behind_a_small_body_that_nobody_reads_come_one_by_one(server: Running) -> Seen:
    times: dict[str, float | None] = {}
    with Peer(server.address) as peer:
        peer.request("/frames", length=len(_JSON), headers=["Connection: close"], body=_JSON)
        for number in range(1, _FRAMES + 1):
            has_come = peer.wait_for_body(number * _PIECE_BYTES, 4.0)
            times[f"frame {number}"] = peer.elapsed if has_come else None
        peer.wait_for_end()
    return Seen({"status": peer.status, "bytes": len(peer.body)}, times)


@scenario(
    "parity_wsgi",
    right={},
    servers=WSGI,
)
def test_an_item_that_is_no_bytes_is_told_as_bare(server: Running) -> Seen:
    """The server says so, as it does without drainkit."""
    with Peer(server.address) as peer:
        peer.request("/nothing", length=10, headers=["Connection: close"], body=b"x" * 10)
        peer.wait_for_end(2.0)
    return Seen(
        {"answer": (peer.status, bytes(peer.body)), "whole": peer.is_whole},
        {"head": peer.head_seconds},
    )


@scenario(
    "parity_wsgi",
    right={},
    servers=WSGI,
    unable=dict.fromkeys(("uwsgi-http-socket", "uwsgi-http"), "it takes no keyword, silently"),
)
@pytest.mark.parametrize("size_bytes", [0, 20, 100_000])
def test_exc_info_may_be_a_keyword(server: Running, size_bytes: int) -> Seen:
    """Where the server takes it so; elsewhere it says the same as bare."""
    with Peer(server.address) as peer:
        body = b"x" * size_bytes
        peer.request("/keyword", length=size_bytes, headers=["Connection: close"], body=body)
        peer.wait_for_end(2.0)
    return Seen({"answer": (peer.status, bytes(peer.body))}, {"answer": peer.whole_seconds})


@pytest.fixture(scope="module")
def upload_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("upload") / "upload.bin"
    with path.open("wb") as file:
        file.truncate(8_000_000)
    return path


@scenario(
    "parity_wsgi",
    right={"exit": 0, "answer": b"too large 413"},
    # On a busy machine curl sends on into the connection that they have closed.
    better=("exit", "answer"),
    policy={"idle_seconds": 1.0, "grace_seconds": 1.0, "max_seconds": 3.0},
    servers=["cheroot", "cheroot-tls", "werkzeug", "werkzeug-tls"],
    takes_turns=False,
)
@pytest.mark.parametrize("rate", ["500k", "4M"])
def test_curl_has_a_page_in_pieces(server: Running, upload_file: Path, rate: str) -> Seen:
    curl = find_program("curl")
    if curl is None:
        pytest.skip("needs curl")
    scheme = "https" if server.server.ssl_context else "http"
    url = "{}://{}:{}/pieces".format(scheme, *server.address)
    command = [curl, "-sSk", "--http1.1", "-m", "20", "-H", "Expect:", "--limit-rate", rate]
    done = subprocess.run(
        [*command, "--data-binary", f"@{upload_file}", "-w", " %{http_code}", url],
        capture_output=True,
        timeout=30,
        check=False,
    )
    return Seen({"exit": done.returncode, "answer": done.stdout})


_PAGES = 480 if TIMES else 24
_PAGES_AT_ONCE = 24


@scenario(
    "parity_wsgi",
    right={"pages": {(413, _PAGE_BYTES): _PAGES}},
    better=("pages",),
    policy={"idle_seconds": 1.0, "grace_seconds": 1.0, "max_seconds": 6.0},
    servers=["gunicorn-gthread-unix"],
    is_repeated=False,
)
def test_slow_uploads_through_nginx_and_a_unix_socket_have_their_pages(server: Running) -> Seen:
    """Twenty-four at once send 100 bytes a second for some seconds, each at its own pace."""
    pages: Counter[tuple[int | None, int]] = Counter()

    def upload(pause_seconds: float) -> None:
        with Peer(server.address) as peer:
            peer.request("/page", length=4_000_000, headers=["Connection: close"])
            until = time.monotonic() + 2.5
            while time.monotonic() < until and peer.write(b"x" * max(1, int(100 * pause_seconds))):
                time.sleep(pause_seconds)
            peer.wait_for_end(8.0)
            pages[peer.status, len(peer.body)] += 1

    for _ in range(_PAGES // _PAGES_AT_ONCE):
        threads = [
            threading.Thread(target=upload, args=(0.01 + 0.004 * number,))
            for number in range(_PAGES_AT_ONCE)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return Seen({"pages": dict(pages)})


_FOLLOW_UPS = 30 if TIMES else 5


@scenario(
    "parity_wsgi",
    right={"lost": 0, "moved": _FOLLOW_UPS},
    better=("lost", "moved"),
    servers=WSGI,
    is_repeated=False,
)
@pytest.mark.parametrize("size_bytes", [10_000, 3_000_000])
def test_the_request_that_follows_an_early_redirect_is_answered(
    server: Running, size_bytes: int
) -> Seen:
    """A server that closes behind the answer says so: else the next request goes into the close."""
    lost = moved = 0
    for _ in range(_FOLLOW_UPS):
        with Peer(server.address) as peer:
            peer.request("/moved", length=size_bytes, body=b"x" * size_bytes)
            moved += peer.wait_for_end(4.0) and peer.status == 308
            if not peer.is_kept:
                continue  # it says so, and the client goes on with another connection
            # As a browser does that has the answer to its next click in mind.
            time.sleep(0.01)
            peer.request("/hello/", "GET")
            lost += not (peer.wait_for_end(4.0) and peer.body == b"hello")
    return Seen({"lost": lost, "moved": moved})
