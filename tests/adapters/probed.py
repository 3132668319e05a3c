"""Scripted servers that a probe is pointed at: each does to early answers what real ones do."""

import contextlib
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

KIB = 1024
MIB = 1024 * KIB
LIMIT_SECONDS = 20.0
PAGE = b"too large\n"
ANSWER = (
    b"HTTP/1.1 413 Content Too Large\r\nServer: scripted\r\nContent-Length: 10\r\n%s\r\n" + PAGE
)
KEPT, CLOSED = ANSWER % b"", ANSWER % b"Connection: close\r\n"


class Peer:
    """One connection as a script sees it."""

    def __init__(self, connection: socket.socket, number: int) -> None:
        self.socket = connection
        self.number = number
        self.head = b""
        self._early = b""

    @property
    def is_upload(self) -> bool:
        return not self.head.startswith(b"GET ")

    def read_head(self) -> bytes:
        """Read a request's head; b"" when the client has left."""
        data = self._early
        while b"\r\n\r\n" not in data:
            piece = self.socket.recv(65536)
            if not piece:
                return b""
            data += piece
        self.head, _, self._early = data.partition(b"\r\n\r\n")
        return self.head

    def read_body(self) -> int:
        """Read a body with a Content-Length to its end; return its length."""
        found = re.search(rb"(?i)content-length: (\d+)", self.head)
        left = size = int(found[1]) if found else 0
        left -= len(self._early)
        self._early = b""
        while left > 0:
            piece = self.socket.recv(min(left, 65536))
            if not piece:
                raise ConnectionError("the client has left in the middle")
            left -= len(piece)
        return size

    def read_to_end(self) -> None:
        with contextlib.suppress(ConnectionError):
            while self.socket.recv(65536):
                pass

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


Script = Callable[[Peer], None]


@contextlib.contextmanager
def serving(script: Script, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve each connection with a script; yield the URL."""
    raised: list[BaseException] = []
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    ending = threading.Event()

    def serve() -> None:
        for number in range(10_000):
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if ending.is_set():
                connection.close()
                return
            with connection:
                connection.settimeout(LIMIT_SECONDS)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    script(Peer(connection, number))
                except OSError:
                    pass  # the client has left in the middle
                except BaseException as error:
                    raised.append(error)

    with socket.create_server((host, 0), family=family) as listener:
        listener.settimeout(LIMIT_SECONDS)
        address = listener.getsockname()[:2]
        thread = threading.Thread(target=serve)
        thread.start()
        name = f"[{host}]" if ":" in host else host
        try:
            yield f"http://{name}:{address[1]}"
        finally:
            ending.set()
            with contextlib.suppress(OSError):
                socket.create_connection(address, 1.0).close()
            thread.join(LIMIT_SECONDS)
    assert not thread.is_alive()
    assert [] == raised


def reading(peer: Peer) -> None:
    """Answer after the whole upload, and keep the connection."""
    while peer.read_head():
        if b"chunked" in peer.head:
            peer.socket.sendall(CLOSED)
            return peer.read_to_end()
        peer.read_body()
        peer.socket.sendall(KEPT)


def discarding(peer: Peer) -> None:
    """Answer first, then discard the upload, as drainkit does."""
    while peer.read_head():
        peer.socket.sendall(KEPT)
        peer.read_body()


def resetting(peer: Peer) -> None:
    """Answer at once and reset the connection with the upload unread."""
    peer.read_head()
    peer.socket.sendall(CLOSED)
    if peer.is_upload:
        time.sleep(0.02)
        peer.reset()


def before_the_head(peer: Peer) -> None:
    """Answer uploads before anything of the request was read."""
    if peer.number == 0:
        return resetting(peer)
    peer.socket.sendall(CLOSED)
    time.sleep(0.02)
    peer.reset()


def closing(peer: Peer) -> None:
    """Close at once."""
    peer.socket.close()


def closing_on_uploads(peer: Peer) -> None:
    peer.read_head()
    if peer.is_upload:
        return peer.reset()
    peer.socket.sendall(CLOSED)


def never(peer: Peer) -> None:
    """Read everything, say nothing."""
    peer.read_to_end()


def never_on_uploads(peer: Peer) -> None:
    peer.read_head()
    if peer.is_upload:
        return peer.read_to_end()
    peer.socket.sendall(CLOSED)


def dripping(peer: Peer) -> None:
    """Answer a byte at a time; the waits are a tenth of "a byte a second", as the timeouts are."""
    peer.read_head()
    peer.read_body()
    for byte in CLOSED:
        peer.socket.sendall(bytes([byte]))
        time.sleep(0.1)


def dripping_on_uploads(peer: Peer) -> None:
    peer.read_head()
    if peer.is_upload:
        peer.read_body()
        for byte in CLOSED:
            peer.socket.sendall(bytes([byte]))
            time.sleep(0.1)
    else:
        peer.socket.sendall(CLOSED)


def garbage(peer: Peer) -> None:
    """Speak something else."""
    peer.read_head()
    peer.socket.sendall(b"220 mail.example.test ESMTP\r\n\r\n" * 3)
    peer.read_to_end()


def echo(peer: Peer) -> None:
    """Say what was heard, secrets and all."""
    peer.read_head()
    peer.socket.sendall(peer.head + b"\r\n\r\n")
    peer.read_to_end()


def old(peer: Peer) -> None:
    """Answer as HTTP/1.0, delimited by the end of the connection."""
    peer.read_head()
    peer.read_body()
    peer.socket.sendall(b"HTTP/1.0 413 Content Too Large\r\n\r\n" + PAGE)


def truncating(peer: Peer) -> None:
    """Announce more of an answer to an upload than comes."""
    peer.read_head()
    peer.read_body()
    short = (
        CLOSED.replace(b"Content-Length: 10", b"Content-Length: 11") if peer.is_upload else CLOSED
    )
    peer.socket.sendall(short)


def malformed(peer: Peer) -> None:
    """Read, and answer an upload with two lengths that contradict each other."""
    peer.read_head()
    peer.read_body()
    wrong = CLOSED.replace(b"Content-Length: 10", b"Content-Length: 10, 11")
    peer.socket.sendall(wrong if peer.is_upload else CLOSED)


def always_malformed(peer: Peer) -> None:
    peer.read_head()
    peer.socket.sendall(CLOSED.replace(b"413", b"4_13"))


def unannounced(peer: Peer) -> None:
    """Read, answer, and close although the connection was to be kept."""
    peer.read_head()
    peer.read_body()
    peer.socket.sendall(KEPT)


def garbling(peer: Peer) -> None:
    """Answer without reading, then take what is left of the upload for a request."""
    peer.read_head()
    if peer.is_upload:
        peer.socket.sendall(KEPT)
        peer.socket.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        return peer.read_to_end()
    peer.socket.sendall(CLOSED)


def page_before_reading(peer: Peer) -> None:
    """Send a large page while the client sends a large upload: neither reads."""
    peer.read_head()
    if peer.is_upload:
        size = 16 * MIB
        peer.socket.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: %d\r\n\r\n" % size)
        peer.socket.sendall(b"x" * size)
        return peer.read_to_end()
    peer.socket.sendall(CLOSED)


def moved(status: bytes, location: bytes) -> Script:
    """Redirect everything."""

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.read_body()
        peer.socket.sendall(
            b"HTTP/1.1 %s\r\nLocation: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            % (status, location)
        )

    return script


def gateway(body: bytes, *, from_bytes: int, status: bytes = b"502 Bad Gateway") -> Script:
    """Answer large uploads as a proxy does that lost the application."""

    def script(peer: Peer) -> None:
        peer.read_head()
        if peer.read_body() < from_bytes:
            return peer.socket.sendall(CLOSED.replace(b"scripted", b"gunicorn"))
        peer.socket.sendall(
            b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
            % (status, len(body), body)
        )

    return script
