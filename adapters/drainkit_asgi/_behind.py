"""An answer of one piece that passes as it is, and a small body that is received behind it.

granian's ``receive()`` tells nothing at once, not even of a body that came with its header fields,
as most do. So the request itself waits for the one message that such a body is. What only a longer
drain needs is made if that message is not the whole body, or does not come soon.

Rule 1: the application is let go with its answer. If it then goes on, a job receives the body.
Rule 2: a body that does not come soon is a drain like any other, from the moment of the answer.
Rule 3: a start is held until it is known whether one piece follows, where the server holds it, too.
"""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

from drainkit import (
    RESPONSE_BUFFER_BYTES,
    Outcome,
    Read,
    is_heard,
    process_capacity,
)

from ._ahead import ANSWERED, SERVER, UNANSWERED
from ._jobs import AsyncioJobs, Job
from ._messages import BODY, REQUEST, START, may_be_event_stream, nbytes_of
from ._passing import Passing
from ._types import Message
from ._watch import Watch, watch_of


class Behind(Passing):
    """The body of one request, an answer that passes it by, and what is received behind that."""

    # Set by `Exchange`, as in `Inbox`.
    _behind_job: Job | None
    _held: Message | None
    _watch: Watch | None
    # Set when the start is held.
    _declared_bytes: int
    # Set when the answer has passed.
    context: contextvars.Context
    _answered_at: float
    _timer: asyncio.TimerHandle | None

    __slots__ = (
        "_answered_at",
        "_behind_job",
        "_declared_bytes",
        "_held",
        "_timer",
        "_watch",
        "context",
    )

    def _hold_if_small(self, message: Message) -> bool:
        """Hold the answer's start, if the body is small and may be received behind the answer.

        A proxy that reads no further behind an answer (`moments_behind`) has sent so small a body.

        Returns:
            Whether it is held.
        """
        if (
            not self._server.takes_behind
            or message["type"] != START
            or self.gate is not UNANSWERED
            or self._is_busy
            or self._loop is None
            or self._scope.get("http_version", "1.1")[:1] != "1"
            or message.get("trailers", False)
            or may_be_event_stream(message)
        ):
            return False
        length = self._small_bytes
        if length is None:
            return False
        self._declared_bytes = length
        self._held = message
        self.gate = SERVER
        return True

    def _may_pass_behind(self, message: Message) -> bool:
        """Tell whether this is the only piece of the answer, and may pass."""
        policy = self._control.policy
        if (
            message["type"] != BODY
            or message.get("more_body", False)
            or nbytes_of(message) > RESPONSE_BUFFER_BYTES
            or policy is None
            or self._small_bytes is None  # the application may have set another policy
        ):
            return False
        if not process_capacity.active:
            return True  # as a rule; the bound takes a while to find out
        most = policy.max_concurrent
        return process_capacity.active < (
            self._server.defaults.max_concurrent if most is None else most
        )

    async def _pass_behind(self, message: Message) -> None:
        """Send the whole answer, and begin to receive the body."""
        loop, start = self._loop, self._held
        assert loop is not None  # _hold_if_small() has looked
        assert start is not None
        self._start, self._held = start, None
        self.before_receive = None
        self.gate = ANSWERED
        try:
            await self._send(start)
            await self._send(message)
        except OSError as exc:
            self._stop_behind(Outcome.DISCONNECTED, str(exc))
            raise
        except Exception:
            self._start = None  # the server refused it, and another answer may follow
            raise
        except BaseException:
            self._stop_behind(Outcome.ERROR, "cancelled")
            raise
        finally:
            self.over()
        self._answered_at = now = loop.time()
        try:
            pending: Any = self._receive()
        except Exception as exc:
            self._stop_behind(Outcome.ERROR, f"{type(exc).__name__}: {exc}")
            return
        if not asyncio.isfuture(pending):  # something of another kind than the row tells of
            pending = asyncio.ensure_future(pending)
        self._pending = pending
        self._timer = None
        self.context = contextvars.copy_context()
        self._watch = watch = watch_of(loop)
        watch.add(self, now)

    def waited(self) -> None:
        """See to a body that has not come soon, and to an application that has not returned."""
        loop, drain = self._loop, self._opened
        pending: Any = self._pending  # a future: _pass_behind() has seen to that
        assert loop is not None  # _hold_if_small() has looked
        if not self._is_busy:
            self._behind_job = AsyncioJobs(loop).start(self._receive_behind)
        if pending.done():
            return
        if drain is None:
            drain = self.open_drain()
            self._begin(at=self._answered_at)
        if drain.under_way:
            step = drain.waited(loop.time())
            if isinstance(step, Read):
                self._timer = loop.call_later(step.wait_seconds, self.waited)
                return
            self.report(step)
        pending.cancel()

    async def _receive_behind(self) -> None:
        """Receive the body, discard it, and tell of it."""
        pending: Any = self._pending
        self._is_busy = True
        try:
            message = await pending
        except asyncio.CancelledError:
            if self._opened is not None and self._opened.report is not None:
                return  # a bound has ended the wait, and has been told of
            raise
        except Exception as exc:
            self._stop_behind(Outcome.ERROR, f"{type(exc).__name__}: {exc}")
            return
        finally:
            self._is_busy = False
        self._wait_no_longer()
        self._pending = None
        if message["type"] == REQUEST and self._opened is None:
            nbytes = nbytes_of(message)
            is_whole = self._bytes_read + nbytes == self._declared_bytes
            if is_whole or not message.get("more_body", False):
                if is_heard(self._on_report):
                    self.report(self.open_drain().received_rest(nbytes, self._clock()))
                self.is_taken = True
                return
        await self._discard_from(message)

    async def _discard_from(self, message: Message) -> None:
        """Discard a body of which this is the next message, and perhaps not the last."""
        drain = self.open_drain()
        if drain.report is None and not drain.under_way:
            self._begin(at=self._answered_at)
        if drain.under_way:
            await self.discard(self._took(message, self._clock()))
        self.is_taken = True

    def _stop_behind(self, outcome: Outcome, detail: str) -> None:
        """End the drain, which may not have begun."""
        self._wait_no_longer()
        drain = self.open_drain()
        if drain.report is None:
            self.report(drain.stop(outcome, self._clock(), detail))

    def _wait_no_longer(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.since.pop(self, None)
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def end(self) -> None:
        """Give up whatever is still under way: the request is over."""
        if self._watch is not None:
            self._stop_behind(Outcome.ERROR, "cancelled")
        super().end()
