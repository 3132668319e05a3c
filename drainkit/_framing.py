"""How long is this request's body, and does the client wait for an invitation to send it?

Rule 1: a pure function of the protocol version and three header fields (RFC 9112 section 6.3).
Rule 2: a header field that cannot be believed is an answer (`BodyKind.UNKNOWN`), never an
exception: the request may be perfectly good to the application.
"""

from __future__ import annotations

import enum
import re
from typing import NamedTuple

# Nineteen digits hold every signed 64-bit length, which is what servers keep it in; int() itself
# gives up at 4,300.
_MOST_DIGITS = 19

_OLD_VERSIONS = ("1.0", "1", "0.9")

# RFC 9112 sections 6.1 and 7: a list of tokens in which chunked stands once, at the end. Parameters
# are not believed: no registered coding has any, and a quoted string may hold a comma.
_CHUNKED = re.compile(
    r"(?:(?!chunked[ \t]*+,)[!#$%&'*+\-.^_`|~0-9a-z]++[ \t]*+,[ \t]*+)*+chunked",
    re.ASCII | re.IGNORECASE,
)


METHODS_WITHOUT_CONTENT = frozenset({"GET", "HEAD", "DELETE", "OPTIONS", "TRACE"})
"""Methods whose content has no semantics that are generally defined, or needs a Content-Type.

RFC 9110 sections 9.3.1, 9.3.2, 9.3.5, 9.3.7 and 9.3.8. Over HTTP/2 and HTTP/3 nothing but the end
of its stream tells that such a request has none, and that may come later than a quick answer.
"""


class BodyKind(enum.Enum):
    """What tells the end of a request's body."""

    NO_BODY = "no body"
    LENGTH = "length"
    """Content-Length does."""
    CHUNKED = "chunked"
    """The last chunk does, or the END_STREAM flag of HTTP/2 and HTTP/3."""
    UNKNOWN = "unknown"
    """Nothing that can be believed does. Such a body must not be read."""


# Every body costs one look-up, and in an enum that is slow before Python 3.12.
_LENGTH = BodyKind.LENGTH


class Framing(NamedTuple):
    """The framing of one request's body.

    Attributes:
        kind: What tells the end of the body.
        length: The body's length in bytes, as declared; ``None`` unless *kind* is ``LENGTH``.
        expects_continue: Whether the client asked for ``100 Continue`` before it sends the body.
        problem: Why the framing is unknown, in words; ``None`` when it is known.
    """

    kind: BodyKind
    length: int | None = None
    expects_continue: bool = False
    problem: str | None = None


NO_BODY = Framing(BodyKind.NO_BODY)


def framing(
    *,
    http_version: str,
    content_length: str | None,
    transfer_encoding: str | None,
    expect: str | None = None,
) -> Framing:
    """Tell how a request's body is framed.

    Args:
        http_version: ``"1.0"``, ``"1.1"``, ``"2"`` or ``"3"``, as in an ASGI scope; ``"2.0"`` and
            ``"1"``, as some WSGI servers write them, mean the same.
        content_length: The value of Content-Length; ``None`` or ``""`` when there is none.
        transfer_encoding: The value of Transfer-Encoding, fields of one name joined by commas;
            ``None`` or ``""`` when there is none.
        expect: The value of Expect; ``None`` or ``""`` when there is none.

    Returns:
        The framing. It never raises for a value that a client chose.
    """
    expects_continue = expect is not None and _expects_continue(http_version, expect)

    # RFC 9112 section 6.3, step 3: Transfer-Encoding overrides Content-Length.
    if transfer_encoding:
        return _coded(http_version, transfer_encoding, expects_continue)

    if content_length:
        digits = content_length.strip(" \t")
        # RFC 9110 section 8.6: Content-Length = 1*DIGIT, and DIGIT is ASCII.
        if not (digits.isdigit() and digits.isascii()) or len(digits) > _MOST_DIGITS:
            # Step 5: an invalid Content-Length is an unrecoverable error.
            return _unknown(
                f"Content-Length {content_length[:80]!r} is not a decimal length", expects_continue
            )
        length = int(digits)
        if length == 0:
            return NO_BODY
        return Framing(_LENGTH, length, expects_continue)

    # RFC 9113 section 8.1: the END_STREAM flag ends the body, and no field need announce one.
    if http_version[:1] in ("2", "3"):
        return Framing(BodyKind.CHUNKED, None, expects_continue)

    # Step 7: a request with neither has no body.
    return NO_BODY


def _expects_continue(http_version: str, expect: str) -> bool:
    # RFC 9110 section 10.1.1: an expectation in an HTTP/1.0 request MUST be ignored.
    return expect.strip().lower() == "100-continue" and http_version not in _OLD_VERSIONS


def _coded(http_version: str, transfer_encoding: str, expects_continue: bool) -> Framing:
    if http_version in _OLD_VERSIONS:
        # RFC 9112 section 6.1: such a message's framing is faulty.
        return _unknown("Transfer-Encoding in an HTTP/1.0 request", expects_continue)
    if not _CHUNKED.fullmatch(transfer_encoding.strip(" \t")):
        # Section 6.3, step 4: a request whose final coding is not chunked has no reliable length.
        return _unknown(
            f"Transfer-Encoding {transfer_encoding[:80]!r} does not end in chunked",
            expects_continue,
        )
    return Framing(BodyKind.CHUNKED, None, expects_continue)


def _unknown(problem: str, expects_continue: bool) -> Framing:
    return Framing(BodyKind.UNKNOWN, None, expects_continue, problem)
