"""What a probe sends: which clients, in which ways, how large, how often, and how much in all.

Rule: everything is known before the first byte is sent, so that it can be stated and bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from drainkit_clients import Body, FormBody, Upload

ClientName = Literal["strict", "eager"]
WayName = Literal["keep-alive", "close", "chunked", "expect"]

KIB = 1024
MIB = 1024 * KIB

DEFAULT_SIZES = (64 * KIB, MIB, 8 * MIB, 32 * MIB)
DEFAULT_TRIES = 3
DEFAULT_MAX_TOTAL_BYTES = 512 * MIB

# Nobody waits longer for one upload, however large it is; arbitrary. A link as slow as this needs
# five minutes for 32 MiB.
_SLOWEST_BYTES_PER_SECOND = 100 * KIB
# With --rate, a piece is what goes out in a twentieth of a second, so that the rate is even.
_PIECES_PER_SECOND = 20
_SMALLEST_PIECE_BYTES = 256
_PIECE_BYTES = 64 * KIB
# The ways beside the first are tried at one size: large enough for a loss on any server that we
# measured, and a quarter of the traffic of the largest.
_OTHER_WAYS_BYTES = 8 * MIB


@dataclass(frozen=True, slots=True)
class Client:
    """A way of being a client.

    Attributes:
        name: What the option calls it.
        does: What it does.
        like: Who does the same, for sentences about who loses answers.
    """

    name: ClientName
    does: str
    like: str


@dataclass(frozen=True, slots=True)
class Way:
    """A way of putting an upload on the wire.

    Attributes:
        name: What the option calls it.
        words: What it is, for sentences: "answers are lost ...".
        framing: How the body is delimited.
        connection: What the Connection header says.
        expect: Whether the client asks before it sends the body.
    """

    name: WayName
    words: str
    framing: Literal["length", "chunked"]
    connection: Literal["keep-alive", "close"]
    expect: bool = False


CLIENTS: dict[str, Client] = {
    client.name: client
    for client in (
        Client(
            "strict",
            "sends everything, then reads",
            "clients like browsers and Python's http.client",
        ),
        Client("eager", "reads while it sends", "clients like curl"),
    )
}

WAYS: dict[str, Way] = {
    way.name: way
    for way in (
        Way("keep-alive", "with keep-alive", "length", "keep-alive"),
        Way("close", 'with "Connection: close"', "length", "close"),
        Way("chunked", "with a chunked body", "chunked", "keep-alive"),
        Way("expect", 'with "Expect: 100-continue"', "length", "keep-alive", expect=True),
    )
}


@dataclass(frozen=True, slots=True)
class Cell:
    """Uploads that differ in nothing but luck.

    Attributes:
        client: Who sends.
        way: How.
        size_bytes: How much.
    """

    client: Client
    way: Way
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All the uploads of a run.

    Attributes:
        method: The method of each upload.
        clients: Who sends.
        ways: How; the first one with every size, the others with one of them.
        sizes: The lengths of the bodies in bytes, in ascending order.
        tries: How often each.
        timeout_seconds: The longest wait for the other side.
        rate_bytes_per_second: How fast a body is sent at most; None for no limit.
        headers: More headers.
        body: The body that is sent; None when it is made up.
        field: The file field of the form that is made up.
    """

    method: str
    clients: tuple[Client, ...]
    ways: tuple[Way, ...]
    sizes: tuple[int, ...]
    tries: int
    timeout_seconds: float
    rate_bytes_per_second: float | None
    headers: tuple[tuple[str, str], ...]
    body: Body | None
    field: str

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The uploads, small ones first, each to be made ``tries`` times."""
        first, *others = self.ways
        enough = [size for size in self.sizes if size >= _OTHER_WAYS_BYTES]
        other_size = enough[0] if enough else self.sizes[-1]
        ladder = [Cell(who, first, size) for size in self.sizes for who in self.clients]
        return (*ladder, *(Cell(who, way, other_size) for way in others for who in self.clients))

    @property
    def uploads(self) -> int:
        """How many there are."""
        return len(self.cells) * self.tries

    @property
    def total_bytes(self) -> int:
        """The body bytes that are sent at the most."""
        return self.tries * sum(cell.size_bytes for cell in self.cells)

    @property
    def makes_form(self) -> bool:
        """Whether the body is a form made up by us."""
        named = {name.lower() for name, _ in self.headers}
        return self.body is None and "content-type" not in named

    @property
    def body_words(self) -> str:
        """What the bodies are, in words."""
        if self.body is not None:
            return "a file's content"
        return "a form with a file" if self.makes_form else "letters"

    def each(self) -> Iterator[tuple[Cell, int]]:
        """Yield every upload: its cell and the number of its try, from 1."""
        for cell in self.cells:
            for number in range(1, self.tries + 1):
                yield cell, number

    def upload(
        self, cell: Cell, request_target: str, headers: tuple[tuple[str, str], ...]
    ) -> Upload:
        """Return an upload ready to be sent.

        Args:
            cell: Which one.
            request_target: What the request line says.
            headers: The headers of the target; those of the plan come behind them.
        """
        source = self.body
        own: tuple[tuple[str, str], ...] = headers + self.headers
        if self.makes_form:
            form = FormBody(cell.size_bytes, self.field)
            source = form
            own += (("Content-Type", form.content_type),)
        elif "content-type" not in {name.lower() for name, _ in self.headers}:
            own += (("Content-Type", "application/octet-stream"),)
        rate = self.rate_bytes_per_second
        piece = _PIECE_BYTES
        if rate is not None:
            piece = max(_SMALLEST_PIECE_BYTES, min(piece, int(rate / _PIECES_PER_SECOND)))
        return Upload(
            path=request_target,
            method=self.method,
            size_bytes=cell.size_bytes,
            framing=cell.way.framing,
            connection=cell.way.connection,
            headers=own,
            expect_continue=cell.way.expect,
            piece_bytes=piece,
            rate_bytes_per_second=rate,
            source=source,
        )

    def longest_seconds(self, cell: Cell) -> float:
        """Return when an upload is given up even if it never stood still."""
        rate = min(
            self.rate_bytes_per_second or _SLOWEST_BYTES_PER_SECOND, _SLOWEST_BYTES_PER_SECOND
        )
        return self.timeout_seconds + 1.1 * cell.size_bytes / rate
