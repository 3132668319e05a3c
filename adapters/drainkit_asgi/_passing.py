"""An answer that passes as it is, because the whole body has come already.

Most early answers are to small bodies that came in the packet of their headers: a 401 or a 422 to a
JSON document. Such a body is taken off the server when its answer begins. So nothing of the answer
has to wait for it, and nothing is made that only a drain needs.

Rule 1: nothing waits for a body. What has not come is left to a `Response`.
Rule 2: what was taken is the application's until it has answered: its next messages, in order.
Rule 3: it is told of as any other drain is, if anybody hears.
"""

from __future__ import annotations

from drainkit import Outcome, is_heard

from ._ahead import ANSWERED, CAME, SERVER, UNANSWERED
from ._channel import Channel
from ._messages import BODY, LAST_MESSAGES, is_plainly_chunked, nbytes_of, plain_length
from ._types import Message
from ._upload import Upload

# As much as the servers hold for an application that has not asked, so that none is held in
# addition.
_SMALL_BYTES = 65_536


class Passing(Upload):
    """The body of one request, and an answer that passes it by."""

    # Set by `Exchange`, as in `Inbox`.
    _channel: Channel | None

    __slots__ = ("_channel",)

    def _gather_from_channel(self) -> bool:
        """Gather a small body that has come before the application is called.

        Under trio only: no task and no nursery is needed for the rest of such a request.

        Returns:
            Whether all of it has come.
        """
        length = self._small_bytes
        if (
            length is None
            or not self._server.is_channel
            # Later versions have an end of its own, which hypercorn must not get for a stream that
            # it has forgotten.
            or self._scope.get("http_version", "1.1")[:1] != "1"
        ):
            return False
        channel = Channel(self._receive)
        has_come = channel.gather(length)
        self._receive = channel.receive  # what was taken is the next
        if has_come:
            self._channel = channel
        return has_come

    def _let_pass(self) -> bool:
        """Let the answer pass as it is, if the whole body has come; with its start, gather that.

        Returns:
            Whether it passes.
        """
        if self.gate is not UNANSWERED:
            return self.is_taken or self.gate is not SERVER or self._channel is not None
        if self._on_report is not None:
            self.answered()
        if self._channel is not None:
            # Its end may not have come yet, but its bytes have.
            self._came = self._channel.came
            self.gate = CAME if self._came else SERVER
            self.is_taken = not self._came
            return True
        if not self._server.is_stepped or self._is_busy or self._loop is None:
            return False
        most_bytes = self._small_bytes
        if most_bytes is None:
            most_bytes = self._most_of_chunked
            if most_bytes is None:
                return False
        try:
            has_come = self._gather(most_bytes)
        except Exception as exc:
            detail = f"{type(exc).__name__}: {exc}"
            self.report(self.open_drain().stop(Outcome.ERROR, self._clock(), detail))
            return False
        if has_come:
            self.gate = CAME
        return has_come

    @property
    def _small_bytes(self) -> int | None:
        """How long the whole body is, if it is small, and the policy allows it; else ``None``."""
        length = plain_length(self._fields)
        if length is None or length > _SMALL_BYTES:
            return None
        policy = self._control.policy
        if policy is None or (policy.max_bytes is not None and length > policy.max_bytes):
            return None
        return length

    @property
    def _most_of_chunked(self) -> int | None:
        """How much of a chunked body may be taken to see whether it is small; else ``None``."""
        policy = self._control.policy
        if (
            policy is None
            or policy.max_bytes == 0
            or not is_plainly_chunked(self._fields)
            or self._scope.get("http_version", "1.1") != "1.1"
        ):
            return None
        return _SMALL_BYTES if policy.max_bytes is None else min(_SMALL_BYTES, policy.max_bytes)

    def _is_last(self, message: Message) -> bool:
        """Tell whether a message is the end of the answer."""
        kind = message["type"]
        if kind == BODY:
            if message.get("more_body", False):
                return False
            return self._start is None or not self._start.get("trailers", False)
        return kind in LAST_MESSAGES and not message.get(LAST_MESSAGES[kind], False)

    def _discard_what_came(self) -> None:
        self.gate = ANSWERED
        came, self._came = self._came or (), None
        policy = self._control.policy
        if policy is None or policy.max_bytes == 0 or is_heard(self._on_report):
            drain = self.open_drain()
            nbytes = sum(nbytes_of(message) for message in came)
            self.report(drain.received_rest(nbytes, self._clock()))
        self.is_taken = True
