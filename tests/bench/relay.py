"""A link with a rate, on loopback: what goes to the server is held back, answers are not."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

_PIECE_BYTES = 16_384
# Small, so that the client feels the rate and not the relay's memory.
_BUFFER_BYTES = 65_536
_TIMEOUT_SECONDS = 60.0
_RESET = struct.pack("ii", 1, 0)

Address = tuple[str, int]


@contextlib.contextmanager
def throttled(server: Address, bytes_per_second: float) -> Iterator[Address]:
    """Relay connections to a server until the block ends.

    Args:
        server: Where it listens.
        bytes_per_second: How much of what clients send passes in a second.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        threads: list[threading.Thread] = []
        accepting = threading.Thread(
            target=_accept, args=(listening, server, bytes_per_second, threads)
        )
        accepting.start()
        try:
            yield listening.getsockname()
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join(_TIMEOUT_SECONDS)
            for thread in threads:
                thread.join(_TIMEOUT_SECONDS)


def _accept(
    listening: socket.socket, server: Address, rate: float, threads: list[threading.Thread]
) -> None:
    while True:
        try:
            client, _ = listening.accept()
        except OSError:
            return  # the block has ended
        thread = threading.Thread(target=_relay, args=(client, server, rate))
        threads.append(thread)
        thread.start()


def _relay(client: socket.socket, server: Address, rate: float) -> None:
    with client, socket.create_connection(server, _TIMEOUT_SECONDS) as upstream:
        client.settimeout(_TIMEOUT_SECONDS)
        upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=_pass_on, args=(upstream, client, None))
        back.start()
        _pass_on(client, upstream, rate)
        back.join(_TIMEOUT_SECONDS)


def _pass_on(source: socket.socket, target: socket.socket, rate: float | None) -> None:
    """Pass bytes on until the source ends; what ends one side ends the other alike."""
    due = time.monotonic()
    try:
        while data := source.recv(_PIECE_BYTES):
            target.sendall(data)
            if rate is not None:
                # What the link did not carry while nothing was sent is not caught up.
                due = max(due, time.monotonic() - _PIECE_BYTES / rate) + len(data) / rate
                time.sleep(max(0.0, due - time.monotonic()))
        target.shutdown(socket.SHUT_WR)
    except OSError:
        # A reset, as a real link would carry it: both ways.
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.shutdown(socket.SHUT_RDWR)
