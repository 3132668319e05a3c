"""What is uploaded, and what came back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

# "open" means that the server had not closed when the client stopped looking.
Ended = Literal["open", "fin", "reset", "timeout", "tls-alert"]

# Lowercase letters: an upper-casing transform can then be checked byte for byte. 26 divides no
# power of two, so a lost or repeated block shows.
PATTERN = b"abcdefghijklmnopqrstuvwxyz"


class Body(Protocol):
    """Where the bytes of a body come from, a part at a time, so that nobody holds all of it."""

    @property
    def size_bytes(self) -> int:
        """The length of the body."""
        ...

    def slice(self, start: int, length: int) -> bytes:
        """Return a part of the body.

        Args:
            start: The offset of its first byte.
            length: How many bytes; fewer come back where the body ends.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """One request to send.

    Attributes:
        path: The request target.
        method: The request method.
        size_bytes: The length of the body.
        framing: ``"length"`` sends a Content-Length, ``"chunked"`` one chunk for each piece.
        connection: What the ``Connection`` header says.
        headers: More headers. One that the client would send by itself (Host, Connection,
            Content-Length, Transfer-Encoding, Expect) replaces it.
        pause_seconds: The wait between the headers and the body.
        expect_continue: Send ``Expect: 100-continue`` and wait a second for the invitation, as curl
            does.
        content: The bytes that the body repeats; the alphabet in lower case when None.
        piece_bytes: The body bytes of one write (and of one chunk).
        piece_pause_seconds: The wait after each piece, which makes a strict client slow but steady.
        rate_bytes_per_second: How fast the body is sent at most, a piece at a time; None for no
            limit.
        source: Where the body comes from instead of ``content``; ``size_bytes`` is its length.
    """

    path: str = "/"
    method: str = "POST"
    size_bytes: int = 0
    framing: Literal["length", "chunked"] = "length"
    connection: Literal["keep-alive", "close"] = "keep-alive"
    headers: tuple[tuple[str, str], ...] = ()
    pause_seconds: float = 0.0
    expect_continue: bool = False
    content: bytes | None = None
    piece_bytes: int = 65536
    piece_pause_seconds: float = 0.0
    rate_bytes_per_second: float | None = None
    source: Body | None = None

    def __post_init__(self) -> None:
        """Refuse sizes that no body can have."""
        check_count("size_bytes", self.size_bytes, least=0)
        check_count("piece_bytes", self.piece_bytes, least=1)
        if self.content == b"":
            raise ValueError("content must be one or more bytes, or None for the alphabet; got b''")
        rate = self.rate_bytes_per_second
        if rate is not None and not rate > 0:
            raise ValueError(
                f"rate_bytes_per_second must be a number above 0, or None for no limit; got {rate}"
            )
        if self.source is not None and self.source.size_bytes != self.size_bytes:
            raise ValueError(
                f"size_bytes must be {self.source.size_bytes}, the size of the source; got "
                f"{self.size_bytes}"
            )

    def head(self, host: str) -> bytes:
        """Return the request line and the headers, as sent.

        Args:
            host: The value of the Host header.
        """
        own = {"host": ("Host", host), "connection": ("Connection", self.connection)}
        if self.framing == "chunked":
            own["transfer-encoding"] = ("Transfer-Encoding", "chunked")
        elif self.size_bytes or self.method not in ("GET", "HEAD", "OPTIONS"):
            own["content-length"] = ("Content-Length", str(self.size_bytes))
        if self.expect_continue:
            own["expect"] = ("Expect", "100-continue")
        for name, _ in self.headers:
            own.pop(name.lower(), None)
        lines = [f"{self.method} {self.path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in (*own.values(), *self.headers)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def body(self) -> bytes:
        """Return the whole body, without framing."""
        return self.slice(0, self.size_bytes)

    def slice(self, start: int, length: int) -> bytes:
        """Return a part of the body, without framing.

        Args:
            start: The offset of its first byte.
            length: How many bytes; fewer come back where the body ends.
        """
        if self.source is not None:
            return self.source.slice(start, length)
        pattern = PATTERN if self.content is None else self.content
        return repeated(pattern, start, min(length, self.size_bytes - start))

    def frames(self, start: int = 0, piece_bytes: int | None = None) -> Iterator[Frame]:
        """Yield the body as it goes on the wire, the end of a chunked body included.

        Args:
            start: The body bytes to leave out.
            piece_bytes: The body bytes of one frame; the upload's own when None.
        """
        step = self.piece_bytes if piece_bytes is None else piece_bytes
        for offset in range(start, self.size_bytes, step):
            yield self.frame(self.slice(offset, step))
        if self.framing == "chunked":
            yield Frame(b"0\r\n\r\n", 0, 0)

    def frame(self, data: bytes) -> Frame:
        """Return body bytes as they go on the wire."""
        if self.framing == "length":
            return Frame(data, 0, len(data))
        prefix = b"%x\r\n" % len(data)
        return Frame(prefix + data + b"\r\n", len(prefix), len(data))


def is_count(value: object, *, least: int) -> bool:
    """Tell whether something is a number of things: an integer of *least* or more."""
    # bool is an int in Python, and never a count.
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def check_count(field: str, value: object, *, least: int) -> None:
    """Refuse what is no number of things, and a number that is too small.

    Raises:
        ValueError: It is no integer, or below *least*.
    """
    if not is_count(value, least=least):
        raise ValueError(f"{field} must be an integer of {least} or more; got {value!r}")


def check_positive(field: str, value: object) -> None:
    """Refuse what is no time or rate that can be waited for or kept.

    Raises:
        ValueError: It is no number, not finite, or not above 0.
    """
    if (
        not isinstance(value, (int, float))
        or isinstance(value, bool)
        or not 0 < value < math.inf  # NaN neither
    ):
        raise ValueError(f"{field} must be a finite number above 0; got {value!r}")


def in_bytes(number: int) -> str:
    """Return a number of bytes, exactly, in words."""
    return "1 byte" if number == 1 else f"{number} bytes"


def repeated(pattern: bytes, start: int, length: int) -> bytes:
    """Return a part of the endless repetition of a pattern.

    Args:
        pattern: What is repeated.
        start: The offset of the part's first byte.
        length: How many bytes.
    """
    shift = start % len(pattern)
    return (pattern * ((shift + length) // len(pattern) + 1))[shift : shift + length]


@dataclass(frozen=True, slots=True)
class Frame:
    """Bytes for the wire and the body bytes in them.

    Attributes:
        wire: What is sent.
        prefix_bytes: How much framing comes before the body bytes.
        body_bytes: How many body bytes it holds.
    """

    wire: bytes
    prefix_bytes: int
    body_bytes: int

    def body_bytes_in(self, sent_bytes: int) -> int:
        """Return how many body bytes the first ``sent_bytes`` of the wire hold."""
        return max(0, min(sent_bytes - self.prefix_bytes, self.body_bytes))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got for one upload.

    Times count from the moment before the first byte of the request was sent.

    Attributes:
        status: The final status; None when none arrived.
        headers: The response's headers, names in lower case, in order.
        body: The response's body, without framing.
        complete: Whether the response's framing was satisfied (Content-Length, the last chunk, or
            the end of the connection where that delimits it).
        sent_bytes: The body bytes handed to the kernel.
        error: What went wrong, as in ``"BrokenPipeError while sending after 2621440 bytes"``.
        first_byte_seconds: When the client read the first byte of the final response.
        sent_at_first_byte_bytes: How many body bytes were sent by then.
        seconds: How long the exchange took; for ``slow``, when the connection was closed.
        ended: How the connection stood when the client stopped looking.
        noticed_seconds: When the first byte of an answer lay ready. A strict client does not read
            it then; over TLS nobody can see it without reading, so there it is the first byte read.
        sent_at_noticed_bytes: How many body bytes were sent by then.
        version: The version in the status line, as in ``"1.1"``.
        interim: The statuses of the interim (1xx) responses before the final one.
        excess: What followed the end of the response in the bytes that were read.
        trace: Samples of (seconds, body bytes sent), their number bounded, the last one exact.
        reason: What stands behind the status in the status line; ``""`` without anything.
        malformed: What makes it no HTTP response, in words that repeat nothing of what was sent;
            None if nothing does. ``error`` has the bytes.
    """

    status: int | None
    headers: tuple[tuple[str, str], ...]
    body: bytes
    complete: bool
    sent_bytes: int
    error: str | None
    first_byte_seconds: float | None
    sent_at_first_byte_bytes: int | None
    seconds: float
    ended: Ended
    noticed_seconds: float | None = None
    sent_at_noticed_bytes: int | None = None
    version: str | None = None
    interim: tuple[int, ...] = ()
    excess: bytes = b""
    trace: tuple[tuple[float, int], ...] = ()
    reason: str = ""
    malformed: str | None = None

    @property
    def delivered(self) -> bool:
        """Whether the whole response arrived and nothing went wrong."""
        return self.status is not None and self.complete and self.error is None

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or None.

        Args:
            name: The header's name in any case.
        """
        return next((value for key, value in self.headers if key == name.lower()), None)


@dataclass(frozen=True, slots=True)
class Rest:
    """What still came on a connection after the answers that were read.

    Attributes:
        data: The raw bytes.
        ended: How the connection stood when the client stopped looking.
    """

    data: bytes
    ended: Ended
