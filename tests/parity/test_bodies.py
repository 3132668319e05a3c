"""What arrives, whole or not: answers beside uploads that nobody wants, and how much is taken."""

import threading
import time

import pytest

from drainkit_clients import Connection, Upload
from tests.parity.harness import Seen, new_run, notes, scenario
from tests.parity.peer import Peer, chunk
from tests.servers.harness import Running

pytestmark = pytest.mark.server

_MIB = 1024 * 1024
_PAGE_BYTES = 300 * 65_536 + len(b"END")


@scenario(
    "parity_plain",
    right={"pages": [(200, _PAGE_BYTES)] * 2, "polls": ["whole"] * 2},
    better=("pages", "polls"),
    unable={
        "gunicorn-asgi": "once a poll was cancelled, receive() says that the client has left",
        "hypercorn-trio": "a poll that trio cancels receives nothing",
    },
)
def test_a_page_of_19_mb_is_whole_beside_an_upload_of_6_mb_that_a_poll_swallows(
    server: Running,
) -> Seen:
    """A strict client, twice: it reads only once it has sent everything.

    The bare server reads no more while the answer waits for the client, and stands still then.
    """
    pages = []
    polls = []
    for _ in range(2):
        run = new_run()
        upload = Upload(path=f"/polled-page?run={run}", size_bytes=6_000_000, pause_seconds=0.02)
        with Connection(server.address) as connection:
            answer = connection.strict(upload, timeout_seconds=5.0)
        pages.append((answer.status if answer.delivered else None, len(answer.body)))
        polls.append(notes(server, run).get("poll"))
    return Seen({"pages": pages, "polls": polls})


# The bound, what the buffers of two sockets hold, and what was on the way.
_MOST_TAKEN_BYTES = 4 * _MIB + 16 * _MIB
_FLOOD = chunk(b"z" * 65_536)


@scenario(
    "parity_plain",
    right={"bounded": True, "closed": True},
    better=("bounded", "closed"),
    policy={"max_bytes": 4 * _MIB, "max_seconds": 2.0, "idle_seconds": 1.0},
    within={"closed": 4.0},
)
@pytest.mark.parametrize("path", ["/streamed", "/paged"])
def test_a_flood_behind_an_answer_ends_at_the_bound(server: Running, path: str) -> Seen:
    """The client floods without end, and reads only after a second."""
    taken = 0
    with Peer(server.address) as peer:
        peer.request(path, chunked=True)
        done = threading.Event()

        def read() -> None:
            time.sleep(1.0)
            while not done.is_set() and peer.ended is None:
                peer.wait(lambda: False, 0.2)

        reader = threading.Thread(target=read)
        reader.start()
        deadline = time.monotonic() + 5.0
        while time.monotonic() < deadline and taken <= _MOST_TAKEN_BYTES + _MIB:
            if not peer.write(_FLOOD, 2.0):
                break
            taken += 65_536
            time.sleep(0.002)
        is_closed = peer.ended is not None or peer.error not in (None, "TimeoutError")
        closed = peer.elapsed if is_closed else None
        done.set()
        reader.join()
    return Seen(
        {
            "bounded": taken <= _MOST_TAKEN_BYTES,
            "closed": is_closed,
        },
        {"closed": closed},
    )


_SMALL = chunk(b"123456") + chunk(b"")


@scenario("parity_plain", right={"answers": [(413, b"limit")] * 3}, within={"second": 0.3})
def test_a_limit_outside_that_raises_does_not_delay_the_next_request(server: Running) -> Seen:
    """A body limit of the site's own, outside of drainkit, raises out of ``receive()``."""
    return _three_requests(server, "/length")


@scenario(
    "parity_starlette",
    right={"statuses": [413] * 3},
    within={"second": 0.3},
    requires=("starlette.middleware.body_limit",),
)
def test_max_body_size_outside_does_not_delay_the_next_request(server: Running) -> Seen:
    seen = _three_requests(server, "/limit/length")
    statuses = [status for status, _ in seen.facts["answers"]]
    return Seen({"statuses": statuses}, seen.seconds)


def _three_requests(server: Running, path: str) -> Seen:
    answers = []
    times: list[float | None] = []
    with Peer(server.address) as peer:
        for _ in range(3):
            if peer.ended is not None:
                break
            # In one packet: the whole body is there before the application is asked.
            peer.request(path, headers=["Transfer-Encoding: chunked"], body=_SMALL)
            peer.wait_for_end()
            answers.append((peer.status, bytes(peer.body)))
            times.append(peer.whole_seconds)
    first, second, third = [*times, None, None, None][:3]
    return Seen({"answers": answers}, {"first": first, "second": second, "third": third})
