"""What the lines of an answer may look like: the grammar of RFC 9112, and nothing beside it.

Rule: it accepts what h11 accepts, but no version other than HTTP/1, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# The rule that is broken by what does not even begin like an answer.
NOT_HTTP = "no status line of HTTP/1"
BEGINNING = b"HTTP/1."

_FOUND_BYTES = 40

# The patterns of bytes know ASCII's digits and spaces only. What is called obs-text is taken.
_STATUS_LINE = re.compile(rb"HTTP/(1\.[0-9]) ([0-9]{3})(?: ((?:[ \t]|[^\x00\s])*))?")
_FIELD = re.compile(
    rb"([-!#$%&'*+.^_`|~0-9a-zA-Z]+):[ \t]*((?:[^\x00\s]+(?:[ \t]+[^\x00\s]+)*)?)[ \t]*"
)
_FOLD = re.compile(rb"[ \t]+")
# Some servers send a space behind the size, against RFC 9112 section 7.1; real clients take it.
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,20})(?:;.*)?[ \t]*")
_LENGTH = re.compile(r"[0-9]{1,20}")

Fields = tuple[tuple[str, str], ...]


class ResponseError(ValueError):
    """The server sent something that is not an HTTP/1.1 response.

    Attributes:
        rule: What is wrong, in words that repeat nothing of what was sent.
    """

    def __init__(self, rule: str, found: bytes | bytearray | str) -> None:
        shown = found if isinstance(found, str) else bytes(found)
        super().__init__(f"{rule}: {shown[:_FOUND_BYTES]!r}")
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Framing:
    """What the fields say about the length of a body (RFC 9112 section 6.3).

    Attributes:
        is_chunked: Whether it comes in chunks, whatever else is said.
        length: Its length in bytes; None if no field says it.
    """

    is_chunked: bool
    length: int | None


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of a response, final or interim.

    Attributes:
        version: As in ``"1.1"``.
        status: From 100 to 999.
        reason: What stands behind the status; ``""`` for nothing.
        fields: Its headers, names in lower case, in order.
        framing: What they say about the body.
    """

    version: str
    status: int
    reason: str
    fields: Fields
    framing: Framing


def parse_head(lines: list[bytes]) -> Head:
    """Return a head from its lines, without their ends.

    Raises:
        ResponseError: It breaks the grammar, or its fields contradict each other.
    """
    first = lines[0] if lines else b""
    match = _STATUS_LINE.fullmatch(first)
    if match is None:
        is_near = first.startswith(BEGINNING)
        raise ResponseError("a status line that breaks the grammar" if is_near else NOT_HTTP, first)
    version, status, reason = match.groups()
    if int(status) < 100:
        raise ResponseError("a status below 100", first)
    fields = parse_fields(lines[1:])
    return Head(
        version.decode("ascii"),
        int(status),
        (reason or b"").decode("latin-1"),
        fields,
        framing_of(fields),
    )


def parse_fields(lines: Iterable[bytes]) -> Fields:
    """Return fields from their lines: of a head, or of the trailers.

    Raises:
        ResponseError: A line is no field.
    """
    fields = []
    for line in _unfolded(lines):
        match = _FIELD.fullmatch(line)
        if match is None:
            raise ResponseError("a line that is no header", line)
        name, value = match.groups()
        fields.append((name.decode("ascii").lower(), value.decode("latin-1")))
    return tuple(fields)


def _unfolded(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines, each with those that continue it (obs-fold, RFC 9112 section 5.2)."""
    whole: bytes | None = None
    for line in lines:
        fold = _FOLD.match(line)
        if fold is None:
            if whole is not None:
                yield whole
            whole = line
        elif whole is None:
            raise ResponseError("a continued header without a beginning", line)
        else:
            whole += b" " + line[fold.end() :]
    if whole is not None:
        yield whole


def framing_of(fields: Fields) -> Framing:
    """Return what fields say about the length of the body.

    Raises:
        ResponseError: They say it badly, or contradict each other.
    """
    codings = [value.lower() for name, value in fields if name == "transfer-encoding"]
    if len(codings) > 1:
        raise ResponseError("more than one Transfer-Encoding", ", ".join(codings))
    if codings and codings[0] != "chunked":
        # RFC 9112 section 7.4: every other one has to be asked for with TE.
        raise ResponseError("a Transfer-Encoding that nobody asked for", codings[0])
    return Framing(bool(codings), _length_of(fields))


def _length_of(fields: Fields) -> int | None:
    said = [value for name, value in fields if name == "content-length"]
    lengths = {length.strip(" \t") for value in said for length in value.split(",")}
    if len(lengths) > 1:
        raise ResponseError("Content-Lengths that contradict each other", ", ".join(said))
    for length in lengths:
        if _LENGTH.fullmatch(length) is None:
            raise ResponseError("a Content-Length that is no number", length)
        return int(length)
    return None


def chunk_size(line: bytes) -> int:
    """Return the size of a chunk from its line, without the line's end.

    Raises:
        ResponseError: It is none: no sign, no underscore, no space in front (RFC 9112 section 7.1).
    """
    match = _CHUNK_SIZE.fullmatch(line)
    if match is None:
        raise ResponseError("a chunk size that is no hexadecimal number", line)
    return int(match[1], 16)
