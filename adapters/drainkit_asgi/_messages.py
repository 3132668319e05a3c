"""What ASGI messages and scopes say, and copies of them that say a little more."""

from __future__ import annotations

from typing import Any, NamedTuple

from drainkit import METHODS_WITHOUT_CONTENT, Framing, framing

from ._types import Message, Scope

DISCONNECT = "http.disconnect"
REQUEST = "http.request"
START = "http.response.start"
BODY = "http.response.body"

# Messages other than http.response.body that end an answer, and the key that says that they do not.
# With the first two the server sends a file, as with wsgi.file_wrapper.
LAST_MESSAGES = {
    "http.response.pathsend": "more_body",
    "http.response.zerocopysend": "more_body",
    "http.response.trailers": "more_trailers",
}
FILES = frozenset({"http.response.pathsend", "http.response.zerocopysend"})

_LISTS = (list, tuple)
_FRAMING_FIELDS = frozenset({b"content-length", b"transfer-encoding", b"expect"})


END: Message = {"type": BODY, "body": b"", "more_body": False}
"""The empty last message of an answer."""


class BodyFields(NamedTuple):
    """The header fields of a request that tell of its body.

    Attributes:
        http_version: As in the scope.
        length: Content-Length, several joined by commas; ``None`` when there is none.
        encoding: Transfer-Encoding, several joined by commas; ``None`` when there is none.
        expect: Expect; ``None`` when there is none.
    """

    http_version: str
    length: bytes | None
    encoding: bytes | None
    expect: bytes | None

    def framing(self, *, expects: bool) -> Framing:
        """Return the framing; an expectation counts only where *expects* is true."""
        length, encoding, expect = self.length, self.encoding, self.expect
        return framing(
            http_version=self.http_version,
            content_length=length.decode("latin-1") if length else None,
            transfer_encoding=encoding.decode("latin-1") if encoding else None,
            expect=expect.decode("latin-1") if expects and expect else None,
        )


def body_fields(scope: Scope) -> BodyFields | None:
    """Return what a request says of its body; ``None`` when it says that it has none."""
    # In one piece although it is long: every request is asked, and a call costs as much as a test.
    length: bytes | None = None
    encoding: bytes | None = None
    expect: bytes | None = None
    try:
        headers = scope["headers"]
    except KeyError:
        headers = ()  # a server may leave them out
    if type(headers) is not list or (headers and type(headers[0]) is not tuple):
        # Not as servers give them. What can be read once is the application's to read.
        headers = _readable_headers(scope)
    framing_fields = _FRAMING_FIELDS
    for name, value in headers:
        if name in framing_fields:  # almost none: one look-up, not three comparisons
            if name == b"content-length":
                length = value if length is None else length + b"," + value
            elif name == b"transfer-encoding":
                encoding = value if encoding is None else encoding + b"," + value
            else:
                expect = value
    http_version: str = scope.get("http_version", "1.1")
    # HTTP/2 and HTTP/3 need no header field for a body (RFC 9113 section 8.1).
    if (
        (not length or length == b"0")
        and encoding is None
        and (http_version == "1.1" or http_version[:1] == "1" or _needs_none(scope, length))
    ):
        return None
    return BodyFields(http_version, length, encoding, expect)


def _needs_none(scope: Scope, length: bytes | None) -> bool:
    """Tell whether a request over HTTP/2 or HTTP/3 whose fields announce no body has none.

    Nearly every GET has none, and the server may say so later than the application answers. A
    sender of content should generate a Content-Type (RFC 9110 section 8.3).
    """
    if length == b"0":
        return True
    return scope.get("method") in METHODS_WITHOUT_CONTENT and not any(
        name == b"content-type" for name, _ in scope.get("headers", ())
    )


def _readable_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Return a scope's headers, and make what can be read once readable again."""
    if "headers" not in scope:
        return []
    headers: Any = scope["headers"]
    if type(headers) not in _LISTS or any(type(pair) not in _LISTS for pair in headers):
        headers = scope["headers"] = [tuple(pair) for pair in headers]
    return headers  # type: ignore[no-any-return]


def is_empty(message: Message) -> bool:
    """Tell whether a message of a body is no progress: no bytes, and not the end."""
    return (
        message["type"] == REQUEST
        and not message.get("body", b"")
        and bool(message.get("more_body", False))
    )


def start_fields(message: Message) -> tuple[int, int | None, list[tuple[bytes, bytes]]] | None:
    """Return what an answer's start says.

    Returns:
        The status, the Content-Length (``None`` when there is none) and the headers as a list;
        ``None`` when the message is not what the specification asks for: the server is to say so.
    """
    status: Any = message.get("status")
    try:
        # Iterables of iterables, by the specification, and each may be one that is read once.
        headers: list[Any] = [tuple(pair) for pair in message.get("headers", ())]
        lengths = [
            int(value)
            for name, value in headers
            if name.lower() == b"content-length" and value.isdigit()
        ]
    except (AttributeError, TypeError, ValueError):
        return None
    if not isinstance(status, int):
        return None
    return status, lengths[-1] if lengths else None, headers


def has_header(message: Message, name: bytes) -> bool:
    """Tell whether an answer's start has a header field, whose *name* is in lower case."""
    return any(other.lower() == name for other, _ in message.get("headers", ()))


def with_header(message: Message, name: bytes, value: bytes) -> Message:
    """Return an answer's start with one more header field."""
    return {**message, "headers": [*message.get("headers", ()), (name, value)]}


def nbytes_of(message: Message) -> int:
    """Return how many bytes of a body a message has."""
    return len(message.get("body", b""))


def joined(first: Message | None, second: Message) -> Message:
    """Return two messages of an answer's content as one; ``None`` is nothing."""
    if first is None:
        return second
    return {**second, "body": bytes(first.get("body", b"")) + bytes(second.get("body", b""))}
