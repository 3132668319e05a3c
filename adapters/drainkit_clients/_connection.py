"""The clients themselves, over one connection each.

Rule 1: every wait ends at the exchange's deadline.
Rule 2: a failure of the network is a value (``Answer.error``), never an exception out of an
exchange.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import time
from collections.abc import Iterator
from types import TracebackType

from ._response import ResponseError, ResponseParser
from ._values import Answer, Ended, Frame, Rest, Upload, in_bytes

Address = tuple[str, int]

_RECV_BYTES = 262144
# What curl waits for "100 Continue" before it sends the body anyway.
_EXPECT_WAIT_SECONDS = 1.0
# TLS reports "try again" as its own errors.
_AGAIN = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
# Far more than an error page: a response without an end must not fill the memory.
_MOST_RESPONSE_BYTES = 64 * 1024 * 1024
# Enough for a picture on any screen.
_MOST_SAMPLES = 256
# What tells an interim response from a final one: "HTTP/1.1 1".
_STATUS_LINE_BYTES = 10


class _Trace:
    """How much was sent when, thinned out as it grows."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, int]] = [(0.0, 0)]
        self._latest = self._samples[0]
        self._gap_seconds = 0.0

    def add(self, seconds: float, sent_bytes: int) -> None:
        """Take a sample; one that follows the last too closely counts only if it stays the last."""
        self._latest = (seconds, sent_bytes)
        if seconds - self._samples[-1][0] < self._gap_seconds:
            return
        self._samples.append(self._latest)
        if len(self._samples) >= _MOST_SAMPLES:
            del self._samples[1::2]
            self._gap_seconds = max(2 * self._gap_seconds, 2 * seconds / _MOST_SAMPLES)

    def values(self) -> tuple[tuple[float, int], ...]:
        """Return the samples, the latest included."""
        if self._samples[-1] == self._latest:
            return tuple(self._samples)
        return (*self._samples, self._latest)


class _Exchange:
    """One request and its response while they are under way."""

    def __init__(
        self, upload: Upload, timeout_seconds: float, early: bytes, stall_seconds: float | None
    ) -> None:
        self.start = time.monotonic()
        self._last_deadline = self.start + timeout_seconds
        self._stall_seconds = stall_seconds
        self.deadline = self._last_deadline
        self.trace = _Trace()
        self.parser = ResponseParser(upload.method, early)
        self.sent = 0
        self.body_start = self.start
        self.noticed_seconds: float | None = None
        self.sent_at_noticed: int | None = None
        self.first_byte_seconds: float | None = None
        self.sent_at_first_byte: int | None = None
        self.error: str | None = None
        self.ended: Ended = "open"
        self._restart()

    def _restart(self) -> None:
        """Count the silence from now; the exchange's own deadline stays what it is."""
        if self._stall_seconds is not None:
            stalled = time.monotonic() + self._stall_seconds
            self.deadline = min(stalled, self._last_deadline)

    def note_sent(self, sent_bytes: int) -> None:
        """Note how many body bytes the kernel has taken in all."""
        self.sent = sent_bytes
        self.trace.add(self.elapsed, sent_bytes)
        self._restart()

    def notice(self) -> None:
        """Note that the first byte of an answer lies ready."""
        if self.noticed_seconds is None:
            self.noticed_seconds = self.elapsed
            self.sent_at_noticed = self.sent

    def rest_of_pause(self, upload: Upload) -> float:
        """Return the seconds by which the upload is ahead of its rate."""
        if upload.rate_bytes_per_second is None:
            return 0.0
        due = self.body_start + self.sent / upload.rate_bytes_per_second
        return max(0.0, due - time.monotonic())

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.start

    def left(self, at_most: float | None = None) -> float:
        """Return the seconds to the deadline, never quite 0 since that would mean non-blocking."""
        left = max(self.deadline - time.monotonic(), 0.001)
        return left if at_most is None else min(left, max(at_most, 0.001))

    def expired(self) -> bool:
        return time.monotonic() >= self.deadline

    def took(self, data: bytes) -> None:
        """Take what ``recv`` returned; b"" is the end of the connection."""
        if not data:
            self.ended = "fin"
            self.parser.eof()
            return
        try:
            self.parser.feed(data)
        except ResponseError as error:
            self.error = self.error or f"bad response: {error}"
        if self.parser.held_bytes > _MOST_RESPONSE_BYTES:
            self.error = self.error or f"response of more than {in_bytes(_MOST_RESPONSE_BYTES)}"
        if self.parser.started and self.first_byte_seconds is None:
            self.notice()
            self.first_byte_seconds = self.elapsed
            self.sent_at_first_byte = self.sent

    def failed(self, error: OSError, doing: str) -> None:
        """Note an error of the connection; the first one counts."""
        self.ended = _how(error)
        sent = in_bytes(self.sent)
        self.error = self.error or f"{type(error).__name__} while {doing} after {sent}"

    def answer(self) -> Answer:
        parser = self.parser
        error = self.error
        if error is None and not parser.complete:
            what = {"fin": "connection closed", "timeout": "timed out"}.get(self.ended, "stopped")
            have = (
                f"{in_bytes(len(parser.body))} of the response's body"
                if parser.status
                else "a response"
            )
            error = f"{what} after {have}" if parser.status else f"{what} before {have}"
        return Answer(
            status=parser.status,
            headers=tuple(parser.headers),
            body=bytes(parser.body),
            complete=parser.complete,
            sent_bytes=self.sent,
            error=error,
            first_byte_seconds=self.first_byte_seconds,
            sent_at_first_byte_bytes=self.sent_at_first_byte,
            seconds=self.elapsed,
            ended=self.ended,
            noticed_seconds=self.noticed_seconds,
            sent_at_noticed_bytes=self.sent_at_noticed,
            version=parser.version,
            interim=tuple(parser.interim),
            excess=parser.excess,
            trace=self.trace.values(),
        )


def _how(error: OSError) -> Ended:
    """Return what an error of a socket says about its connection."""
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ssl.SSLEOFError):
        return "fin"  # the end of the connection without TLS' own goodbye
    if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
        return "tls-alert"
    return "reset"


def _host(name: str, port: int) -> str:
    """Return the value of the Host header; an IPv6 address stands in brackets (RFC 3986 3.2.2)."""
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


class Connection:
    """A connection that outlives one request; a context manager that closes it."""

    def __init__(
        self,
        address: Address,
        *,
        ssl_context: ssl.SSLContext | None = None,
        connect_timeout_seconds: float = 5.0,
        server_name: str | None = None,
    ) -> None:
        """Connect.

        Args:
            address: Host and port.
            ssl_context: Speak TLS with this context, plain TCP when None.
            connect_timeout_seconds: The longest wait for the connection (and for the TLS
                handshake).
            server_name: The name that TLS asks for and the Host header says; that of the address
                when None.

        Raises:
            OSError: There is nobody to talk to.
        """
        name = address[0] if server_name is None else server_name
        self._host = _host(name, address[1])
        self._early = b""
        self._looking = False
        plain = socket.create_connection(address, timeout=connect_timeout_seconds)
        try:
            # A slow client's single bytes must leave at once.
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = (
                plain
                if ssl_context is None
                else ssl_context.wrap_socket(plain, server_hostname=name)
            )
        except BaseException:
            plain.close()
            raise

    def __enter__(self) -> Connection:
        """Return the connection itself."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def strict(
        self,
        upload: Upload,
        *,
        timeout_seconds: float = 20.0,
        stall_seconds: float | None = None,
    ) -> Answer:
        """Write the whole request, and only then read.

        Args:
            upload: What to send.
            timeout_seconds: The longest that the exchange may take.
            stall_seconds: The longest that it may take from any body byte sent: to the next one, or
                to the end of the answer. None for no such limit.

        Returns:
            The answer; any error while sending is a loss, whatever had arrived by then.
        """
        exchange = self._begin(upload, timeout_seconds, stall_seconds)
        if not self._write(exchange, Frame(upload.head(self._host), 0, 0)):
            return exchange.answer()
        if upload.expect_continue and self._refused(exchange):
            return self._finish(exchange)
        if upload.pause_seconds:
            time.sleep(exchange.left(upload.pause_seconds))
        exchange.body_start = time.monotonic()
        for frame in upload.frames():
            if not self._write(exchange, frame):
                return exchange.answer()
            if upload.piece_pause_seconds:
                time.sleep(exchange.left(upload.piece_pause_seconds))
            ahead = exchange.rest_of_pause(upload)
            if ahead and exchange.sent < upload.size_bytes:
                self._look(exchange, ahead, writing=False)
        while not self._read_is_over(exchange):
            self._read(exchange, exchange.left())
        return self._finish(exchange)

    def eager(
        self,
        upload: Upload,
        *,
        timeout_seconds: float = 20.0,
        stall_seconds: float | None = None,
        stop_on_error_status: bool = True,
    ) -> Answer:
        """Read while writing.

        Args:
            upload: What to send.
            timeout_seconds: The longest that the exchange may take.
            stall_seconds: The longest that it may take from any body byte sent: to the next one, or
                to the end of the answer. None for no such limit.
            stop_on_error_status: Stop sending once a final status of 400 or more is here, as curl
                does; the end of the response is waited for all the same.

        Returns:
            The answer; a send that fails is an error only if the response did not arrive whole.
        """
        exchange = self._begin(upload, timeout_seconds, stall_seconds)
        self._socket.setblocking(False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            self._eager(exchange, upload, selector, stop_on_error_status)
        if exchange.parser.complete:
            exchange.error = None
        return self._finish(exchange)

    def slow(
        self,
        upload: Upload,
        *,
        interval_seconds: float | None,
        timeout_seconds: float,
        first_bytes: int = 0,
    ) -> Answer:
        """Send the headers, then hardly anything, until the server closes the connection.

        Args:
            upload: What to send; its end is never sent.
            interval_seconds: The wait before each further body byte; None sends no more.
            timeout_seconds: When to give up, which makes ``Answer.ended`` "timeout".
            first_bytes: The body bytes sent at once after the headers.

        Returns:
            The answer; ``seconds`` and ``ended`` tell when and how the server closed.
        """
        exchange = self._begin(upload, timeout_seconds)
        opening = [Frame(upload.head(self._host), 0, 0)]
        if first_bytes:
            opening.append(upload.frame(upload.slice(0, first_bytes)))
        if not all(self._write(exchange, frame) for frame in opening):
            return exchange.answer()
        due = time.monotonic() + (interval_seconds or 0.0)
        while exchange.ended == "open":
            if exchange.expired():
                exchange.ended = "timeout"
                break
            self._read(
                exchange,
                exchange.left(None if interval_seconds is None else due - time.monotonic()),
                patient=True,
            )
            # The last byte is kept back: a complete body would end the test.
            last = exchange.sent >= upload.size_bytes - 1
            if interval_seconds is not None and time.monotonic() >= due and not last:
                due += interval_seconds
                if exchange.ended == "open":
                    self._write(exchange, upload.frame(upload.slice(exchange.sent, 1)))
        if exchange.parser.complete:
            exchange.error = None
        return self._finish(exchange)

    def rest(self, *, timeout_seconds: float) -> Rest:
        """Read what still comes, until the server closes.

        Args:
            timeout_seconds: When to stop looking.
        """
        deadline = time.monotonic() + timeout_seconds
        data = bytearray(self._early)
        self._early = b""
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                piece = self._socket.recv(_RECV_BYTES)
            except TimeoutError:
                break
            except OSError:
                return Rest(bytes(data), "reset")
            if not piece:
                return Rest(bytes(data), "fin")
            data += piece
        return Rest(bytes(data), "timeout")

    def _begin(
        self, upload: Upload, timeout_seconds: float, stall_seconds: float | None = None
    ) -> _Exchange:
        early, self._early = self._early, b""
        self._looking = not isinstance(self._socket, ssl.SSLSocket)
        return _Exchange(upload, timeout_seconds, early, stall_seconds)

    def _finish(self, exchange: _Exchange) -> Answer:
        # What lies behind a complete response belongs to the next one.
        self._early = exchange.parser.excess
        return exchange.answer()

    def _refused(self, exchange: _Exchange) -> bool:
        """Wait for "100 Continue"; True if a final response came instead."""
        until = min(time.monotonic() + _EXPECT_WAIT_SECONDS, exchange.deadline)
        while not exchange.parser.interim and exchange.ended == "open" and not exchange.error:
            if (left := until - time.monotonic()) <= 0:
                return False
            self._read(exchange, left, patient=True)
            if exchange.parser.status is not None:
                while not self._read_is_over(exchange):
                    self._read(exchange, exchange.left())
                return True
        return not exchange.parser.interim

    @staticmethod
    def _read_is_over(exchange: _Exchange) -> bool:
        return exchange.parser.complete or exchange.ended != "open" or exchange.error is not None

    def _write(self, exchange: _Exchange, frame: Frame) -> bool:
        """Send a whole frame in blocking fashion; False when that failed."""
        view = memoryview(frame.wire)
        before = exchange.sent
        done = 0
        while done < len(view):
            try:
                self._look(exchange, exchange.left(), writing=True)
                if exchange.expired():
                    raise TimeoutError
                self._socket.settimeout(exchange.left())
                done += self._socket.send(view[done:])
            except OSError as error:
                exchange.failed(error, "sending")
                return False
            exchange.note_sent(before + frame.body_bytes_in(done))
        return True

    def _look(self, exchange: _Exchange, seconds: float, *, writing: bool) -> None:
        """Wait for a while, or until bytes can be sent; note an answer that comes meanwhile.

        The answer stays where it is: this client does not read yet.

        Raises:
            OSError: The connection is broken.
        """
        until = time.monotonic() + seconds
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, wanted)
            while self._looking and not exchange.expired():
                events = selector.select(exchange.left(until - time.monotonic()))
                if any(ready & selectors.EVENT_READ for _, ready in events):
                    self._peek(exchange)
                if time.monotonic() >= until:
                    return
                if any(ready & selectors.EVENT_WRITE for _, ready in events):
                    return
        if not writing:
            time.sleep(exchange.left(until - time.monotonic()))

    def _peek(self, exchange: _Exchange) -> None:
        self._socket.setblocking(False)
        try:
            waiting = self._socket.recv(_STATUS_LINE_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            return
        # One look is enough, whatever it was: what is ready now stays ready.
        self._looking = False
        is_interim = waiting.startswith(b"HTTP/1.") and waiting.endswith(b" 1")
        if waiting and not is_interim:
            exchange.notice()

    def _read(self, exchange: _Exchange, wait_seconds: float, *, patient: bool = False) -> None:
        """Wait for bytes once; none is a failure unless the (patient) caller watches the clock."""
        self._socket.settimeout(wait_seconds)
        try:
            # A response that never stops coming ends here.
            if not patient and exchange.expired():
                raise TimeoutError
            exchange.took(self._socket.recv(_RECV_BYTES))
        except TimeoutError as error:
            if not patient:
                exchange.failed(error, "reading")
        except OSError as error:
            exchange.failed(error, "reading")

    def _eager(
        self,
        exchange: _Exchange,
        upload: Upload,
        selector: selectors.BaseSelector,
        stop_on_error_status: bool,
    ) -> None:
        writer = _Writer(self._socket, exchange, upload, self._host)
        while exchange.ended == "open":
            status = exchange.parser.status
            if stop_on_error_status and status is not None and status >= 400:
                writer.done = True
            if exchange.parser.complete and writer.done:
                return
            if exchange.expired():
                exchange.failed(TimeoutError(), "sending" if not writer.done else "reading")
                return
            wait = writer.wait_seconds(time.monotonic())
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if wait == 0 else 0)
            selector.modify(self._socket, events)
            for _, ready in selector.select(exchange.left(wait or None)):
                if ready & selectors.EVENT_READ:
                    self._read_available(exchange)
                if ready & selectors.EVENT_WRITE and exchange.ended == "open":
                    writer.send()

    def _read_available(self, exchange: _Exchange) -> None:
        # TLS may hold decrypted bytes that no selector sees: read until there are none.
        while exchange.ended == "open":
            try:
                exchange.took(self._socket.recv(_RECV_BYTES))
            except _AGAIN:
                return
            except OSError as error:
                exchange.failed(error, "reading")
            if not isinstance(self._socket, ssl.SSLSocket):
                return


class _Writer:
    """The sending half of an eager exchange."""

    def __init__(
        self, connection: socket.socket, exchange: _Exchange, upload: Upload, host: str
    ) -> None:
        self.done = False
        self._socket = connection
        self._exchange = exchange
        self._upload = upload
        self._frames: Iterator[Frame] = iter(upload.frames())
        self._frame = Frame(upload.head(host), 0, 0)
        self._offset = 0
        self._before = 0
        self._resume_at: float | None = None
        self._in_head = True
        self._invitable = upload.expect_continue

    def wait_seconds(self, now: float) -> float | None:
        """Return 0 to send now, the seconds to wait before that, or None when all is sent."""
        if self.done:
            return None
        if self._resume_at is None:
            return 0
        if self._invitable and self._exchange.parser.interim:
            self._invitable = False
            self._exchange.body_start = now
            self._resume_at = None
            return 0
        left = self._resume_at - now
        if left <= 0:
            self._resume_at = None
            return 0
        return left

    def send(self) -> None:
        """Send what the kernel takes of the current frame."""
        try:
            self._offset += self._socket.send(memoryview(self._frame.wire)[self._offset :])
        except _AGAIN:
            return
        except OSError as error:
            # The response may be here already: a reset does not take it from a client that reads.
            self._exchange.failed(error, "sending")
            self._exchange.ended = "open"
            self.done = True
            return
        self._exchange.note_sent(self._before + self._frame.body_bytes_in(self._offset))
        if self._offset < len(self._frame.wire):
            return
        if self._in_head:
            self._in_head = False
            pause = self._upload.pause_seconds
            pause = max(pause, _EXPECT_WAIT_SECONDS) if self._upload.expect_continue else pause
            self._resume_at = time.monotonic() + pause if pause else None
            self._exchange.body_start = time.monotonic() + pause
        elif ahead := self._exchange.rest_of_pause(self._upload):
            self._resume_at = time.monotonic() + ahead
        self._offset = 0
        self._before = self._exchange.sent
        following = next(self._frames, None)
        if following is None:
            self.done = True
        else:
            self._frame = following


def unreachable(error: OSError) -> Answer:
    """Return the answer of an upload that could not even connect, because of *error*."""
    return Answer(
        status=None,
        headers=(),
        body=b"",
        complete=False,
        sent_bytes=0,
        error=f"{type(error).__name__} while connecting",
        first_byte_seconds=None,
        sent_at_first_byte_bytes=None,
        seconds=0.0,
        ended="reset",
    )


def strict(
    address: Address,
    upload: Upload,
    *,
    timeout_seconds: float = 20.0,
    ssl_context: ssl.SSLContext | None = None,
) -> Answer:
    """Upload on a connection of its own: write the whole request, and only then read.

    Args:
        address: Host and port.
        upload: What to send.
        timeout_seconds: The longest that the exchange may take.
        ssl_context: Speak TLS with this context, plain TCP when None.

    Returns:
        The answer; any error while sending is a loss, whatever had arrived by then.
    """
    try:
        connection = Connection(address, ssl_context=ssl_context)
    except OSError as error:
        return unreachable(error)
    with connection:
        return connection.strict(upload, timeout_seconds=timeout_seconds)


def eager(
    address: Address,
    upload: Upload,
    *,
    timeout_seconds: float = 20.0,
    stop_on_error_status: bool = True,
    ssl_context: ssl.SSLContext | None = None,
) -> Answer:
    """Upload on a connection of its own: read while writing.

    Args:
        address: Host and port.
        upload: What to send.
        timeout_seconds: The longest that the exchange may take.
        stop_on_error_status: Stop sending once a final status of 400 or more is here, as curl does;
            the end of the response is waited for all the same.
        ssl_context: Speak TLS with this context, plain TCP when None.

    Returns:
        The answer; a send that fails is an error only if the response did not arrive whole.
    """
    try:
        connection = Connection(address, ssl_context=ssl_context)
    except OSError as error:
        return unreachable(error)
    with connection:
        return connection.eager(
            upload, timeout_seconds=timeout_seconds, stop_on_error_status=stop_on_error_status
        )


def slow(
    address: Address,
    upload: Upload,
    *,
    interval_seconds: float | None,
    timeout_seconds: float,
    first_bytes: int = 0,
    ssl_context: ssl.SSLContext | None = None,
) -> Answer:
    """Upload hardly anything on a connection of its own, until the server closes it.

    Args:
        address: Host and port.
        upload: What to send; its end is never sent.
        interval_seconds: The wait before each further body byte; None sends no more.
        timeout_seconds: When to give up, which makes ``Answer.ended`` "timeout".
        first_bytes: The body bytes sent at once after the headers.
        ssl_context: Speak TLS with this context, plain TCP when None.

    Returns:
        The answer; ``seconds`` and ``ended`` tell when and how the server closed.
    """
    try:
        connection = Connection(address, ssl_context=ssl_context)
    except OSError as error:
        return unreachable(error)
    with connection:
        return connection.slow(
            upload,
            interval_seconds=interval_seconds,
            timeout_seconds=timeout_seconds,
            first_bytes=first_bytes,
        )
