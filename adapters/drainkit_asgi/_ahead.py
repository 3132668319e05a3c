"""What is read of a body before its application asks for it, and kept for that.

Rule: a `Gate` holds where the application's next message comes from; no other state tells.
"""

from __future__ import annotations

import enum

import anyio

from drainkit import DrainReport, Kept, Outcome, Read, Step

from ._body import EMPTY_MESSAGE_PAUSE_SECONDS, Body
from ._messages import REQUEST, is_empty
from ._types import Message


class Gate(enum.Enum):
    """Where the application's next message comes from."""

    UNANSWERED = "unanswered"
    """From the server: the application has neither answered nor read to the end."""
    SERVER = "server"
    """From the server: the application reads, and nobody else has."""
    CAME = "came"
    """From what had come when the answer began, which was the whole rest."""
    KEPT = "kept"
    """From what was read ahead."""
    GAP = "gap"
    """From nowhere: what comes next was discarded."""
    ANSWERED = "answered"
    """From nowhere yet: the application's last ``send()`` is under way."""
    OVER = "over"
    """It is the disconnect."""

    # Looked up in a set by every report; Enum's own is a function in Python.
    __hash__ = object.__hash__


# What every request looks up, which is slow in an enum before Python 3.12.
UNANSWERED, SERVER, CAME = Gate.UNANSWERED, Gate.SERVER, Gate.CAME
ANSWERED, OVER = Gate.ANSWERED, Gate.OVER


class Ahead(Body):
    """The body of one request, and what is kept of it.

    Attributes:
        gate: Where the application's next message comes from.
    """

    # Set by `Exchange`, as in `Inbox`.
    gate: Gate
    _kept: Kept | None
    _largest_bytes: int

    __slots__ = ("_kept", "_largest_bytes", "gate")

    def _forget_kept(self) -> None:
        """Keep nothing any more: nobody can ask."""
        if self._kept is not None:
            self._kept.lose()
            self._kept = None

    async def read_ahead(self, *, is_sending: bool = True) -> None:
        """Take the body off the connection, and keep some of it; until stopped or full.

        Args:
            is_sending: Whether a piece of the answer is being sent meanwhile, and not behind it.
        """
        drain = self.drain
        kept = self._kept_ahead()
        if kept is None or self._is_full or not await self._make_room(kept, is_sending):
            return
        step: Step | None = self._begin()
        if isinstance(step, DrainReport):
            kept.settle()
            return
        try:
            while isinstance(step, Read) and not self._is_full:
                step = await self._read_one_ahead(kept, step)
            if isinstance(step, DrainReport):
                self.report(step)
        except Exception as exc:
            now = self._clock()
            self.report(drain.stop(Outcome.ERROR, now, f"{type(exc).__name__}: {exc}"))
        finally:
            kept.settle()
            if drain.under_way:
                drain.pause(self._clock())

    async def _make_room(self, kept: Kept, is_sending: bool) -> bool:
        """Make room for what is read; tell whether to read on although there may be none.

        Not at once: a client that reads frees the ``send()`` that waits. One that reads nothing for
        as long as a client may be silent would never have the answer, so the body is discarded.
        """
        drain = self.drain
        if kept.reserve(drain.remaining_bytes):
            return True
        if is_sending:
            await anyio.sleep(drain.idle_seconds)
            if kept.reserve(drain.remaining_bytes):
                return True
        if drain.untouched:
            kept.crowd_out()
        return drain.untouched

    def _kept_ahead(self) -> Kept | None:
        """Return what keeps a body that is read ahead; ``None`` where nothing may be read."""
        drain = self.drain
        policy = drain.policy
        if policy is None or not drain.invited or drain.settled:
            return None
        if self._kept is None:
            self._kept = Kept(policy.late_read_bytes)
        self._kept.expect(self._largest_bytes)
        return self._kept

    @property
    def _is_full(self) -> bool:
        """Whether to read no further: the application has begun to read and will want the rest."""
        kept = self._kept
        return self.drain.finished or (
            kept is not None and kept.is_full and not self.drain.untouched
        )

    async def _read_one_ahead(self, kept: Kept, step: Read) -> Step | None:
        message: Message | None = None
        with anyio.move_on_after(step.wait_seconds):
            await self._wait_until_free()
            if self._is_full:
                return step  # the application has received meanwhile
            if self.drain.under_way:
                with self:
                    message = await self._next_or_leave()
                    # Kept before anybody else may receive, or the order would be lost.
                    self._keep(kept, message)
        if not self.drain.under_way:
            return None  # the application's receive() failed, and that was told
        if message is None:
            return self.drain.waited(self._clock())
        next_step = self._took(message, self._clock())
        if is_empty(message):
            await anyio.sleep(EMPTY_MESSAGE_PAUSE_SECONDS)
        return next_step

    def _keep(self, kept: Kept, message: Message) -> None:
        if message["type"] != REQUEST and self.drain.remaining_bytes != 0:
            # It is the application's next message, as it would be without drainkit.
            self.gate = Gate.OVER
            self._forget_kept()
            return
        more: bool = message.get("more_body", False)
        kept.add(message.get("body", b""), more=more, may_lose=self.drain.untouched)
        if kept or kept.has_ended:
            self.gate = Gate.KEPT
        elif kept.lost_bytes:
            self.gate = Gate.GAP
