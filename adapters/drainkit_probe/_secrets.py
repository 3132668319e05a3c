"""What is sent to the target and shown nowhere, and how it is kept out of what the target says.

Rule: the target may echo what it was sent, so nothing that it says is shown before it went through
here.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, quote, quote_plus, unquote

from ._plan import Plan
from ._target import Target

HIDDEN = "[hidden]"
# What is shorter and no credential stands in every page, and says nothing.
_LEAST_CHARACTERS = 4
# Session tokens of the target's own making.
_HIDDEN_FIELDS = frozenset({"set-cookie", "set-cookie2", "authorization", "cookie"})
# Every answer has the like.
_NO_SECRETS = frozenset({"accept", "content-type"})
_QUERY = re.compile(r"\?[^\s\"'<>]+")


class Secrets:
    """What must not be shown of a run."""

    def __init__(self, target: Target, plan: Plan) -> None:
        credentials = set(_credentials(target, plan))
        found = {form for value in (*credentials, *_values(target, plan)) for form in _forms(value)}
        self._longest_first = sorted(
            (form for form in found if len(form) >= _LEAST_CHARACTERS), key=len, reverse=True
        )
        short = sorted(filter(None, credentials - set(self._longest_first)))
        self._short = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, short)) or '(?!)'})(?!\w)")

    @property
    def longest(self) -> int:
        """The characters of the longest of them."""
        return len(self._longest_first[0]) if self._longest_first else 0

    def hide(self, text: str, *, is_cut: bool = False) -> str:
        """Return a text without them.

        Args:
            text: The text.
            is_cut: Whether it may end in the middle of one.
        """
        for secret in self._longest_first:
            text = re.sub(re.escape(secret), HIDDEN, text, flags=re.IGNORECASE)
        text = self._short.sub(HIDDEN, text)
        return self._hide_beginning(text) if is_cut else text

    def hide_field(self, name: str, value: str) -> str:
        """Return the value of a header without them."""
        if name in _HIDDEN_FIELDS:
            return HIDDEN
        if name in ("location", "content-location", "refresh", "link"):
            value = _QUERY.sub("?...", value)
        return self.hide(value)

    def _hide_beginning(self, text: str) -> str:
        """Hide a secret that is cut off where the text ends."""
        lower = text.lower()
        for secret in self._longest_first:
            for length in range(min(len(secret), len(text)), _LEAST_CHARACTERS - 1, -1):
                if lower.endswith(secret[:length].lower()):
                    return text[:-length] + HIDDEN
        return text


def _values(target: Target, plan: Plan) -> Iterator[str]:
    _, _, query = target.request_target.partition("?")
    yield query
    yield from (pair.partition("=")[2] for pair in query.split("&"))
    yield from (value for _, value in parse_qsl(query))
    yield from (value for name, value in plan.headers if name.lower() not in _NO_SECRETS)


def _credentials(target: Target, plan: Plan) -> Iterator[str]:
    """Yield who the user is, whole and in parts: what is hidden however short it is."""
    headers = list(plan.headers)
    if target.credentials is not None:
        headers.append(("Authorization", target.credentials))
    for name, value in headers:
        if name.lower() == "cookie":
            pairs = [pair.strip() for pair in value.split(";")]
            yield from (value, *pairs, *(pair.partition("=")[2] for pair in pairs))
        elif name.lower() in ("authorization", "proxy-authorization"):
            scheme, _, rest = value.partition(" ")
            yield from (value, rest.strip())
            if scheme.lower() == "basic":
                yield from _basic(rest.strip())


def _basic(encoded: str) -> Iterator[str]:
    """Yield what stands in credentials of the scheme Basic (RFC 7617)."""
    try:
        pair = base64.b64decode(encoded, validate=True).decode("utf-8", "replace")
    except ValueError:
        return
    yield from (pair, *pair.split(":", 1))


def _forms(value: str) -> Iterator[str]:
    """Yield a value as pages and headers spell it."""
    value = value.strip().strip('"')
    plain = (value, unquote(value))
    yield from plain
    for one in plain:
        yield from (quote(one, safe=""), quote(one), quote_plus(one), html.escape(one))
        for quoted in (json.dumps(one)[1:-1], json.dumps(one, ensure_ascii=False)[1:-1]):
            yield from (quoted, quoted.replace("/", "\\/"))  # as PHP's JSON has it
        yield base64.b64encode(one.encode()).decode().rstrip("=")
        # As it went out, and as a page of UTF-8 is read.
        yield one.encode("latin-1", "replace").decode("utf-8", "replace")
