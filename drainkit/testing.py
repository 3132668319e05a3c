"""Tools for the tests of adapters, ours and yours: a clock and a body that follow a script.

No test needs to sleep: silence in a script moves the clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from ._drain import Drain, Read
from ._report import DrainReport


class FakeClock:
    """A clock that moves only when it is told to.

    Attributes:
        now: The time in seconds.
    """

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time in seconds, as `time.monotonic` does."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time go by.

        Raises:
            ValueError: *seconds* is negative.
        """
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds!r} seconds")
        self.now += seconds


class Silence(float):
    """A script's event: the client sends nothing for so many seconds."""


class Disconnect:
    """A script's event: the client leaves before the end of its body."""


Event: TypeAlias = bytes | Silence | Disconnect


class ScriptedBody:
    """A request's body that arrives as its script says.

    It is a WSGI input (``read``, ``readline``, ``readlines``, iteration), an ASGI source
    (``receive``) and a source for the bare engine (`run`); use one of the three on one body.
    Behind the last event the body has ended.

    Attributes:
        clock: Moved by every `Silence`.
        given_bytes: Body bytes that were handed out.
        reads: How often it was asked, for tests of what must not be read at all.
    """

    def __init__(self, script: Iterable[Event], clock: FakeClock | None = None) -> None:
        """Write the script.

        Args:
            script: Pieces of the body as bytes, `Silence` and `Disconnect`, in order. An empty
                piece is a message without bytes to ASGI and the engine, nothing to WSGI.
            clock: The clock that `Silence` moves; ``None`` makes one.
        """
        self.clock = clock if clock is not None else FakeClock()
        self.given_bytes = 0
        self.reads = 0
        self._script = list(script)
        self._buffer = b""
        self._has_ended = False

    def read(self, size: int = -1) -> bytes:
        """Return *size* bytes, fewer only at the end; all that is left when it is negative.

        Raises:
            ConnectionResetError: The client left.
        """
        self.reads += 1
        while size < 0 or len(self._buffer) < size:
            if not self._fill():
                break
        return self._give(len(self._buffer) if size < 0 else size)

    def readline(self, size: int = -1) -> bytes:
        """Return a line, cut at *size* bytes unless it is negative.

        Raises:
            ConnectionResetError: The client left.
        """
        self.reads += 1
        while b"\n" not in self._buffer and (size < 0 or len(self._buffer) < size):
            if not self._fill():
                break
        end = self._buffer.find(b"\n") + 1 or len(self._buffer)
        return self._give(end if size < 0 else min(end, size))

    def readlines(self, hint: int = -1) -> list[bytes]:
        """Return lines, to the end or until they hold *hint* bytes."""
        lines: list[bytes] = []
        while (hint <= 0 or sum(map(len, lines)) < hint) and (line := self.readline()):
            lines.append(line)
        return lines

    def __iter__(self) -> ScriptedBody:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    async def receive(self) -> dict[str, Any]:
        """Return the next ASGI message: a piece each, then ``http.disconnect`` for ever.

        A `Silence` moves the clock and does not wait; to test waiting, give an adapter a source
        that really waits.
        """
        self.reads += 1
        while self._script and isinstance(self._script[0], Silence):
            self.clock.advance(float(self._script.pop(0)))  # type: ignore[arg-type]
        if self._has_ended:
            return {"type": "http.disconnect"}
        event = self._script.pop(0) if self._script else b""
        if isinstance(event, Disconnect):
            self._has_ended = True
            return {"type": "http.disconnect"}
        assert isinstance(event, bytes)
        self.given_bytes += len(event)
        return {"type": "http.request", "body": event, "more_body": self._has_more()}

    def run(self, drain: Drain) -> DrainReport:
        """Begin *drain* and feed it the script until it ends; return its report."""
        step = drain.begin(self.clock.now)
        while isinstance(step, Read):
            event = self._script.pop(0) if self._script else b""
            if isinstance(event, Silence):
                waited = min(float(event), step.wait_seconds)
                self.clock.advance(waited)
                if waited < event:
                    self._script.insert(0, Silence(event - waited))
                step = drain.waited(self.clock.now)
            elif isinstance(event, Disconnect):
                step = drain.disconnected(self.clock.now)
            else:
                piece, rest = event[: step.max_bytes], event[step.max_bytes :]
                if rest:
                    self._script.insert(0, rest)
                self.given_bytes += len(piece)
                step = drain.received(len(piece), self._has_more(), self.clock.now)
        return step

    def _has_more(self) -> bool:
        self._has_ended = all(isinstance(later, Silence) for later in self._script)
        return not self._has_ended

    def _fill(self) -> bool:
        """Add the next piece to the buffer; say whether there was one."""
        if not self._script:
            return False
        event = self._script.pop(0)
        if isinstance(event, Silence):
            self.clock.advance(float(event))
        elif isinstance(event, Disconnect):
            self._script.clear()
            raise ConnectionResetError("the client left, as its script says")
        else:
            self._buffer += event
        return True

    def _give(self, nbytes: int) -> bytes:
        piece, self._buffer = self._buffer[:nbytes], self._buffer[nbytes:]
        self.given_bytes += len(piece)
        return piece
