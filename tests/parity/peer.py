"""A client that goes step by step, and notes when it saw what.

`drainkit_clients` has whole ways of behaving (strict, eager, slow). A scenario often wants one step
and then another: the headers, a pause, a line, its echo. Seconds count from `Peer.start`.
"""

import socket
import time
from collections.abc import Callable, Iterable
from types import TracebackType

Address = tuple[str, int]

_RECEIVE_BYTES = 65_536
_CONNECT_SECONDS = 5.0
# What a scenario waits for comes at once, or something is wrong.
PATIENCE_SECONDS = 10.0
# What never comes has been looked for so often at the least.
_LOOKS = 10


class Patience:
    """How long to wait for what may never come: so many seconds, and so many looks at the least.

    While a machine stands still, as a virtual one that is paused, seconds pass in which nothing
    can come and nobody looks.

    Attributes:
        look_seconds: How long one look may take.
    """

    def __init__(self, seconds: float) -> None:
        """Begin to wait."""
        self.look_seconds = seconds / _LOOKS
        self._deadline = time.monotonic() + seconds
        self._looks = _LOOKS if seconds > 0 else 0

    def lasts(self) -> bool:
        """Tell whether to look once more, and count that."""
        self._looks -= 1
        return self._looks >= 0 or time.monotonic() < self._deadline


class Peer:
    """One connection and the answer that comes on it; a context manager that closes it.

    Attributes:
        start: When the request was sent (`time.monotonic`).
        status: The answer's status; None before its headers are here.
        headers: Its headers, names in lower case.
        body: What has come of its body, without framing.
        is_whole: Whether its end has come.
        ended: "fin" or "reset" once the server has closed; None while it has not.
        head_seconds: When the headers were whole; None before.
        body_seconds: When the first byte of the body came; None before.
        whole_seconds: When the end came; None before.
        error: The error that a write ended with; None without one.
    """

    def __init__(self, address: Address) -> None:
        """Connect."""
        self._host = "{}:{}".format(*address)
        self._socket = socket.create_connection(address, _CONNECT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A socket of its own for what comes: one thread may write while another reads.
        self._source = self._socket.dup()
        self._unread = bytearray()
        self._renew()

    def _renew(self) -> None:
        self.start = time.monotonic()
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.is_whole = False
        self.ended: str | None = None
        self.head_seconds: float | None = None
        self.body_seconds: float | None = None
        self.whole_seconds: float | None = None
        self.error: str | None = None
        # What is left of the body or of the chunk; None until the connection ends.
        self._left: int | None = None
        self._is_chunked = False
        self._is_11 = False

    def __enter__(self) -> "Peer":
        """Return the peer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._source.close()
        self._socket.close()

    @property
    def elapsed(self) -> float:
        """The seconds since the request was sent."""
        return time.monotonic() - self.start

    @property
    def is_kept(self) -> bool:
        """Whether the answer lets a client think that it may send its next request."""
        says = self.headers.get("connection", "").lower()
        return self._is_11 and says != "close" and self.is_whole and self.ended is None

    def request(
        self,
        target: str,
        method: str = "POST",
        *,
        length: int | None = None,
        chunked: bool = False,
        headers: Iterable[str] = (),
        body: bytes = b"",
    ) -> None:
        """Send a request's headers, and what there is of its body, in one piece.

        Args:
            target: The path and the query.
            method: The request's method.
            length: What Content-Length says; None for no such header.
            chunked: Whether the body goes in chunks; *body* is then the first one.
            headers: More header lines.
            body: What is sent of the body along with the headers.
        """
        self._renew()
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._host}"]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        if chunked:
            lines.append("Transfer-Encoding: chunked")
            body = chunk(body) if body else b""
        self.write(("\r\n".join([*lines, *headers]) + "\r\n\r\n").encode("latin-1") + body)

    def write(self, data: bytes, timeout_seconds: float = PATIENCE_SECONDS) -> bool:
        """Send bytes; False if the connection has failed, which `error` then tells."""
        if self.error is not None:
            return False
        patience = Patience(timeout_seconds)
        self._socket.settimeout(patience.look_seconds)
        unsent = memoryview(data)
        while unsent:
            try:
                unsent = unsent[self._socket.send(unsent) :]
            except TimeoutError as error:
                if not patience.lasts():
                    self.error = type(error).__name__
                    return False
            except OSError as error:
                self.error = type(error).__name__
                return False
        return True

    def upload(self, nbytes: int, *, seconds: float, pieces: int = 20, reads: bool = True) -> bool:
        """Send that much of a body, steadily, in that time.

        Args:
            nbytes: How much.
            seconds: How long it takes.
            pieces: In how many pieces.
            reads: Whether it reads what comes meanwhile; a strict client does not.

        Returns:
            Whether all of it was taken.
        """
        piece = b"x" * (nbytes // pieces)
        due = time.monotonic()
        for _ in range(pieces):
            if not self.write(piece):
                return False
            due += seconds / pieces
            if reads:
                self.wait(lambda: False, due - time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
        return True

    def wait(self, until: Callable[[], object], timeout_seconds: float = PATIENCE_SECONDS) -> bool:
        """Read until something is true, the server closes or the time is up.

        Returns:
            Whether it is true.
        """
        patience = Patience(timeout_seconds)
        while not until():
            if self.ended is not None or not patience.lasts():
                return False
            self._source.settimeout(patience.look_seconds)
            try:
                data = self._source.recv(_RECEIVE_BYTES)
            except TimeoutError:
                continue
            except OSError:
                self.ended = "reset"
                continue
            if data:
                self._take(data)
            else:
                self._end()
        return True

    def wait_for_head(self, timeout_seconds: float = PATIENCE_SECONDS) -> bool:
        """Read until the headers are here."""
        return self.wait(lambda: self.status is not None, timeout_seconds)

    def wait_for_body(self, nbytes: int, timeout_seconds: float = PATIENCE_SECONDS) -> bool:
        """Read until so much of the body is here."""
        return self.wait(lambda: len(self.body) >= nbytes, timeout_seconds)

    def wait_for_end(self, timeout_seconds: float = PATIENCE_SECONDS) -> bool:
        """Read until the answer is whole."""
        return self.wait(lambda: self.is_whole, timeout_seconds)

    def wait_for_close(self, timeout_seconds: float = PATIENCE_SECONDS) -> bool:
        """Read until the server closes."""
        return self.wait(lambda: self.ended is not None, timeout_seconds)

    def _end(self) -> None:
        self.ended = "fin"
        if self.status is not None and self._left is None and not self._is_chunked:
            self._whole()

    def _whole(self) -> None:
        if not self.is_whole:
            self.is_whole = True
            self.whole_seconds = self.elapsed

    def _take(self, data: bytes) -> None:
        self._unread += data
        while self.status is None:
            if not self._take_head():
                return
        if self.is_whole:
            return
        before = len(self.body)
        if self._is_chunked:
            self._take_chunks()
        else:
            self._take_bytes()
            if self._left == 0:
                self._whole()
        if self.body_seconds is None and len(self.body) > before:
            self.body_seconds = self.elapsed

    def _take_head(self) -> bool:
        head, found, rest = bytes(self._unread).partition(b"\r\n\r\n")
        if not found:
            return False
        self._unread = bytearray(rest)
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split(" ")[1])
        if status < 200:
            return True
        self.status = status
        self._is_11 = first.startswith("HTTP/1.1")
        self.head_seconds = self.elapsed
        pairs = (line.partition(":") for line in lines)
        self.headers = {name.lower(): value.strip() for name, _, value in pairs}
        self._is_chunked = self.headers.get("transfer-encoding") == "chunked"
        if self._is_chunked:
            self._left = 0
        elif "content-length" in self.headers:
            self._left = int(self.headers["content-length"])
        return True

    def _take_bytes(self) -> None:
        nbytes = len(self._unread) if self._left is None else min(self._left, len(self._unread))
        self.body += self._unread[:nbytes]
        del self._unread[:nbytes]
        if self._left is not None:
            self._left -= nbytes

    def _take_chunks(self) -> None:
        while self._unread and not self.is_whole:
            if self._left:
                self._take_bytes()
                continue
            # A chunk's data ends with a line break, and so does the line before the data.
            line, found, rest = bytes(self._unread[:64]).lstrip(b"\r\n").partition(b"\r\n")
            if not found:
                return
            size = int(line, 16)
            if size == 0:
                if not rest.startswith(b"\r\n"):
                    return
                self._whole()
            del self._unread[: self._unread.index(line + b"\r\n") + len(line) + 2]
            self._left = size
        if self.is_whole:
            del self._unread[:2]


def chunk(data: bytes) -> bytes:
    """Return data as one chunk; without data, the end of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
