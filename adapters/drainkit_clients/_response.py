"""An incremental parser of one HTTP/1.1 response, which every client shares."""

from __future__ import annotations

import re
from typing import Literal

# A client may take a single LF for the end of a line of the head (RFC 9112 section 2.2), and all
# real ones do. On Python 3.14 gunicorn's own error pages have one: textwrap.dedent eats the CR.
_LINE_END = re.compile(rb"\r?\n")
_HEAD_END = re.compile(rb"\r?\n\r?\n")

_State = Literal[
    "head", "length", "chunk-size", "chunk-data", "chunk-end", "trailers", "until-eof", "done"
]


class ResponseError(ValueError):
    """The server sent something that is not an HTTP/1.1 response."""


class ResponseParser:
    """Parses one final response; interim (1xx) responses are counted and skipped.

    Attributes:
        status: The final status, or None so far.
        headers: Its headers, names in lower case.
        body: Its body so far.
        interim: The statuses of the interim responses.
        version: The version in the final status line, as in ``"1.1"``; None so far.
    """

    def __init__(self, method: str, data: bytes = b"") -> None:
        """Start a response.

        Args:
            method: The method of the request, since an answer to HEAD has no body.
            data: Bytes that arrived already.
        """
        self.status: int | None = None
        self.headers: list[tuple[str, str]] = []
        self.body = bytearray()
        self.interim: list[int] = []
        self.version: str | None = None
        self._method = method
        self._state: _State = "head"
        self._wanted = 0
        self._buffer = bytearray()
        if data:
            self.feed(data)

    @property
    def complete(self) -> bool:
        """Whether the response's framing is satisfied."""
        return self._state == "done"

    @property
    def started(self) -> bool:
        """Whether a byte of the final response is here."""
        return self.status is not None or bool(self._buffer)

    @property
    def held_bytes(self) -> int:
        """How much of the response is in memory."""
        return len(self.body) + len(self._buffer)

    @property
    def excess(self) -> bytes:
        """The bytes after the end of a complete response."""
        return bytes(self._buffer) if self.complete else b""

    def feed(self, data: bytes) -> None:
        """Take bytes from the connection.

        Raises:
            ResponseError: They are no HTTP/1.1 response.
        """
        self._buffer += data
        while self._step():
            pass

    def eof(self) -> None:
        """Take the end of the connection, which completes a response that nothing else delimits."""
        if self._state == "until-eof":
            self._state = "done"

    def _step(self) -> bool:
        """Parse one unit; False when more bytes are needed or nothing is left to do."""
        if self._state == "head":
            return self._head()
        if self._state in ("length", "chunk-data", "until-eof"):
            return self._data()
        if self._state == "done":
            return False
        line = self._line()
        if line is None:
            return False
        if self._state == "chunk-size":
            self._wanted = _number(line.partition(b";")[0].strip(), 16)
            self._state = "chunk-data" if self._wanted else "trailers"
        elif self._state == "chunk-end":
            if line:
                raise ResponseError(f"chunk not followed by its end but by {line[:40]!r}")
            self._state = "chunk-size"
        elif not line:
            self._state = "done"
        return True

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

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

    def _head(self) -> bool:
        end = _HEAD_END.search(self._buffer)
        if end is None:
            return False
        lines = _LINE_END.split(bytes(self._buffer[: end.start()]))
        del self._buffer[: end.end()]
        version, _, rest = lines[0].partition(b" ")
        if not version.startswith(b"HTTP/1."):
            raise ResponseError(f"no status line but {lines[0][:40]!r}")
        status = _number(rest[:3], 10)
        if 100 <= status < 200:
            self.interim.append(status)
            return True
        self.status = status
        self.version = version[5:].decode("latin-1")
        for line in lines[1:]:
            name, _, value = line.decode("latin-1").partition(":")
            self.headers.append((name.strip().lower(), value.strip()))
        self._frame(status)
        return True

    def _frame(self, status: int) -> None:
        fields = dict(self.headers)
        if self._method == "HEAD" or status in (204, 304):
            self._state = "done"
        elif fields.get("transfer-encoding", "").lower().endswith("chunked"):
            self._state = "chunk-size"
        elif "content-length" in fields:
            self._wanted = _number(fields["content-length"].encode("latin-1"), 10)
            self._state = "length" if self._wanted else "done"
        else:
            self._state = "until-eof"


def _number(text: bytes, base: int) -> int:
    try:
        return int(text, base)
    except ValueError:
        raise ResponseError(f"not a number: {text[:40]!r}") from None
