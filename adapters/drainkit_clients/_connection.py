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

from ._exchange import Exchange
from ._response import ResponseParser
from ._values import Answer, Frame, Rest, Upload

Address = tuple[str, int]

_RECV_BYTES = 262144
# What curl waits for "100 Continue" before it sends the body anyway.
_EXPECT_WAIT_SECONDS = 1.0
# TLS reports "try again" as its own errors.
_AGAIN = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
# What tells an interim response from a final one: "HTTP/1.1 1".
_STATUS_LINE_BYTES = 10


def host_header(name: str, port: int) -> str:
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
        source_host: str | None = None,
    ) -> None:
        """Connect.

        Args:
            address: Host and port.
            ssl_context: Speak TLS with this context, plain TCP when None.
            connect_timeout_seconds: The longest wait for the connection (and for the TLS
                handshake).
            server_name: The name that TLS asks for and the Host header says; that of the address
                when None.
            source_host: The address of this machine to connect from; the system's choice when
                None.

        Raises:
            OSError: There is nobody to talk to.
        """
        name = address[0] if server_name is None else server_name
        self._host = host_header(name, address[1])
        self._early = b""
        source = None if source_host is None else (source_host, 0)
        plain = socket.create_connection(address, connect_timeout_seconds, source)
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
        sender = _Sender(self._socket, exchange)
        if not sender.send(Frame(upload.head(self._host), 0, 0)):
            return exchange.answer()
        if upload.expect_continue and self._refused(exchange):
            return self._finish(exchange)
        if upload.pause_seconds:
            time.sleep(exchange.left(upload.pause_seconds))
        exchange.body_start = time.monotonic()
        for frame in upload.frames():
            if not sender.send(frame):
                return exchange.answer()
            if upload.piece_pause_seconds:
                time.sleep(exchange.left(upload.piece_pause_seconds))
            ahead = exchange.rest_of_pause(upload)
            if ahead and exchange.sent < upload.size_bytes:
                sender.look(ahead, writing=False)
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
        sender = _Sender(self._socket, exchange)
        if not all(map(sender.send, opening)):
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
                    sender.send(upload.frame(upload.slice(exchange.sent, 1)))
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
    ) -> Exchange:
        early, self._early = self._early, b""
        exchange = Exchange(ResponseParser(upload.method), timeout_seconds, stall_seconds)
        if early:
            exchange.took(early)
        return exchange

    def _finish(self, exchange: Exchange) -> Answer:
        # What lies behind a complete response belongs to the next one.
        self._early = exchange.parser.excess
        return exchange.answer()

    def _refused(self, exchange: Exchange) -> bool:
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
    def _read_is_over(exchange: Exchange) -> bool:
        return exchange.parser.complete or exchange.ended != "open" or exchange.error is not None

    def _read(self, exchange: Exchange, wait_seconds: float, *, patient: bool = False) -> None:
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
        exchange: Exchange,
        upload: Upload,
        selector: selectors.BaseSelector,
        stop_on_error_status: bool,
    ) -> None:
        writer = _Writer(self._socket, exchange, upload, self._host)
        while exchange.ended == "open":
            status = exchange.parser.status
            if stop_on_error_status and status is not None and status >= 400:
                writer.done = True
            if exchange.parser.malformed or (exchange.parser.complete and writer.done):
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

    def _read_available(self, exchange: Exchange) -> None:
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


class _Sender:
    """The sending half of a client that does not read meanwhile, but sees what lies ready."""

    def __init__(self, connection: socket.socket, exchange: Exchange) -> None:
        self._socket = connection
        self._exchange = exchange
        # Over TLS nobody can see an answer without reading it.
        self._looking = not isinstance(connection, ssl.SSLSocket)

    def send(self, frame: Frame) -> bool:
        """Send a whole frame in blocking fashion; False when that failed."""
        view = memoryview(frame.wire)
        before = self._exchange.sent
        done = 0
        while done < len(view):
            try:
                self.look(self._exchange.left(), writing=True)
                if self._exchange.expired():
                    raise TimeoutError
                self._socket.settimeout(self._exchange.left())
                done += self._socket.send(view[done:])
            except OSError as error:
                self._exchange.failed(error, "sending")
                return False
            self._exchange.note_sent(before + frame.body_bytes_in(done))
        return True

    def look(self, seconds: float, *, writing: bool) -> None:
        """Wait for a while, or until bytes can be sent; note an answer that comes meanwhile.

        The answer stays where it is: this client does not read yet.

        Raises:
            OSError: The connection is broken.
        """
        until = time.monotonic() + seconds
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, wanted)
            while self._looking and not self._exchange.expired():
                events = selector.select(self._exchange.left(until - time.monotonic()))
                if any(ready & selectors.EVENT_READ for _, ready in events):
                    self._peek()
                if time.monotonic() >= until:
                    return
                if any(ready & selectors.EVENT_WRITE for _, ready in events):
                    return
        if not writing:
            time.sleep(self._exchange.left(until - time.monotonic()))

    def _peek(self) -> None:
        self._socket.setblocking(False)
        try:
            waiting = self._socket.recv(_STATUS_LINE_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            return
        # One look is enough, whatever it was: what is ready now stays ready.
        self._looking = False
        is_interim = waiting.startswith(b"HTTP/1.") and waiting.endswith(b" 1")
        if waiting and not is_interim:
            self._exchange.notice()


class _Writer:
    """The sending half of an eager exchange."""

    def __init__(
        self, connection: socket.socket, exchange: Exchange, upload: Upload, host: str
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
