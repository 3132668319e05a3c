"""What the neighbour sees: somebody else's request, while early answers to others are drained.

The strangers have their answers. What the application held for them is free again, whether their
uploads go on or not.
"""

import contextlib
import threading
from collections.abc import Iterator

import pytest

from tests.parity.harness import Seen, scenario
from tests.parity.peer import Peer
from tests.servers.harness import Running

pytestmark = pytest.mark.server

_UPLOAD_BYTES = 10_000_000


@contextlib.contextmanager
def _strangers(server: Running, target: str, count: int) -> Iterator[list[Peer]]:
    """Let some begin a big upload, have the answer's beginning, and fall silent."""
    with contextlib.ExitStack() as stack:
        peers = []
        for _ in range(count):
            peer = stack.enter_context(Peer(server.address))
            peer.request(target, length=_UPLOAD_BYTES, body=b"x" * 100_000)
            peer.wait_for_head()
            peers.append(peer)
        yield peers


@contextlib.contextmanager
def _trickling(peers: list[Peer], bytes_per_second: int) -> Iterator[None]:
    """Let uploads go on, slowly."""
    ended = threading.Event()

    def trickle() -> None:
        while not ended.wait(0.1):
            for peer in peers:
                peer.write(b"x" * (bytes_per_second // 10))

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _get_beside(server: Running, target: str) -> tuple[tuple[int | None, bytes], float | None]:
    with Peer(server.address) as peer:
        peer.request(target, "GET", headers=["Connection: close"])
        peer.wait_for_end()
        return (peer.status, bytes(peer.body)), peer.whole_seconds


@scenario(
    "parity_fastapi",
    right={"strangers": [413] * 5, "beside": (200, b"hello")},
    within={"beside": 0.3},
    requires=("fastapi",),
)
def test_a_pool_held_by_a_dependency_is_free_once_five_strangers_have_their_answers(
    server: Running,
) -> Seen:
    with _strangers(server, "/fastapi/pool", 5) as peers:
        answer, seconds = _get_beside(server, "/fastapi/pool")
        statuses = [peer.status for peer in peers]
    return Seen({"strangers": statuses, "beside": answer}, {"beside": seconds})


@scenario(
    "parity_plain",
    right={"strangers": [413] * 5, "beside": (200, b"hello")},
    within={"beside": 0.3},
)
def test_a_semaphore_held_by_a_middleware_is_free_once_five_strangers_have_their_answers(
    server: Running,
) -> Seen:
    with _strangers(server, "/held", 5) as peers:
        answer, seconds = _get_beside(server, "/held")
        statuses = [peer.status for peer in peers]
    return Seen({"strangers": statuses, "beside": answer}, {"beside": seconds})


@scenario(
    "parity_fastapi",
    right={"strangers": [401] * 15, "beside": (200, b"7")},
    within={"beside": 0.3},
    requires=("fastapi", "sqlalchemy"),
)
def test_a_database_pool_is_free_while_fifteen_strangers_send_400_bytes_a_second(
    server: Running,
) -> Seen:
    with _strangers(server, "/fastapi/database", 15) as peers, _trickling(peers, 400):
        answer, seconds = _get_beside(server, "/fastapi/database")
        statuses = [peer.status for peer in peers]
    return Seen({"strangers": statuses, "beside": answer}, {"beside": seconds})
