"""What hypercorn needs when a body is left unread: a stream that takes the rest and does nothing.

It puts functions of its own in the place of two of hypercorn's (a stream's ``send`` and
``app_put``). The cure belongs into hypercorn: a stream that has ended its answer should take no
more messages, and be forgotten without an error.

Rule: public names of hypercorn only, and nothing where one is missing; whatever is read here was
read in hypercorn 0.18.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import anyio

from drainkit_asgi._types import Message, Receive, Send

from ._row import Connection

# RFC 9113 section 7.
_NO_ERROR = 0x0
_INTERNAL_ERROR = 0x2
_ENHANCE_YOUR_CALM = 0xB
# RFC 9114 section 8.1.
_H3_NO_ERROR = 0x100
_H3_INTERNAL_ERROR = 0x102

# So much of a left body may come over HTTP/2 while its response is still being sent: four times
# a page of 4 MB, that a client with a window of 64 KiB takes in small steps. Arbitrary.
_MOST_LEFT_BYTES = 16 * 1024 * 1024
_LOOK_SECONDS = 0.005


class _Rest:
    """What stands for a stream of hypercorn whose body is left.

    hypercorn's queue of messages for the application is full after ten, and whoever puts one more
    waits: the end of the response, and the reader of the whole connection. Over HTTP/2 and HTTP/3
    it raises KeyError on data for a stream that it has forgotten (protocol/h2.py, _handle_events;
    protocol/h3.py, handle). That ends the connection, over HTTP/3 every one of the process, and on
    trio the process itself. And it resets no stream.
    """

    idle = True  # hypercorn asks: the connection may be closed although this is there

    def __init__(self, receive: Receive, stream: Any, protocol: Any) -> None:
        self._queue: Any = getattr(receive, "__self__", None)
        self._stream = stream
        self._protocol = protocol
        self._streams: dict[int, Any] | None = getattr(protocol, "streams", None)
        self._put = stream.app_put
        self._forward = stream.send
        self._last = ""
        self._is_reset = False
        self._left_bytes = 0
        stream.send = self._send
        if self._streams is not None:
            # HTTP/1 may hold its client back; here the reader serves other streams, too.
            self._take_nothing()

    async def handle(self, event: Any) -> None:
        """Do nothing about what may still come, and stay where hypercorn forgets a stream."""
        if self._streams is not None:
            self._streams[self._stream.stream_id] = self

    def _take_nothing(self) -> None:
        """Let nobody wait for room in the queue."""
        self._stream.app_put = self._put_nothing
        # asyncio.Queue, or trio.MemoryReceiveChannel; either raises when nothing is left.
        take = getattr(self._queue, "get_nowait", None) or getattr(
            self._queue, "receive_nowait", None
        )
        with contextlib.suppress(Exception):
            while take is not None:
                take()

    async def _put_nothing(self, message: Message) -> None:
        if message["type"] != "http.request":
            await self._put(message)
            return
        self._left_bytes += len(message.get("body", b""))
        if self._left_bytes > _MOST_LEFT_BYTES:
            await self._reset(_ENHANCE_YOUR_CALM)

    async def _send(self, event: Any) -> None:
        """What the stream calls for every event of its response."""
        kind = type(event).__name__
        if kind != "StreamClosed":
            self._last = kind
            await self._forward(event)
            return
        self._take_nothing()
        if self._streams is not None:
            await self._wait_for_end()
            await self._reset(
                _NO_ERROR if self._last in ("EndBody", "Trailers") else _INTERNAL_ERROR
            )
            await self._stream.handle(event)
            self._streams[self._stream.stream_id] = self
        await self._forward(event)
        await self.handle(event)

    async def _wait_for_end(self) -> None:
        """Wait until END_STREAM has been sent; the task that sends it does not tell."""
        buffers = getattr(self._protocol, "stream_buffers", {})
        while (
            self._last == "EndBody"
            and not self._is_reset
            and self._stream.stream_id in buffers
            and not self._protocol.closed
        ):
            await anyio.sleep(_LOOK_SECONDS)

    async def _reset(self, code: int) -> None:
        connection = self._protocol.connection
        if not hasattr(connection, "reset_stream"):
            await self._stop(code)
            return
        if self._is_reset or self._protocol.closed:
            return
        self._is_reset = True
        stream_id = self._stream.stream_id
        # The client may have ended or reset the stream itself.
        with contextlib.suppress(sys.modules["h2.exceptions"].ProtocolError):
            connection.reset_stream(stream_id, code)
            event = sys.modules["hypercorn.events"].RawData(data=connection.data_to_send())
            await self._protocol.send(event)
        if stream_id in self._protocol.stream_buffers:
            await self._protocol.stream_buffers[stream_id].close()

    async def _stop(self, code: int) -> None:
        """Do the same over HTTP/3, where the two directions of a stream end apart."""
        # hypercorn/protocol/quic.py, _handle_events: send is a partial with the connection.
        arguments = getattr(self._protocol.send, "args", None) or (None,)
        quic: Any = getattr(arguments[0], "quic", None)
        if quic is None or self._is_reset:
            return
        self._is_reset = True
        stream_id = self._stream.stream_id
        # A stream that both have ended is known no more.
        with contextlib.suppress(ValueError):
            if code == _INTERNAL_ERROR:
                quic.reset_stream(stream_id, _H3_INTERNAL_ERROR)
            # RFC 9114 section 4.1: it cuts nothing off the answer.
            quic.stop_stream(stream_id, _H3_NO_ERROR)
        await self._protocol.send()


class HypercornConnection(Connection):
    """Tells hypercorn that a body is left; does nothing behind a middleware that wraps ``send``."""

    __slots__ = ("_is_left",)

    def __init__(self, receive: Receive, send: Send) -> None:
        super().__init__(receive, send)
        self._is_left = False

    def leave(self) -> None:
        """Let the rest of the body hold nobody up."""
        # hypercorn/protocol/http_stream.py: send is a method of the HTTPStream, whose own send is
        # one of the protocol.
        stream = getattr(self._send, "__self__", None)
        protocol = getattr(getattr(stream, "send", None), "__self__", None)
        if protocol is not None and hasattr(stream, "app_put") and not self._is_left:
            self._is_left = True
            _Rest(self._receive, stream, protocol)
