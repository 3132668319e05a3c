"""What both applications answer by the path alone, whatever was uploaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

PIECE_BYTES = 65536
PAGE_BYTES = 4 * 1024 * 1024
TOO_LARGE = b"too large\n"
FIRST_BYTES = b"10 bytes were enough"
RAISED = "raised before reading, as the case asked"


def page() -> bytes:
    """Return the page of 4 MiB in one piece."""
    return b"".join(page_pieces())


def page_pieces() -> Iterator[bytes]:
    """Yield the page of 4 MiB in pieces of 64 KiB, each of a letter of its own."""
    for index in range(PAGE_BYTES // PIECE_BYTES):
        yield bytes([ord("a") + index % 26]) * PIECE_BYTES


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that needs nothing of the request.

    Attributes:
        status: Its status.
        body: Its body; None stands for the page.
        streamed: Whether the body goes out in pieces.
        has_length: Whether it has a Content-Length.
        location: Where it redirects to; None for no redirect.
    """

    status: int
    body: bytes | None
    streamed: bool = False
    has_length: bool = True
    location: str | None = None

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers, names in lower case as ASGI wants them."""
        fields = [("content-type", "text/plain")]
        if self.has_length:
            length = PAGE_BYTES if self.body is None else len(self.body)
            fields.append(("content-length", str(length)))
        if self.location is not None:
            fields.append(("location", self.location))
        return fields

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it goes out."""
        if self.streamed:
            yield from page_pieces()
        else:
            yield page() if self.body is None else self.body


NOT_FOUND = Reply(404, b"no such path")

REPLIES: dict[str, Reply] = {
    "/413": Reply(413, TOO_LARGE),
    "/413-nolength": Reply(413, TOO_LARGE, has_length=False),
    "/302": Reply(302, b"", location="/ready"),
    "/page": Reply(413, None),
    "/page-stream": Reply(413, None, streamed=True),
    "/page-stream-nolength": Reply(413, None, streamed=True, has_length=False),
}


def ok(body: bytes) -> Reply:
    """Return a 200 with this body."""
    return Reply(200, body)
