"""An incremental parser of one HTTP/1.1 response, which every client shares."""

from __future__ import annotations

import re
from typing import Literal

from ._fields import (
    BEGINNING,
    NOT_HTTP,
    ResponseError,
    chunk_size,
    framing_of,
    parse_fields,
    parse_head,
)

# A client may take a single LF for the end of a line of the head (RFC 9112 section 2.2), and all
# real ones do. On Python 3.14 gunicorn's own error pages have one: textwrap.dedent eats the CR.
_HEAD_END = re.compile(rb"\n\r?\n")
# More than a head, or a line between two chunks, may take: curl's limit is 300 KiB.
_MOST_HEAD_BYTES = 256 * 1024
_SWITCHING_PROTOCOLS = 101

_State = Literal[
    "head", "length", "chunk-size", "chunk-data", "chunk-end", "trailers", "until-eof", "done",
    "failed",
]  # fmt: skip


class ResponseParser:
    """Parses one final response; interim (1xx) responses are counted and skipped.

    Attributes:
        status: The final status, or None so far.
        reason: What stands behind it in the status line.
        headers: Its headers, names in lower case.
        body: Its body so far.
        interim: The statuses of the interim responses.
        version: The version in the final status line, as in ``"1.1"``; None so far.
        malformed: What makes it no HTTP/1.1 response; None if nothing does so far.
    """

    def __init__(self, method: str) -> None:
        """Start a response.

        Args:
            method: The method of the request, since an answer to HEAD has no body.
        """
        self.status: int | None = None
        self.reason = ""
        self.headers: list[tuple[str, str]] = []
        self.body = bytearray()
        self.interim: list[int] = []
        self.version: str | None = None
        self.malformed: str | None = None
        self._method = method
        self._state: _State = "head"
        self._wanted = 0
        self._buffer = bytearray()
        self._searched = 0

    @property
    def complete(self) -> bool:
        """Whether the response's framing is satisfied."""
        return self._state == "done"

    @property
    def started(self) -> bool:
        """Whether a byte of the final response is here, or of something else."""
        return self.status is not None or self.malformed is not None or bool(self._buffer)

    @property
    def held_bytes(self) -> int:
        """How much of the response is in memory."""
        return len(self.body) + len(self._buffer)

    @property
    def excess(self) -> bytes:
        """The bytes after the end of a complete response."""
        return bytes(self._buffer) if self.complete else b""

    def feed(self, data: bytes) -> None:
        """Take bytes from the connection; behind a fault they are left alone.

        Raises:
            ResponseError: They are no HTTP/1.1 response.
        """
        if self._state == "failed":
            return
        self._buffer += data
        try:
            while self._step():
                pass
        except ResponseError as error:
            self._state = "failed"
            self.malformed = error.rule
            raise

    def eof(self) -> None:
        """Take the end of the connection, which completes a response that nothing else delimits."""
        if self._state == "until-eof":
            self._state = "done"

    def _step(self) -> bool:
        """Parse one unit; False when more bytes are needed or nothing is left to do."""
        match self._state:
            case "head":
                return self._head()
            case "length" | "chunk-data" | "until-eof":
                return self._data()
            case "chunk-size":
                return self._chunk_size()
            case "chunk-end":
                return self._chunk_end()
            case "trailers":
                return self._trailers()
        return False

    def _data(self) -> bool:
        if not self._buffer:
            return False
        if self._state == "until-eof":
            self.body += self._buffer
            self._buffer.clear()
            return False
        taken = self._buffer[: self._wanted]
        self.body += taken
        self._wanted -= len(taken)
        del self._buffer[: len(taken)]
        if self._wanted:
            return False
        self._state = "done" if self._state == "length" else "chunk-end"
        return True

    def _chunk_size(self) -> bool:
        end = self._buffer.find(b"\r\n", self._searched)
        if end < 0:
            return self._wait(1)
        self._wanted = chunk_size(self._take(end, 2))
        self._state = "chunk-data" if self._wanted else "trailers"
        return True

    def _chunk_end(self) -> bool:
        found = bytes(self._buffer[:2])
        if not b"\r\n".startswith(found):
            raise ResponseError("a chunk that does not end where its size says", found)
        if len(found) < 2:
            return False
        del self._buffer[:2]
        self._state = "chunk-size"
        return True

    def _trailers(self) -> bool:
        lines = self._lines()
        if lines is None:
            return False
        framing_of(parse_fields(lines))  # a length is as wrong here as in the head
        self._state = "done"
        return True

    def _head(self) -> bool:
        # What is something else is told at once: it may never end a line.
        if not self._buffer.startswith(BEGINNING[: len(self._buffer)]):
            raise ResponseError(NOT_HTTP, self._buffer.partition(b"\r\n")[0])
        lines = self._lines()
        if lines is None:
            return False
        head = parse_head(lines)
        if head.status == _SWITCHING_PROTOCOLS:
            raise ResponseError("a 101 that nobody asked for", lines[0])
        if head.status < 200:
            self.interim.append(head.status)
            return True
        self.status, self.reason, self.version = head.status, head.reason, head.version
        self.headers.extend(head.fields)
        self._wanted = head.framing.length or 0
        if self._method == "HEAD" or head.status in (204, 304):
            self._state = "done"
        elif head.framing.is_chunked:
            self._state = "chunk-size"
        elif head.framing.length is None:
            self._state = "until-eof"
        else:
            self._state = "length" if self._wanted else "done"
        return True

    def _lines(self) -> list[bytes] | None:
        """Take the lines in front of an empty one; None if that is not here yet."""
        for empty in (b"\r\n", b"\n"):
            if self._buffer.startswith(empty):
                self._take(0, len(empty))
                return []
        end = _HEAD_END.search(self._buffer, self._searched)
        if end is None:
            self._wait(2)
            return None
        lines = self._take(end.start(), end.end() - end.start()).split(b"\n")
        return [line.removesuffix(b"\r") for line in lines]

    def _take(self, end: int, delimiter_bytes: int) -> bytes:
        """Take what is in front of a delimiter, and drop that."""
        taken = bytes(self._buffer[:end])
        del self._buffer[: end + delimiter_bytes]
        self._searched = 0
        return taken

    def _wait(self, delimiter_bytes: int) -> bool:
        """Note that a delimiter is not here yet; always False.

        Raises:
            ResponseError: It should have come by now.
        """
        if len(self._buffer) > _MOST_HEAD_BYTES:
            raise ResponseError(f"a head of more than {_MOST_HEAD_BYTES // 1024} KiB", b"")
        self._searched = max(0, len(self._buffer) - delimiter_bytes)
        return False
