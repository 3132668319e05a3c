"""What ASGI messages and scopes say, and copies of them that say a little more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

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
_MOST_DIGITS = 19  # as the engine's


END: Message = {"type": BODY, "body": b"", "more_body": False}
"""The empty last message of an answer."""


HeaderField: TypeAlias = tuple[bytes, bytes]

FRAMING_FIELDS = frozenset({b"content-length", b"transfer-encoding", b"expect"})
"""The names of the header fields that tell of a request's body."""


def announces_body(fields: Sequence[HeaderField]) -> bool:
    """Tell whether a request's framing fields say that it has a body."""
    lengths = 0
    for name, value in fields:
        if name == b"content-length":
            if value and value != b"0":
                return True
            lengths += 1
        elif name == b"transfer-encoding":
            return True
    return lengths > 1  # two that are 0 are not believed (RFC 9112 section 6.3)


def needs_no_body(scope: Scope, fields: Sequence[HeaderField]) -> bool:
    """Tell whether a request whose framing fields announce no body has none.

    HTTP/2 and HTTP/3 need no header field for a body (RFC 9113 section 8.1). Nearly every GET has
    none, and the server may say so later than the application answers. A sender of content should
    generate a Content-Type (RFC 9110 section 8.3).
    """
    version: str = scope.get("http_version", "1.1")
    if version[:1] == "1" or any(value == b"0" for name, value in fields if name != b"expect"):
        return True
    return scope.get("method") in METHODS_WITHOUT_CONTENT and not any(
        name == b"content-type" for name, _ in scope.get("headers", ())
    )


def plain_length(fields: Sequence[HeaderField]) -> int | None:
    """Return the Content-Length if it is all that a request says of its body, and is no mistake."""
    if len(fields) != 1:
        return None
    name, value = fields[0]
    is_plain = name == b"content-length" and value.isdigit() and len(value) <= _MOST_DIGITS
    return int(value) if is_plain else None


def is_plainly_chunked(fields: Sequence[HeaderField]) -> bool:
    """Tell whether all that a request says of its body is that it comes in chunks."""
    return (
        len(fields) == 1
        and fields[0][0] == b"transfer-encoding"
        and fields[0][1].lower() == b"chunked"
    )


def framing_of(http_version: str, fields: Sequence[HeaderField], *, expects: bool) -> Framing:
    """Return how a request's body is framed.

    Args:
        http_version: As in the scope.
        fields: Its framing fields.
        expects: Whether an expectation counts.
    """
    joined_fields: dict[bytes, str] = {}
    for name, value in fields:
        text = value.decode("latin-1")
        before = joined_fields.get(name)
        # RFC 9110 section 5.3. Of an expectation the last one counts.
        several = before is not None and name != b"expect"
        joined_fields[name] = f"{before},{text}" if several else text
    return framing(
        http_version=http_version,
        content_length=joined_fields.get(b"content-length"),
        transfer_encoding=joined_fields.get(b"transfer-encoding"),
        expect=joined_fields.get(b"expect") if expects else None,
    )


def readable_headers(scope: Scope) -> list[HeaderField]:
    """Return a scope's headers that are not as servers give them.

    What can be read once is the application's to read, and is made readable again; a server may
    leave them out.
    """
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


def may_be_event_stream(message: Message) -> bool:
    """Tell whether an answer may be a stream of events, as far as its start can be looked at."""
    headers: Any = message.get("headers", ())
    if type(headers) not in _LISTS:
        return True
    try:
        for pair in headers:
            if type(pair) not in _LISTS:
                return True
            name, value = pair
            if name.lower() == b"content-type" and value.startswith(b"text/event-stream"):
                return True
    except (AttributeError, TypeError, ValueError):
        return True
    return False


def has_header(message: Message, name: bytes) -> bool:
    """Tell whether an answer's start has a header field, whose *name* is in lower case."""
    return any(other.lower() == name for other, _ in message.get("headers", ()))


def with_header(message: Message, name: bytes, value: bytes) -> Message:
    """Return an answer's start with one more header field."""
    return {**message, "headers": [*message.get("headers", ()), (name, value)]}


def nbytes_of(message: Message) -> int:
    """Return how many bytes of a body a message has."""
    return len(message.get("body", b""))


def own(message: Message) -> Message:
    """Return a message that is sent behind its ``send()``, when its sender may use its buffer."""
    content = message.get("body", b"")
    if isinstance(content, (bytearray, memoryview)):
        return {**message, "body": bytes(content)}
    return message


def joined(first: Message | None, second: Message) -> Message:
    """Return two messages of an answer's content as one; ``None`` is nothing."""
    if first is None:
        return second
    return {**second, "body": bytes(first.get("body", b"")) + bytes(second.get("body", b""))}
