"""The measurement: a request without a body first, then one upload after the other.

Rule 1: one connection at a time; each has ended before the next begins.
Rule 2: every wait has an end, and no more bytes are sent than the plan says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Literal

from drainkit_clients import Answer, Connection, Ended, Upload, unreachable

from ._answered import check_answered, check_moved
from ._dial import Dial, no_http2
from ._plan import Cell, Plan
from ._target import Family, NotTestedError, Target

if TYPE_CHECKING:
    from drainkit_clients.http2 import Http2Connection

# "client": the server had left the connection open when we closed it.
End = Literal["client", "fin", "reset", "timeout", "tls-alert", "refused"]

# How long a server may take to close what it has announced to close; longer says nothing more.
_CLOSE_SECONDS = 2.0
# Statuses that a server gives to bytes which are no request, as the rest of a body is none.
_NO_REQUEST = frozenset({400, 405, 411, 414, 417, 431, 501, 505})


class Reuse(Enum):
    """What became of the connection after an answer."""

    AGAIN = "used again"
    ANNOUNCED = "closed as announced"
    SILENT = "closed unannounced"
    GARBLED = "took leftover body for a request"
    UNTRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Preflight:
    """What a request without a body found.

    Attributes:
        address: The IP address that every connection goes to.
        answer: The answer to it.
        offers_http2: Whether the server chooses HTTP/2 where it may; False without TLS.
    """

    address: str
    answer: Answer = field(repr=False)
    offers_http2: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One upload and what became of it.

    Attributes:
        cell: What was sent.
        number: Which try it was, from 1.
        answer: What the client got.
        end: How the connection ended.
        reuse: What became of the connection after the answer.
    """

    cell: Cell
    number: int
    answer: Answer = field(repr=False)  # the other side may have echoed what is secret
    end: End
    reuse: Reuse

    @property
    def early(self) -> bool:
        """Whether an answer lay ready before the whole body was sent."""
        sent = self.answer.sent_at_noticed_bytes
        return sent is not None and sent < self.cell.size_bytes


@dataclass(slots=True)
class Run:
    """A run: where to, what, and what was seen so far.

    Attributes:
        target: The endpoint.
        plan: What is sent.
        family: 4 or 6 for that version of IP only, None for either.
        insecure: Whether any TLS certificate is accepted.
        addresses: The endpoint's addresses, in the order in which they are tried; () before they
            were looked up.
        preflight: What the request without a body found; None before it was made.
        attempts: The uploads so far.
        began: When the run was made, in UTC.
    """

    target: Target
    plan: Plan
    family: Family | None = None
    insecure: bool = False
    addresses: tuple[str, ...] = ()
    preflight: Preflight | None = None
    attempts: list[Attempt] = field(default_factory=list)
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def _dial(self) -> Dial:
        return Dial(self.target, self.plan, self.insecure)

    def resolve(self) -> tuple[str, ...]:
        """Look up the endpoint's addresses, and keep them; nothing is sent to it.

        Raises:
            NotTestedError: It has none.
        """
        self.addresses = self.target.resolve(self.family)
        return self.addresses

    def look(self) -> Preflight:
        """Make one request without a body, and keep what it found; `resolve` comes first.

        Raises:
            NotTestedError: Nobody there speaks HTTP as the plan does, or the endpoint is elsewhere.
        """
        if self.plan.speaks_http2 and self.target.scheme == "http":
            raise NotTestedError(
                "http2", "HTTP/2 is probed over TLS only; give an https:// URL, or other --ways"
            )
        dial = self._dial
        failure: NotTestedError | None = None
        for address in self.addresses:
            try:
                connection = dial.connect(address, self.plan.ways[0])
            except OSError as error:
                failure = failure or dial.unreachable(error)
                continue
            with connection:
                answer = connection.strict(
                    dial.bodiless("close"), timeout_seconds=self.plan.timeout_seconds
                )
            check_answered(self.target, self.plan, answer)
            offers_http2 = dial.offers_http2(address)
            if self.plan.speaks_http2 and not offers_http2:
                raise no_http2()
            self.preflight = Preflight(address, answer, offers_http2)
            return self.preflight
        raise failure or NotTestedError("dns", "the host has no address")

    def upload(self, tell: Callable[[Attempt], object] | None = None) -> None:
        """Make every upload of the plan; `look` comes first.

        Args:
            tell: Told of each upload when it is over; None tells nobody.

        Raises:
            NotTestedError: The endpoint sends uploads elsewhere, or the file that is the body
                cannot be read any more.
        """
        for cell, number in self.plan.each():
            try:
                attempt = self._attempt(cell, number)
            except OSError as error:
                # A failure of the network is a value of the clients; only the body is left.
                raise NotTestedError("body", f"the body cannot be read: {error}") from error
            if attempt.answer.delivered:
                check_moved(self.target, attempt.answer)
            self.attempts.append(attempt)
            if tell is not None:
                tell(attempt)

    def _attempt(self, cell: Cell, number: int) -> Attempt:
        assert self.preflight is not None  # look() comes first
        try:
            connection = self._dial.connect(self.preflight.address, cell.way)
        except OSError as error:
            return Attempt(cell, number, unreachable(error), "refused", Reuse.UNTRIED)
        upload = self.plan.upload(cell, self.target.request_target, self._dial.headers())
        longest = self.plan.longest_seconds(cell)
        send = {"strict": connection.strict, "eager": connection.eager}[cell.client.name]
        with connection:
            answer = send(upload, timeout_seconds=longest, stall_seconds=self.plan.timeout_seconds)
            if isinstance(connection, Connection):
                end, reuse = self._afterwards(connection, answer, upload)
            else:
                end, reuse = self._afterwards_over_http2(connection, answer)
        return Attempt(cell, number, answer, end, reuse)

    def _afterwards(
        self, connection: Connection, answer: Answer, upload: Upload
    ) -> tuple[End, Reuse]:
        """See what the connection is good for once the answer is here."""
        if not answer.delivered:
            return _ended(answer.ended), Reuse.UNTRIED
        if answer.ended != "open":
            return _ended(answer.ended), Reuse.ANNOUNCED
        if answer.sent_bytes < upload.size_bytes:
            # Whoever stops in the middle of a body has to close the connection.
            return "client", Reuse.UNTRIED
        if _closes(answer) or upload.connection == "close":
            rest = connection.rest(timeout_seconds=min(_CLOSE_SECONDS, self.plan.timeout_seconds))
            garbled = rest.data.startswith(b"HTTP/1.")
            return _ended(rest.ended), Reuse.GARBLED if garbled else Reuse.ANNOUNCED
        return self._again(connection, answer)

    def _again(self, connection: Connection, answer: Answer) -> tuple[End, Reuse]:
        """Use the connection again, since nothing said that it ends."""
        second = connection.strict(
            self._dial.bodiless("keep-alive"), timeout_seconds=self.plan.timeout_seconds
        )
        if not second.delivered:
            return _ended(second.ended), Reuse.SILENT
        assert self.preflight is not None
        unlike = second.status != self.preflight.answer.status
        garbled = answer.excess.startswith(b"HTTP/1.") or (unlike and second.status in _NO_REQUEST)
        return _ended(second.ended), Reuse.GARBLED if garbled else Reuse.AGAIN

    def _afterwards_over_http2(
        self, connection: Http2Connection, answer: Answer
    ) -> tuple[End, Reuse]:
        """See whether the connection takes another request, as it has to unless it says so."""
        if not answer.delivered:
            return _ended(answer.ended), Reuse.UNTRIED
        if connection.is_leaving:
            return _ended(answer.ended), Reuse.ANNOUNCED
        second = connection.strict(
            self._dial.bodiless("keep-alive"), timeout_seconds=self.plan.timeout_seconds
        )
        return _ended(second.ended), Reuse.AGAIN if second.delivered else Reuse.SILENT


def _closes(answer: Answer) -> bool:
    """Whether the answer says that the connection ends with it (RFC 9112 section 9.3)."""
    said = (answer.header("connection") or "").lower()
    return "close" in said or (answer.version == "1.0" and "keep-alive" not in said)


def _ended(ended: Ended) -> End:
    return "client" if ended == "open" else ended
