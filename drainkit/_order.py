"""What of the answer goes out before the body is discarded, and what behind it.

An answer's last piece has two halves, its bytes and its end. The body can be discarded before both,
between them, or behind both; nothing else is possible. Which of the three is right is a fact of the
server (`Moments`). `Order` is told of the answer piece by piece and says what to do with each
(`Plan`); a shell has one short method for each plan.

Rule 1: sans-IO. It is told sizes, and never has a byte of the answer.
Rule 2: what depends on the server stands in a `Moments`, and in no condition here.
Rule 3: how far the answer has come is held (`_answer.Stage`), never worked out from other state.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from ._answer import RESPONSE_BUFFER_BYTES, Answer, Stage, is_error
from ._drain import Drain


class Moment(enum.Enum):
    """When the body is discarded, seen from the two halves of the answer's last piece."""

    FIRST = "first"
    """Before the piece: right on every server, and slow for clients that read while they send."""
    BETWEEN = "between"
    """Behind the piece's bytes, and before the end of the answer."""
    BEHIND = "behind"
    """Behind the end of the answer."""
    NEVER = "never"
    """Not at all: the first read would invite a body that the client holds back."""

    # A key of tables that every early answer looks into; Enum's own is a function in Python.
    __hash__ = object.__hash__


class Plan(enum.Enum):
    """What a shell does with the piece that it has just told of."""

    HOLD = "hold"
    """Keep it: it is not known yet whether it is the last, and that matters."""
    PASS = "pass"
    """Send it."""
    READ_AHEAD = "read ahead"
    """Send it, and read the body ahead meanwhile: it fits no buffer between two sockets."""
    READ_AHEAD_FIRST = "read ahead first"
    """Read the body ahead, then send it."""
    DISCARD_FIRST = "discard first"
    """The last piece: discard, then send it and end."""
    DISCARD_BETWEEN = "discard between"
    """The last piece: send its bytes, discard, then end."""
    DISCARD_BEHIND = "discard behind"
    """The last piece: send it and end, then discard."""
    END = "end"
    """The last piece: send it and end; nothing is left to discard, or nothing may be read."""

    __hash__ = object.__hash__  # as above


@dataclass(frozen=True, kw_only=True, slots=True)
class Moments:
    """When one server may discard, for each kind of last piece.

    Attributes:
        whole: For an answer that is one piece.
        pieces: For the last of several.
        small_error: For an answer of 400 or above that is one piece and fits a socket's buffer.
            ``None`` is *whole*.
        big: For an answer that is one piece and fits no socket's buffer. ``None`` is *whole*.
        uninvited: For a body that waits for an invitation. ``None`` is as for any other body, but
            `Moment.NEVER` where it would be `Moment.FIRST` and no content has been sent.
        pieces_with_status: Statuses with which a whole answer counts as *pieces*.
        holds_full: The server may end the answer by itself when Content-Length is reached. A piece
            that reaches it is held until it is known whether it is the last.
        is_discarded_by_server: The server itself reads away what is left of the body, without a
            bound, before it sends the first bytes, unless it is told to close; not with a status
            of *pieces_with_status*. An application that sends a piece may still want to read.
        always: The moment of every last piece; ``None`` where it depends on the piece or on the
            status. It is worked out from the others.
    """

    whole: Moment
    pieces: Moment
    small_error: Moment | None = None
    big: Moment | None = None
    uninvited: Moment | None = None
    pieces_with_status: frozenset[int] = frozenset()
    holds_full: bool = False
    is_discarded_by_server: bool = False
    always: Moment | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        kinds = {self.whole, self.pieces, self.small_error, self.big} - {None}
        # So that most answers cost a look and no call; the class is frozen to everybody else.
        object.__setattr__(self, "always", self.whole if len(kinds) == 1 else None)

    def of_any_piece(self, status: int | None) -> Moment | None:
        """Return when a body that comes by itself is discarded, whatever the last piece is.

        Args:
            status: The status code of the answer; ``None`` when it is none.

        Returns:
            The moment; ``None`` where it depends on the piece.
        """
        return self.pieces if status in self.pieces_with_status else self.always

    def of_last_piece(self, status: int | None, nbytes: int, passed_bytes: int) -> Moment:
        """Return when a body that comes by itself is discarded, for a last piece.

        Args:
            status: The status code of the answer; ``None`` when it is none.
            nbytes: The bytes of the piece.
            passed_bytes: The bytes of the answer before it.
        """
        if self.always is not None:
            return self.always
        if passed_bytes or status in self.pieces_with_status:
            return self.pieces
        if nbytes > RESPONSE_BUFFER_BYTES:
            return self.big or self.whole
        if nbytes and is_error(status):
            return self.small_error or self.whole
        return self.whole


DISCARD_FIRST = Moments(
    whole=Moment.FIRST, pieces=Moment.FIRST, uninvited=Moment.NEVER, holds_full=True
)
"""Right on every server; for those of which nothing is known."""

_LAST_PLANS = {
    Moment.FIRST: Plan.DISCARD_FIRST,
    Moment.BETWEEN: Plan.DISCARD_BETWEEN,
    Moment.BEHIND: Plan.DISCARD_BEHIND,
    Moment.NEVER: Plan.END,
}


class Order(Answer):
    """What goes out when, of the answer to a request whose body the application has not read.

    A shell tells it of the answer (`start`, then `piece` for each piece) and does what the plan
    says; it tells what it did with `released`, `passed`, `ended` and `cut`.

    1. A start is held until the first piece tells which headers it needs, or until the shell will
       wait no longer.
    2. So is a small error without a length, to see whether it is the whole answer. Clients such as
       curl stop sending when they see the status, and wait for the end of the answer. With a
       Content-Length they see that at once, although it goes out behind the body.
    3. More than a socket's buffer holds is sent only while the body is read, or behind it: many a
       client reads nothing before it has sent everything.
    4. The last piece goes out as the server's `Moments` say.

    Attributes:
        stage: How far the answer has come.
        status: Its status code; ``None`` until it is known.
        length: Its Content-Length; ``None`` when there is none.
        passed_bytes: Bytes of its content that have been sent, or are being sent.
        client_is_quiet: Whether the client has stopped sending. Then it reads.
        is_patient: Whether the shell will hold a piece for a while to see whether it is the last.
            When it waits no longer, it sets this to false and asks again.
    """

    __slots__ = ("_moments", "_sends_while_reading", "client_is_quiet", "is_patient")

    def __init__(self, drain: Drain, moments: Moments, *, sends_while_reading: bool) -> None:
        """Begin before the answer.

        Args:
            drain: The drain of the request's body.
            moments: What the server allows.
            sends_while_reading: Whether the shell can send a piece and read the body at once, as
                under ASGI; under WSGI it can do one of the two.
        """
        super().__init__(drain)
        self._moments = moments
        self._sends_while_reading = sends_while_reading
        self.client_is_quiet = False
        self.is_patient = True

    def start(self, status: int | None, length: int | None, *, has_trailers: bool = False) -> Plan:
        """Take note of the answer's start.

        Args:
            status: The status code; ``None`` when the application gave something else.
            length: The Content-Length; ``None`` when there is none.
            has_trailers: Whether trailers follow the content, so that no piece is the end.

        Returns:
            `Plan.HOLD`, or `Plan.PASS` when nothing is left to do about the body. A start with a
            length passes, too, where nothing is sent while the body is read: no piece can tell
            more of what such an answer needs.
        """
        self.status = self._drain.status = status
        self.length = length
        self._has_trailers = has_trailers
        if self._drain.settled or (length is not None and not self._sends_while_reading):
            self.stage = Stage.OPEN
            return Plan.PASS
        self.stage = Stage.HELD
        return Plan.HOLD

    def piece(self, nbytes: int, *, more: bool) -> Plan:
        """Say what to do with a piece of the answer.

        Args:
            nbytes: Its bytes, with those of what was held before it.
            more: Whether another piece may follow.
        """
        if not (more or self._has_trailers):
            return self.end(nbytes)
        if self._drain.settled:
            return Plan.PASS
        total = self.passed_bytes + nbytes
        if self._sends_while_reading:
            return self._piece_beside_reading(total)
        if self.length is not None and total >= self.length:
            return self.end(nbytes)  # nobody needs to wait for the application to say so
        # An application that has begun to read may read between two pieces, and its client may
        # wait for the first of them: a read that blocks would wait for that client.
        if total > RESPONSE_BUFFER_BYTES and self._drain.untouched:
            return Plan.READ_AHEAD
        return Plan.PASS

    def _piece_beside_reading(self, total: int) -> Plan:
        """Say what to do with a piece that another may follow, if sending it waits for nobody.

        Args:
            total: The bytes of the answer with this piece.
        """
        if total == self.length and self._moments.holds_full:
            return self._full()
        if total <= RESPONSE_BUFFER_BYTES and self.may_become_whole:
            return Plan.HOLD
        if self._must_read_first():
            return Plan.READ_AHEAD_FIRST
        return Plan.READ_AHEAD if total > RESPONSE_BUFFER_BYTES else Plan.PASS

    def end(self, nbytes: int) -> Plan:
        """Say what to do with the last piece of the answer.

        Args:
            nbytes: Its bytes, with those of what was held before it.
        """
        return self._end(self._moment(nbytes))

    @property
    def moment_at_end(self) -> Moment:
        """When the body is discarded, seen from the end of an answer whose bytes are all sent.

        Also of a body that is settled: a server that reads on before it ends the answer does so
        behind a drain that has ended at a bound, too.
        """
        return self._moment(0)

    def _moment(self, nbytes: int) -> Moment:
        """Return when a body that comes by itself is discarded, for a last piece of this size."""
        if self._would_block(nbytes):
            return Moment.FIRST
        return self._moments.of_last_piece(self.status, nbytes, self.passed_bytes)

    def end_with_trailers(self) -> Plan:
        """Say what to do with trailers, which are the end of an answer that has them."""
        return self._end(self._moments.pieces if self.passed_bytes else self._moments.whole)

    def end_with_file(self) -> Plan:
        """Say what to do before a file that the server sends by itself.

        The body goes first: nobody tells when such a file has been sent.
        """
        return self._end(Moment.FIRST)

    def _end(self, moment: Moment) -> Plan:
        if self._drain.settled:
            return Plan.END
        self.stage = Stage.ENDING
        if not self._drain.invited:
            if self._moments.uninvited is not None:
                moment = self._moments.uninvited
            elif moment is Moment.FIRST and not self.passed_bytes:
                moment = Moment.NEVER
        return _LAST_PLANS[moment]

    def stream(self) -> Plan:
        """Say what to do before the first piece of an answer that will come in pieces.

        Only a shell needs to ask that cannot send while it reads, and cannot end a read at a
        deadline. Then nothing may be read between two pieces: a client that stops sending at an
        error status (curl) would wait for the second piece, and the server for the client.

        Returns:
            `Plan.READ_AHEAD_FIRST` or `Plan.PASS`.
        """
        if self._drain.settled or not self._drain.untouched:
            return Plan.PASS
        if self.length is None or (is_error(self.status) and self._moments.pieces is Moment.FIRST):
            must = is_error(self.status)
        else:
            must = self.length > RESPONSE_BUFFER_BYTES
        return Plan.READ_AHEAD_FIRST if must else Plan.PASS

    def is_too_much(self, nbytes: int) -> bool:
        """Tell whether an error that is held has become more than is worth holding.

        Args:
            nbytes: Bytes that are held, with those of the next piece.
        """
        return self.stage is Stage.HELD and nbytes > RESPONSE_BUFFER_BYTES

    @property
    def is_discarded_by_server(self) -> bool:
        """Whether the server will discard the body before it sends the next bytes."""
        moments = self._moments
        return (
            moments.is_discarded_by_server
            and not self.passed_bytes
            and not self._drain.settled
            and self.status not in moments.pieces_with_status
        )

    @property
    def may_become_whole(self) -> bool:
        """Whether an error without a length may turn out to be whole in a moment.

        That is worth some milliseconds, but not where a whole one, too, waits for the body.
        """
        moment = self._moments.small_error or self._moments.whole
        return (
            moment is not Moment.FIRST
            and self.is_patient
            and self.stage is Stage.HELD
            and self.length is None
            and is_error(self.status)
            and not self._has_trailers
        )

    def _full(self) -> Plan:
        """Say what to do with a piece behind which the server may end the answer by itself."""
        if self._has_trailers or not self.is_patient:
            return Plan.READ_AHEAD_FIRST
        self.stage = Stage.FULL
        return Plan.HOLD

    def _must_read_first(self) -> bool:
        """Whether the body must be read before the client sees the status.

        So it is with an error that did not become a small one where no other is safe.
        """
        return (
            self.stage is Stage.HELD
            and self._moments.small_error is not None
            and is_error(self.status)
            and self._drain.untouched
        )

    def _would_block(self, nbytes: int) -> bool:
        """Whether sending a last piece would wait for a client that is sending, too."""
        return (
            nbytes > 0
            and self.passed_bytes + nbytes > RESPONSE_BUFFER_BYTES
            and not (self._sends_while_reading or self.client_is_quiet)
        )
