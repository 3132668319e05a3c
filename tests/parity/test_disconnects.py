"""When an application is told that its client has left: it streams, and counts itself as alive."""

import contextlib
import time

import pytest

from tests.parity.harness import Seen, new_run, notes, scenario
from tests.parity.peer import Patience, Peer
from tests.servers.harness import Running

pytestmark = pytest.mark.server

_CLIENTS = 5
# hypercorn needs three. What is alive then may be so for ever.
_PATIENCE_SECONDS = 3.5


def _leave(
    server: Running, target: str, *, length: int, sent_bytes: int, answer_bytes: int
) -> Seen:
    """Let five clients read some of an endless answer and leave; see when nobody is alive."""
    run = new_run()
    with contextlib.ExitStack() as stack:
        peers = []
        for _ in range(_CLIENTS):
            peer = stack.enter_context(Peer(server.address))
            peer.request(f"{target}?run={run}", length=length, body=b"x" * sent_bytes)
            peers.append(peer)
        for peer in peers:
            peer.wait_for_body(answer_bytes)
        statuses = [peer.status for peer in peers]
        before = notes(server, run).get("alive")
    left = time.monotonic()
    gone: float | None = None
    patience = Patience(_PATIENCE_SECONDS)
    while gone is None and patience.lasts():
        time.sleep(0.02)
        if notes(server, run).get("alive") == 0:
            gone = time.monotonic() - left
    return Seen({"statuses": statuses, "alive": before}, {"gone": gone})


STREAMS = [
    (place, how)
    for place in ("listening", "deaf", "base-inside", "base-outside")
    for how in ("polling", "endless", "endless-read")
    # Without a listener hardly any server tells; once is enough to see that.
    if (place, how) != ("deaf", "endless-read")
]
_ALIVE = {"statuses": [200] * _CLIENTS, "alive": _CLIENTS}


@scenario("parity_plain", right=_ALIVE, within={"gone": 1.0}, margin_seconds=0.5)
def test_a_poll_sees_that_the_client_has_left_before_it_sent_its_body(server: Running) -> Seen:
    return _leave(server, "/polling", length=10, sent_bytes=0, answer_bytes=100_000)


@scenario("parity_plain", right=_ALIVE, within={"gone": 1.0}, margin_seconds=0.5)
@pytest.mark.parametrize("sent_bytes", [10, 100_000])
def test_a_poll_sees_that_the_client_has_left_within_its_upload(
    server: Running, sent_bytes: int
) -> Seen:
    return _leave(server, "/polling", length=1_000_000, sent_bytes=sent_bytes, answer_bytes=100_000)


@scenario(
    "parity_plain",
    right=_ALIVE,
    within={"gone": 1.0},
    margin_seconds=0.5,
    unable={"gunicorn-asgi": "once a poll was cancelled, receive() says that the client has left"},
)
def test_a_poll_sees_that_the_client_has_left_behind_its_upload(server: Running) -> Seen:
    return _leave(server, "/polling", length=100_000, sent_bytes=100_000, answer_bytes=100_000)


@scenario(
    "parity_starlette",
    right=_ALIVE,
    within={"gone": 1.0},
    margin_seconds=0.5,
    requires=("starlette",),
)
@pytest.mark.parametrize(("place", "how"), STREAMS)
def test_a_streaming_response_ends_when_its_client_leaves_within_its_upload(
    server: Running, place: str, how: str
) -> Seen:
    """With a listener and without, and with BaseHTTPMiddleware inside and outside of drainkit."""
    return _leave(
        server, f"/{place}/{how}", length=1_000_000, sent_bytes=100_000, answer_bytes=150_000
    )
