"""The start of an answer: held, completed with the header fields that it needs, and sent."""

from __future__ import annotations

from drainkit import Order

from ._messages import BODY, has_header, nbytes_of, with_header
from ._types import Message, Scope, Send


class Head:
    """The answer to one request, as far as its start.

    Attributes:
        order: How far the answer has come, and what to do next.
    """

    __slots__ = ("_scope", "_send", "_start", "order")

    def __init__(self, scope: Scope, send: Send, order: Order) -> None:
        """Begin before the answer.

        Args:
            scope: The request's.
            send: The server's.
            order: The engine's machine for this answer.
        """
        self.order = order
        self._scope = scope
        self._send = send
        self._start: Message | None = None

    async def _release_start(self, whole: Message | None = None) -> None:
        """Send the start that is held, if one is.

        Args:
            whole: The last piece of the answer, if it is known: with its length the client sees
                the end of the answer before anything else shows it.
        """
        start, self._start = self._start, None
        if start is None:
            return
        order = self.order
        order.released()
        if whole is not None and whole["type"] == BODY:
            length = order.length_to_add(
                nbytes_of(whole),
                method=self._scope.get("method", ""),
                has_coding=has_header(start, b"transfer-encoding"),
            )
            if length is not None:
                start = with_header(start, b"content-length", b"%d" % length)
        # RFC 9113 section 8.2.2: over HTTP/2 there are no connection-specific header fields.
        is_http_1 = self._scope.get("http_version", "1.1")[:1] == "1"
        if is_http_1 and order.leaves_body and not has_header(start, b"connection"):
            start = with_header(start, b"connection", b"close")
        await self._send(start)
