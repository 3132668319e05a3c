"""One request, its body and its response: when the body is discarded, and in which order.

The order belongs to the server (`_servers.py`); `docs/explanation/when-and-how-long` says why.
Whatever the order:

1. No message is received before the response has started when the client waits for an
   invitation: the first ``receive()`` would be one.
2. What a client must have read before it can go on is sent while the body is being discarded,
   not before: a strict client does not read while it writes.
3. The application's ``receive()`` is ``http.disconnect`` only when the drain has ended: earlier,
   Starlette would cancel the response, and with it the drain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import anyio

from drainkit import (
    CONTROL_KEY,
    Drain,
    DrainControl,
    DrainReport,
    OnReport,
    Outcome,
    Read,
    Step,
    keep_heap,
    publish,
)

from ._inbox import Inbox
from ._servers import Order, Server, reads_no_further
from ._types import ASGIApplication, Message, Receive, Scope, Send

# What fits the smallest default buffers between two sockets (Linux tcp_wmem and tcp_rmem grow
# from 16 KiB and 128 KiB), so that sending it never blocks.
RESPONSE_BUFFER_BYTES = 65_536

# An empty message with more_body true is no progress; CVE-2024-30251 (aiohttp) shows what a
# loop over them costs.
_EMPTY_MESSAGE_PAUSE_SECONDS = 0.01

# More than hypercorn's queue holds: ten messages of 64 KiB (hypercorn/config.py,
# max_app_queue_size; asyncio/tcp_server.py, MAX_RECV).
_MOST_SWALLOWED_BYTES = 1024 * 1024

# How much one message of a late body holds: as much as the servers' own at the most.
_LATE_MESSAGE_BYTES = 65_536

# RFC 9110 section 6.4.1: responses with these statuses have no content.
_STATUSES_WITHOUT_CONTENT = frozenset({204, 304})

# A body that has been read needs no close; a declined one is the server's business, as it is
# without drainkit.
_LEFT_TO_THE_SERVER = frozenset({Outcome.COMPLETE, Outcome.DECLINED})

_DISCONNECT = "http.disconnect"

# Messages other than http.response.body that end a response, and the key that says that they
# do not. With the first two the server sends a file, as with wsgi.file_wrapper.
_LAST_MESSAGES = {
    "http.response.pathsend": "more_body",
    "http.response.zerocopysend": "more_body",
    "http.response.trailers": "more_trailers",
}
_SENDS_FILE = frozenset({"http.response.pathsend", "http.response.zerocopysend"})


class LateReadError(OSError):
    """The application received a body after drainkit had to discard it."""


class Exchange:
    """One HTTP request with a body, and its response."""

    __slots__ = (
        "_ahead",
        "_ahead_ended",
        "_closed",
        "_control",
        "_full",
        "_inbox",
        "_is_asked_for",
        "_is_closed",
        "_is_closing",
        "_is_complete",
        "_is_cut",
        "_is_left",
        "_is_started",
        "_largest_bytes",
        "_late_read_bytes",
        "_lost_bytes",
        "_on_report",
        "_passed_bytes",
        "_passes",
        "_receive",
        "_response_length",
        "_scope",
        "_send",
        "_server",
        "_start",
        "_trailers",
        "drain",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        server: Server,
        drain: Drain,
        on_report: OnReport | None,
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self.drain = drain
        self._control = scope[CONTROL_KEY] = DrainControl(drain)
        self._server = server
        self._on_report = on_report
        self._inbox = Inbox(receive)
        # What was read ahead for an application that may read late; as bytes, because a client
        # that sends one at a time must not make a message of each be kept.
        self._ahead = bytearray()
        self._ahead_ended = False
        self._largest_bytes = 0
        self._late_read_bytes = 0
        self._lost_bytes = 0
        # The response so far.
        self._start: Message | None = None
        self._full: Message | None = None
        self._is_started = False
        self._is_complete = False
        self._trailers = False
        self._response_length: int | None = None
        self._passed_bytes = 0
        # Set when the application has received the whole body and nothing is held: from then on
        # every message passes as it is.
        self._passes = False
        # Set when the application has answered and may not receive any more.
        self._is_asked_for = False
        self._is_closing = False
        self._is_closed = False
        self._is_cut = False
        self._is_left = False
        self._closed: anyio.Event | None = None

    async def run(self, app: ASGIApplication) -> None:
        """Call the application, and see to its request's body."""
        try:
            await app(self._scope, self.receive, self.send)
            if not (self._is_complete or self._passes):
                # The server answers for it, with 500 or by closing the connection.
                await self._discard_alone()
                await self._release_start()
                await self._release_full()
        except Exception:
            # The server's own 500 must arrive, too.
            await self._discard_alone()
            await self._release_full()
            raise
        finally:
            if self.drain.under_way:
                self._finish(self.drain.stop(Outcome.ERROR, anyio.current_time(), "cancelled"))
            self._inbox.close()

    @property
    def _settled(self) -> bool:
        """Whether the body needs nothing more: it has been read, or its drain has ended."""
        return self.drain.finished or self.drain.report is not None

    @property
    def _order(self) -> Order:
        version: str = self._scope.get("http_version", "1.1")
        return self._server.order.get(version[:1], Order.DISCARD_FIRST)

    # --- what the application receives ---------------------------------------------------------

    async def receive(self) -> Message:
        """The application's ``receive``."""
        # Unless the application's next message is not the server's next one.
        while not (self._is_closing or self._ahead or self._ahead_ended or self._lost_bytes):
            if self.drain.finished:
                return await self._receive()
            inbox = self._inbox
            if inbox.is_busy:
                await inbox.wait()
                continue  # another task may have received, or answered, meanwhile
            with inbox:
                self._is_asked_for = True
                message = await inbox.receive()
                if message["type"] == "http.request":
                    nbytes = len(message.get("body", b""))
                    if nbytes > self._largest_bytes:
                        self._largest_bytes = nbytes
                    more: bool = message.get("more_body", False)
                    self.drain.app_read(nbytes, more)
                    if not (more or self._is_closing):
                        self._passes = self._start is None and self._full is None
                return message
        if self._is_closing:
            if not self._is_closed:
                # Made here and not with the exchange: most requests never need it.
                self._closed = self._closed or anyio.Event()
                await self._closed.wait()
            return {"type": _DISCONNECT}
        if self._ahead or self._ahead_ended:
            return self._take_ahead()
        raise LateReadError(
            f"drainkit discarded {self._lost_bytes} bytes of this request's body, because it was "
            f"received only after the response had begun, and no more than late_read_bytes="
            f"{self._late_read_bytes} are kept; receive the body before responding, or raise "
            f"DrainPolicy.late_read_bytes"
        )

    def _take_ahead(self) -> Message:
        with memoryview(self._ahead) as ahead:
            body = bytes(ahead[:_LATE_MESSAGE_BYTES])
        del self._ahead[: len(body)]
        more = bool(self._ahead) or not self._ahead_ended
        if not more:
            self._ahead_ended = False
        self.drain.late_read(len(body))
        return {"type": "http.request", "body": body, "more_body": more}

    # --- what the application sends ------------------------------------------------------------

    async def send(self, message: Message) -> None:
        """The application's ``send``."""
        if self._passes:
            await self._send(message)
            return
        kind = message["type"]
        if self._is_cut and self._is_complete:
            return  # the response went out; only the discarding behind it was cancelled
        if kind == "http.response.body":
            await self._send_body(message)
        elif kind == "http.response.start" and not (self._is_started or self._settled):
            if not self._take_start(message):
                await self._send(message)
        elif kind in _LAST_MESSAGES and not message.get(_LAST_MESSAGES[kind], False):
            await self._end_with(message)
        else:
            await self._release_start()
            await self._send(message)

    def _take_start(self, message: Message) -> bool:
        """Keep the start until the first of the body tells what headers it needs.

        Returns:
            False when it is not what the specification asks for: the server is to say so.
        """
        if self._start is not None:
            raise RuntimeError("http.response.start was sent twice")
        status: Any = message.get("status")
        try:
            headers = list(message.get("headers", ()))  # any iterable, by the specification
            lengths = [
                int(value)
                for name, value in headers
                if name.lower() == b"content-length" and value.isdigit()
            ]
        except (AttributeError, TypeError, ValueError):
            return False
        if not isinstance(status, int):
            return False
        self._start = {**message, "headers": headers}
        self.drain.status = status
        self._trailers = bool(message.get("trailers", False))
        self._response_length = lengths[-1] if lengths else None
        return True

    async def _send_body(self, message: Message) -> None:
        is_last = not message.get("more_body", False)
        if self._settled and self._full is None:
            await self._release_start()
            await (
                self._send_last(message) if is_last and not self._trailers else self._send(message)
            )
            return
        if self._full is not None:
            message = _joined(self._full, message)
            self._full = None
        total = self._passed_bytes + len(message.get("body", b""))
        if is_last and not self._trailers:
            await self._end_with(message)
        elif self._order is not Order.HOLD_END and total == self._response_length:
            # The server may end the response here by itself; let it be the last message.
            if not self._trailers:
                self._full = message
                return
            await self._discard_first()
            await self._release_start()
            await self._send(message)
        else:
            if self._start is not None and self._is_error and self.drain.untouched:
                await self._read_ahead()  # what follows is not whole when the client sees it
            await self._release_start()
            if total > RESPONSE_BUFFER_BYTES and not self._settled:
                await self._send_while(message, self._read_ahead)
            else:
                await self._send(message)
        self._passed_bytes = total

    async def _end_with(self, last: Message) -> None:
        """Send the response's last message and discard the body, in the server's order."""
        if self._settled:
            await self._release_start()
            await self._send_last(last)
            return
        self._is_closing = True
        self._forget_ahead()
        try:
            await self._end_in_order(last)
        finally:
            if self.drain.under_way:
                self._finish(self.drain.stop(Outcome.ERROR, anyio.current_time(), "cancelled"))
                self._is_cut = True
            self._close()
        report = self.drain.report
        if report is not None and report.outcome not in _LEFT_TO_THE_SERVER:
            self._server.close(self._receive)

    @property
    def _is_error(self) -> bool:
        """Whether clients end their upload short at the sight of the status."""
        return self._order is Order.HOLD_END_OF_ERRORS and (self.drain.status or 0) >= 400

    def _order_of(self, last: Message) -> Order:
        """Return the order for a response that ends with this message."""
        is_whole = self._passed_bytes == 0 and last["type"] == "http.response.body"
        is_small = 0 < len(last.get("body", b"")) <= RESPONSE_BUFFER_BYTES
        if self._order is not Order.HOLD_END_OF_ERRORS:
            is_big = is_whole and len(last.get("body", b"")) > RESPONSE_BUFFER_BYTES
            if reads_no_further(self._scope, is_big=is_big):
                return Order.DISCARD_FIRST
            return self._order
        if self._awaits_invitation or (is_whole and is_small and self._is_error):
            return Order.HOLD_END
        return Order.DISCARD_FIRST

    async def _end_in_order(self, last: Message) -> None:
        kind = last["type"]
        order = self._order_of(last)
        if (order is Order.DISCARD_FIRST or kind in _SENDS_FILE) and (not self._awaits_invitation):
            await self._discard_first()
            await self._release_start(last)
            await self._send_last(last)
            return
        step = self._begin(may_receive=order is not Order.DISCARD_FIRST and kind not in _SENDS_FILE)
        await self._release_start(last)
        if isinstance(step, DrainReport):
            await self._send_last(last)
            return
        discard = self._discarding(step)
        if order is Order.END_FIRST and self._passed_bytes == 0:
            await self._send_while(last, discard, to_its_end=True, is_last=True)
            return
        if order is Order.END_FIRST or kind != "http.response.body":
            await discard()
        else:
            if last.get("body", b"") or self._passed_bytes == 0:
                await self._send_while({**last, "more_body": True}, discard, to_its_end=True)
            else:
                await discard()
            last = {"type": "http.response.body", "body": b"", "more_body": False}
        if self._has_been_left:
            # hypercorn ends its queue of messages with one that finds no room if it is full.
            await self._send_while(last, self._swallow, is_last=True)
        else:
            await self._send_last(last)

    def _close(self) -> None:
        self._is_closed = True
        if self._closed is not None:
            self._closed.set()

    @property
    def _has_been_left(self) -> bool:
        """Whether the drain ended before the body did."""
        report = self.drain.report
        return report is not None and report.outcome is not Outcome.COMPLETE

    def _leave(self) -> None:
        """Tell the server that nobody will receive the rest of the body, if there is a rest."""
        if self._has_been_left and not (self.drain.finished or self._is_left):
            self._is_left = True
            self._server.leave(self._receive, self._send)

    async def _send_last(self, message: Message) -> None:
        self._is_complete = True
        if self._ahead or self._ahead_ended or self._lost_bytes:
            # Who receives behind the response waits for the disconnect, and not for the body.
            self._forget_ahead()
            self._is_closing = True
            self._close()
        self._leave()
        await self._send(message)

    async def _send_while(
        self,
        message: Message,
        receiving: Callable[[], Coroutine[Any, Any, None]],
        *,
        to_its_end: bool = False,
        is_last: bool = False,
    ) -> None:
        """Send a message while *receiving* takes the body off the connection.

        Args:
            message: The message.
            receiving: Raises no Exception.
            to_its_end: Wait for *receiving* too; otherwise it is cancelled when *message* is sent.
            is_last: Whether the response ends with this message.
        """
        error: Exception | None = None
        # Not the task group's: what a task that it cancels has held waits for the garbage collector
        # (anyio 4, _asyncio.py, task_done), and granian may not reset a stream before.
        scope = anyio.CancelScope()

        async def receive() -> None:
            with scope:
                await receiving()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            try:
                await (self._send_last(message) if is_last else self._send(message))
            except Exception as exc:
                # Not through the task group, which would wrap it.
                error = exc
            if error is not None or not to_its_end:
                scope.cancel()
        if error is not None:
            if self.drain.under_way:
                self._finish(
                    self.drain.stop(Outcome.DISCONNECTED, anyio.current_time(), str(error))
                )
            try:
                raise error
            finally:
                del error  # or its traceback and this frame would hold each other

    # --- the response's headers ----------------------------------------------------------------

    def _set_length(self, start: Message, whole: Message) -> None:
        """Let the client see the end of a whole response before the connection shows it."""
        status = start.get("status", 0)
        if (
            whole["type"] == "http.response.body"
            and self._response_length is None
            and status >= 200
            and status not in _STATUSES_WITHOUT_CONTENT
            and self._scope.get("method") != "HEAD"
            and not _has_header(start, b"transfer-encoding")
        ):
            nbytes = len(whole.get("body", b""))
            self._response_length = nbytes
            self._add_header(b"content-length", b"%d" % nbytes)

    async def _release_start(self, whole: Message | None = None) -> None:
        """Send the start that was held; *whole* is the body, if all of it is known."""
        if self._start is None:
            return
        if whole is not None and self._passed_bytes == 0:
            self._set_length(self._start, whole)
        if not self.drain.under_way:
            self.drain.policy = self._control.policy
        if self._will_be_left and not _has_header(self._start, b"connection"):
            self._add_header(b"connection", b"close")
        start, self._start = self._start, None
        self._is_started = True
        await self._send(start)

    async def _release_full(self) -> None:
        """Send what was held because it might have been the last message."""
        if self._full is not None:
            full, self._full = self._full, None
            await self._release_start()
            await self._send(full)

    @property
    def _will_be_left(self) -> bool:
        """Whether it is known that the body will not be read to its end."""
        if self._scope.get("http_version", "1.1")[:1] != "1":
            return False  # RFC 9113 section 8.2.2: no connection-specific header fields
        drain = self.drain
        if drain.report is not None:
            return drain.report.outcome not in _LEFT_TO_THE_SERVER
        if drain.finished or self._control.policy is None:
            return False
        if self._awaits_invitation:
            return True
        # An application that has begun to read, and has not answered, may read the rest itself.
        return drain.doomed and (drain.untouched or self._is_closing)

    def _add_header(self, name: bytes, value: bytes) -> None:
        assert self._start is not None
        self._start = {
            **self._start,
            "headers": [*self._start.get("headers", ()), (name, value)],
        }

    # --- the body ------------------------------------------------------------------------------

    @property
    def _awaits_invitation(self) -> bool:
        # The application's first receive() invites, whatever comes of it.
        return self.drain.framing.expects_continue and not self._is_asked_for

    def _begin(self, *, may_receive: bool = True) -> Step:
        """Begin the drain; *may_receive* is False where that might invite the body even now."""
        self.drain.policy = self._control.policy
        now = anyio.current_time()
        step: Step
        if self._awaits_invitation and not may_receive and self.drain.policy is not None:
            step = self.drain.stop(Outcome.EXPECT_PENDING, now)
        else:
            keep_heap()
            step = self.drain.begin(now)
        if isinstance(step, DrainReport):
            self._finish(step)
        return step

    async def _discard_first(self) -> None:
        """Discard before (more of) the response is sent."""
        step = self._begin(may_receive=False)
        if isinstance(step, Read):
            await self._discard(step)

    async def _discard_alone(self) -> None:
        """Discard for a response that is not ours to order: the server's own."""
        if not self._settled and not self._is_closing:
            self._is_closing = True
            self._forget_ahead()
            try:
                await self._discard_first()
            finally:
                self._close()
        self._leave()

    def _discarding(self, step: Read) -> Callable[[], Coroutine[Any, Any, None]]:
        async def discard() -> None:
            await self._discard(step)

        return discard

    async def _discard(self, step: Step) -> None:
        """Discard until the drain ends, and report it. Raises no Exception."""
        drain = self.drain
        clock = _clock()
        while isinstance(step, Read):
            with anyio.CancelScope(deadline=clock() + step.wait_seconds) as waiting:
                step = await self._discard_within(waiting, clock)
            if waiting.cancelled_caught:
                step = drain.waited(clock())
        self._finish(step)

    async def _discard_within(self, waiting: anyio.CancelScope, clock: Callable[[], float]) -> Step:
        """Discard message by message, and move the deadline of *waiting* with each."""
        drain = self.drain
        inbox = self._inbox
        is_end_untold = self._order is Order.END_FIRST
        while True:
            try:
                if inbox.is_busy:
                    await inbox.wait()
                with inbox:
                    if drain.finished:
                        # The application was waiting for a message, and got the last.
                        return drain.received(0, more=False, now=clock())
                    message = await inbox.receive()
            except Exception as exc:
                return drain.stop(Outcome.ERROR, clock(), f"{type(exc).__name__}: {exc}")
            now = clock()
            if message["type"] != "http.request":
                return self._left(now)
            nbytes = len(message.get("body", b""))
            more = bool(message.get("more_body", False))
            del message
            if more and not nbytes:
                await anyio.sleep(_EMPTY_MESSAGE_PAUSE_SECONDS)
                now = clock()
            if is_end_untold and nbytes == drain.remaining_bytes:
                # granian does not tell of the body's end once the response has gone out.
                more = False
            step = drain.received(nbytes, more, now)
            if isinstance(step, DrainReport):
                return step
            deadline = now + step.wait_seconds
            # Not with each message, which costs as much as receiving it. A deadline that is too
            # early is found out by waited().
            if not deadline - step.wait_seconds / 8 <= waiting.deadline <= deadline:
                waiting.deadline = deadline

    def _left(self, now: float) -> Step:
        """Take note of a disconnect; behind the body's last byte it is the body's end."""
        drain = self.drain
        if drain.remaining_bytes == 0:
            # granian tells of it instead of the end, when the response went out before.
            return drain.received(0, more=False, now=now)
        return drain.disconnected(now)

    async def _read_ahead(self) -> None:
        """Take the body off the connection, and keep some of it; until cancelled or full."""
        policy = self._control.policy
        drain = self.drain
        if policy is None or self._awaits_invitation or self._is_full(policy.late_read_bytes):
            return
        self._late_read_bytes = policy.late_read_bytes
        step = self._begin()
        if isinstance(step, DrainReport):
            return
        try:
            while isinstance(step, Read):
                message, body, more = None, b"", True
                with anyio.move_on_after(step.wait_seconds):
                    await self._inbox.wait()
                    with self._inbox:
                        if drain.finished or self._is_full(policy.late_read_bytes):
                            return
                        message = await self._inbox.receive_or_leave()
                        # Kept before anybody else may receive, or the order would be lost.
                        body = message.get("body", b"")
                        more = bool(message.get("more_body", False))
                        if message["type"] == "http.request":
                            self._keep(body, more, policy.late_read_bytes)
                now = anyio.current_time()
                if message is None:
                    step = drain.waited(now)
                elif message["type"] != "http.request":
                    step = self._left(now)
                else:
                    step = drain.received(len(body), more, now)
                    if more and not body:
                        await anyio.sleep(_EMPTY_MESSAGE_PAUSE_SECONDS)
            self._finish(step)
        except Exception as exc:
            now = anyio.current_time()
            self._finish(drain.stop(Outcome.ERROR, now, f"{type(exc).__name__}: {exc}"))
        finally:
            if drain.under_way:
                drain.pause(anyio.current_time())

    def _is_full(self, limit_bytes: int) -> bool:
        """Whether to read no further: the application has begun to read and will want the rest."""
        return not self.drain.untouched and len(self._ahead) + self._largest_bytes > limit_bytes

    def _keep(self, body: bytes, more: bool, limit_bytes: int) -> None:
        """Keep what fits, in order; nothing is kept behind a gap.

        An application that has begun to read loses nothing: `_is_full` stopped in time, unless
        this message is larger than every one before.
        """
        if self._lost_bytes:
            self._lost_bytes += len(body)
            return
        fits = limit_bytes - len(self._ahead)
        self._largest_bytes = max(self._largest_bytes, len(body))
        if len(body) > fits and self.drain.untouched:
            self._lost_bytes = len(body) - fits
            body, more = body[:fits], True
        self._ahead += body
        self._ahead_ended = not more

    def _forget_ahead(self) -> None:
        self._ahead = bytearray()
        self._ahead_ended = False

    async def _swallow(self) -> None:
        """Make room in the server's queue while it sends the last message; until cancelled.

        Not for ever: the client may read nothing, so that the message is never sent, and go on
        sending.
        """
        swallowed_bytes = 0
        while swallowed_bytes < _MOST_SWALLOWED_BYTES:
            try:
                await self._inbox.wait()
                with self._inbox:
                    message = await self._inbox.receive()
            except Exception:
                return
            if message["type"] != "http.request":
                return
            swallowed_bytes += len(message.get("body", b""))
            if not message.get("body", b""):
                await anyio.sleep(_EMPTY_MESSAGE_PAUSE_SECONDS)

    def _finish(self, step: Step) -> None:
        assert isinstance(step, DrainReport)
        if self._is_closing or self._lost_bytes:
            self._leave()
        publish(step, self._on_report, anyio.current_time())


def _clock() -> Callable[[], float]:
    """Return anyio's clock; `anyio.current_time` finds out with each call what is running."""
    try:
        return asyncio.get_running_loop().time
    except RuntimeError:
        return anyio.current_time


def _has_header(message: Message, name: bytes) -> bool:
    return any(other.lower() == name for other, _ in message.get("headers", ()))


def _joined(first: Message, second: Message) -> Message:
    """Return two body messages as one."""
    return {**second, "body": bytes(first.get("body", b"")) + bytes(second.get("body", b""))}
