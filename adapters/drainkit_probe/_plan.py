"""What a probe sends: which clients, in which ways, how large, how often, and how much in all.

Rule: everything is known before the first byte is sent, so that it can be stated and bounded.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from drainkit_clients import Body, FormBody, Upload, check_count, check_positive, is_count

from ._target import check_header

ClientName = Literal["strict", "eager"]
WayName = Literal["keep-alive", "close", "chunked", "expect", "http2"]

KIB = 1024
MIB = 1024 * KIB

DEFAULT_SIZES = (64 * KIB, MIB, 8 * MIB, 32 * MIB)
DEFAULT_TRIES = 3
DEFAULT_TIMEOUT_SECONDS = 20.0
DEFAULT_MAX_TOTAL_BYTES = 512 * MIB

_METHOD = re.compile("[A-Za-z]{1,20}")
# They have no body, or an answer without one.
_OTHER_METHODS = frozenset({"CONNECT", "HEAD", "TRACE"})

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
        like_http2: Who does the same over HTTP/2.
    """

    name: ClientName
    does: str
    like: str
    like_http2: str


@dataclass(frozen=True, slots=True)
class Way:
    """A way of putting an upload on the wire.

    Attributes:
        name: What the option calls it.
        words: What it is, for sentences: "answers are lost ...".
        framing: How the body is delimited.
        connection: What the Connection header says.
        expect: Whether the client asks before it sends the body.
        http: The version of HTTP.
    """

    name: WayName
    words: str
    framing: Literal["length", "chunked"]
    connection: Literal["keep-alive", "close"]
    expect: bool = False
    http: Literal["1.1", "2"] = "1.1"


CLIENTS: dict[str, Client] = {
    client.name: client
    for client in (
        Client(
            "strict",
            "sends everything, then reads",
            "clients like browsers and Python's http.client",
            "clients like Python's httpx",
        ),
        Client("eager", "reads while it sends", "clients like curl", "clients like browsers"),
    )
}

WAYS: dict[str, Way] = {
    way.name: way
    for way in (
        Way("keep-alive", "with keep-alive", "length", "keep-alive"),
        Way("close", 'with "Connection: close"', "length", "close"),
        Way("chunked", "with a chunked body", "chunked", "keep-alive"),
        Way("expect", 'with "Expect: 100-continue"', "length", "keep-alive", expect=True),
        Way("http2", "over HTTP/2", "length", "keep-alive", http="2"),
    )
}
# HTTP/2 needs the extra, TLS, and a server that speaks it.
DEFAULT_WAYS = tuple(way for way in WAYS.values() if way.http == "1.1")


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
    """All the uploads of a run; the defaults are those of the command.

    Attributes:
        method: The method of each upload.
        clients: Who sends: values of `CLIENTS`.
        ways: How: values of `WAYS`, of which ``http2`` needs the extra of that name, TLS, and to be
            asked for. The first one goes up all sizes, the others have one: 8 MiB, or
            the next above, or else the largest.
        sizes: The lengths of the bodies in bytes, in ascending order.
        tries: How often each is uploaded.
        timeout_seconds: The longest silence: to connect, between two pieces that the server takes,
            and from the last one to the end of the answer.
        rate_bytes_per_second: How fast a body is sent at most; None for no limit.
        headers: More headers, names and values. The values are shown nowhere.
        body: The body that is sent, such as a `drainkit_clients.FileBody`; ``sizes`` is its one
            size then. None when it is made up.
        field: The file field of the form that is made up.

    Raises:
        ValueError: No such uploads can be made. The message names the field, the value (but never
            a header's) and what is allowed.
    """

    method: str = "POST"
    clients: tuple[Client, ...] = tuple(CLIENTS.values())
    ways: tuple[Way, ...] = DEFAULT_WAYS
    sizes: tuple[int, ...] = DEFAULT_SIZES
    tries: int = DEFAULT_TRIES
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    rate_bytes_per_second: float | None = None
    headers: tuple[tuple[str, str], ...] = dataclasses.field(default=(), repr=False)
    body: Body | None = None
    field: str = "file"

    def __post_init__(self) -> None:
        method: Any = self.method
        if not isinstance(method, str) or not uploads_with(method):
            raise ValueError(
                f"method must be one that uploads, such as 'POST'; got {self.method!r}"
            )
        _check_some("clients", self.clients, CLIENTS)
        _check_some("ways", self.ways, WAYS)
        if self.speaks_http2 and (said := http2_is_missing()) is not None:
            raise ValueError(f"ways must be without http2: {said}")
        _check_headers(self.headers)
        check_count("tries", self.tries, least=1)
        check_positive("timeout_seconds", self.timeout_seconds)
        if self.rate_bytes_per_second is not None:
            check_positive("rate_bytes_per_second", self.rate_bytes_per_second)
        self._check_sizes()

    def _check_sizes(self) -> None:
        sizes: Any = self.sizes
        if (
            not isinstance(sizes, (tuple, list))
            or not sizes
            or not all(is_count(size, least=1) for size in sizes)
            or list(sizes) != sorted(set(sizes))
        ):
            raise ValueError(
                f"sizes must be integers of 1 or more in ascending order; got {self.sizes!r}"
            )
        if self.body is not None and not (
            hasattr(self.body, "size_bytes") and hasattr(self.body, "slice")
        ):
            raise ValueError(
                f"body must be such as drainkit_clients.FileBody.of(path), or None; got a "
                f"{type(self.body).__name__}"
            )
        if not isinstance(self.field, str):
            raise ValueError(f"field must be the name of a file field; got {self.field!r}")
        if self.body is not None and self.sizes != (self.body.size_bytes,):
            raise ValueError(
                f"sizes must be ({self.body.size_bytes},), the size of the body; got {self.sizes!r}"
            )
        if self.makes_form:
            FormBody(self.sizes[0], self.field)  # says what is wrong with the field or the size

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The uploads, small ones first, each to be made ``tries`` times."""
        first, *others = self.ways
        enough = [size for size in self.sizes if size >= _OTHER_WAYS_BYTES]
        other_size = enough[0] if enough else self.sizes[-1]
        ladder = [Cell(who, first, size) for size in self.sizes for who in self.clients]
        return (*ladder, *(Cell(who, way, other_size) for way in others for who in self.clients))

    @property
    def speaks_http2(self) -> bool:
        """Whether some of them go over HTTP/2."""
        return any(way.http == "2" for way in self.ways)

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


def uploads_with(method: str) -> bool:
    """Whether a method is one that uploads and has an answer with a body."""
    return _METHOD.fullmatch(method) is not None and method.upper() not in _OTHER_METHODS


def http2_is_missing() -> str | None:
    """Return what HTTP/2 needs and is not installed, with the cure; None if it is."""
    if importlib.util.find_spec("h2") is not None:
        return None
    return 'it needs h2, which is not installed: pip install "drainkit[http2]"'


def _check_some(field: str, value: Any, known: Mapping[str, object]) -> None:
    is_some = isinstance(value, (tuple, list)) and len(value) > 0
    if not is_some or any(one not in known.values() for one in value):
        names = ", ".join(known)
        raise ValueError(f"{field} must be one or more of {field.upper()} ({names}); got {value!r}")


def _check_headers(headers: Any) -> None:
    # No message has a value, which may be secret.
    instead = "; write tuple(headers.items())" if isinstance(headers, Mapping) else ""
    if not isinstance(headers, (tuple, list)):
        raise ValueError(
            f"headers must be pairs of a name and a value, such as (('X-Api-Version', '2'),); got "
            f"a {type(headers).__name__}{instead}"
        )
    for number, pair in enumerate(headers, 1):
        if (
            not isinstance(pair, (tuple, list))
            or len(pair) != 2
            or not all(isinstance(one, str) for one in pair)
        ):
            raise ValueError(
                f"headers must be pairs of a name and a value, both texts, such as "
                f"(('X-Api-Version', '2'),); the one that is not is number {number}"
            )
        check_header(*pair)
