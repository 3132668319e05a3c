"""The headers of a signed-in user, made from what people have at hand: a token, some cookies.

Rule: a message about them never repeats them.
"""

from __future__ import annotations

import re

from ._target import BadTargetError, check_header

# RFC 6265 section 4.1.1 for the name; browsers send nearly anything as a value.
_COOKIE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+=[^;,\s]*")


def bearer_header(token: str) -> tuple[str, str]:
    """Return the header that carries a bearer token (RFC 6750).

    Args:
        token: The token itself, without the word Bearer.

    Raises:
        BadTargetError: It cannot be one; the message does not repeat it.
    """
    token = token.strip()
    if not token or re.search(r"\s", token):
        raise BadTargetError("a bearer token is one word, without 'Bearer' in front of it")
    check_header("Authorization", token)
    return "Authorization", f"Bearer {token}"


def cookie_header(*pairs: str) -> tuple[str, str]:
    """Return the header that carries cookies, all of them in one (RFC 6265 section 5.4).

    Args:
        pairs: Each ``NAME=VALUE``, or several with semicolons between them.

    Raises:
        BadTargetError: One cannot be sent; the message does not repeat it.
    """
    every = [one.strip() for pair in pairs for one in pair.split(";") if one.strip()]
    if not every or any(_COOKIE.fullmatch(one) is None for one in every):
        raise BadTargetError("a cookie is given as NAME=VALUE, as in 'sessionid=...'")
    value = "; ".join(every)
    check_header("Cookie", value)
    return "Cookie", value
