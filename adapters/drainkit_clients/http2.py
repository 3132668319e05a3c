"""The clients over HTTP/2 (RFC 9113): over TLS, by ALPN. It needs h2: the extra ``http2``.

- ``strict`` sends the whole body and only then looks at the answer, as httpx does: a stream that is
  reset before has lost it.
- ``eager`` reads while it sends, as browsers do: with a whole answer here it stops where the server
  asks for that (RST_STREAM without an error, RFC 9113 section 8.1) and sends on where it does not;
  the end of the connection before then has lost the answer.

Rule 1: every wait ends at the exchange's deadline.
Rule 2: a failure of the network is a value (``Answer.error``), never an exception out of an
exchange.
"""

from __future__ import annotations

import re
import selectors
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from types import TracebackType

try:
    import h2.config
    import h2.connection
    import h2.errors
    import h2.events
    import h2.exceptions
    import h2.settings
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"{__name__} needs {(error.name or 'h2').partition('.')[0]}, which is not installed: "
        f'pip install "drainkit[http2]"',
        name=error.name,
        path=error.path,
    ) from error

from ._connection import host_header
from ._exchange import Exchange
from ._values import Answer, Upload

Address = tuple[str, int]

PROTOCOL = "h2"  # as ALPN calls it

_RECV_BYTES = 262144
_AGAIN = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
# RFC 9113 section 4.1: length, type, flags and stream in front of each frame.
_FRAME_HEAD_BYTES = 9
_GOAWAY = 7
_NO_ERROR = f"RST_STREAM {h2.errors.ErrorCodes.NO_ERROR.name}"
_LARGEST_FRAME_BYTES = 16384  # we ask for no larger ones
# RFC 9113 section 8.2.2: these concern a connection of HTTP/1.
_NOT_HERE = frozenset(
    {"host", "connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"}
)


_STATUS = re.compile("[1-9][0-9]{2}")


class NoHttp2Error(ConnectionError):
    """The server does not choose HTTP/2, although it was offered."""


class _Response:
    """One response as far as it has come, as `Exchange` wants to see it.

    Attributes:
        reset: What gave the stream up, RST_STREAM or GOAWAY, with its code in words; None if
            nothing did.
    """

    version: str | None = "2"
    reason = ""
    excess = b""

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: list[tuple[str, str]] = []
        self.body = bytearray()
        self.interim: list[int] = []
        self.malformed: str | None = None
        self.complete = False
        self.reset: str | None = None

    @property
    def started(self) -> bool:
        return self.status is not None or self.malformed is not None

    @property
    def held_bytes(self) -> int:
        return len(self.body)

    def feed(self, data: bytes) -> None:
        """Take nothing: frames come through `happened`."""

    def eof(self) -> None:
        """Take nothing: the end of a connection ends no response of HTTP/2."""

    def happened(self, event: h2.events.Event) -> None:
        """Take what h2 made of a frame."""
        match event:
            case h2.events.InformationalResponseReceived():
                self.interim.append(_status(event.headers))
            case h2.events.ResponseReceived():
                self.status = _status(event.headers)
                self.headers = [
                    (_text(name), _text(value))
                    for name, value in event.headers or ()
                    if not _text(name).startswith(":")
                ]
            case h2.events.DataReceived():
                self.body += event.data or b""
            case h2.events.StreamEnded():
                self.complete = True
            case h2.events.StreamReset():
                self.reset = f"RST_STREAM {_code(int(event.error_code or 0))}"


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


def _status(headers: object) -> int:
    """Return the status of a response; h2 lets any pass.

    Raises:
        h2.exceptions.ProtocolError: It is no number of three digits (RFC 9113 section 8.3.2).
    """
    assert isinstance(headers, list)
    said = next(_text(value) for name, value in headers if _text(name) == ":status")
    if _STATUS.fullmatch(said) is None:
        raise h2.exceptions.ProtocolError(":status is no number of three digits")
    return int(said)


def _code(number: int) -> str:
    try:
        return h2.errors.ErrorCodes(number).name
    except ValueError:
        return f"error {number}"


class _Upload:
    """A body on its way: what of it h2 may have next, and what the kernel has taken."""

    def __init__(self, upload: Upload, stream_id: int) -> None:
        self.stream_id = stream_id
        self._upload = upload
        self._offset = 0

    @property
    def is_sent(self) -> bool:
        return self._offset >= self._upload.size_bytes

    @property
    def offset(self) -> int:
        return self._offset

    def put(self, connection: h2.connection.H2Connection) -> None:
        """Make a DATA frame of what flow control allows."""
        credit = min(
            connection.local_flow_control_window(self.stream_id),
            connection.max_outbound_frame_size,
            self._upload.piece_bytes,
        )
        data = self._upload.slice(self._offset, max(credit, 0))
        if data:
            self._offset += len(data)
            connection.send_data(self.stream_id, data, end_stream=self.is_sent)


class Http2Connection:
    """A connection that outlives one request; a context manager that closes it.

    Attributes:
        is_leaving: Whether the server has said that it takes no more requests (GOAWAY).
    """

    def __init__(
        self,
        address: Address,
        *,
        ssl_context: ssl.SSLContext,
        connect_timeout_seconds: float = 5.0,
        server_name: str | None = None,
    ) -> None:
        """Connect, and shake hands.

        Args:
            address: Host and port.
            ssl_context: Speak TLS with this context, which offers ``h2`` by ALPN.
            connect_timeout_seconds: The longest wait for the connection and for the TLS handshake.
            server_name: The name that TLS asks for and ``:authority`` says; that of the address
                when None.

        Raises:
            NoHttp2Error: The server does not choose HTTP/2.
            OSError: There is nobody to talk to.
        """
        name = address[0] if server_name is None else server_name
        self._host = host_header(name, address[1])
        self.is_leaving = False
        self._unsent = b""
        self._received = bytearray()
        self._http2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding=None)
        )
        self._http2.local_settings = h2.settings.Settings(
            client=True, initial_values={h2.settings.SettingCodes.ENABLE_PUSH: 0}
        )
        self._http2.initiate_connection()
        plain = socket.create_connection(address, timeout=connect_timeout_seconds)
        try:
            # The end of a window must not wait for the server's delayed ACK.
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = ssl_context.wrap_socket(plain, server_hostname=name)
        except BaseException:
            plain.close()
            raise
        chosen = self._socket.selected_alpn_protocol()
        if chosen != PROTOCOL:
            self._socket.close()
            raise NoHttp2Error(f"ALPN chose {chosen}")
        self._socket.setblocking(False)

    def __enter__(self) -> Http2Connection:
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
        self, upload: Upload, *, timeout_seconds: float = 20.0, stall_seconds: float | None = None
    ) -> Answer:
        """Send the whole request, and only then look at the answer.

        Args:
            upload: What to send; its ``framing``, ``connection`` and ``expect_continue`` are those
                of HTTP/1, and do not count.
            timeout_seconds: The longest that the exchange may take.
            stall_seconds: The longest that it may take from any body byte sent: to the next one, or
                to the end of the answer. None for no such limit.

        Returns:
            The answer; a stream that is reset while sending is a loss, whatever had arrived.
        """
        response = _Response()
        exchange = Exchange(response, timeout_seconds, stall_seconds)
        body = self._begin(exchange, upload)
        while body is not None and not self._is_over(exchange, response, body):
            if self._has_sent(body):
                exchange.note_answer()
                if response.complete:
                    break
            elif response.reset is not None:
                exchange.lose(response.reset, "sending")
                break
            self._step(exchange, response, upload, body)
        return exchange.answer()

    def eager(
        self, upload: Upload, *, timeout_seconds: float = 20.0, stall_seconds: float | None = None
    ) -> Answer:
        """Read while sending.

        Args:
            upload: What to send; its ``framing``, ``connection`` and ``expect_continue`` are those
                of HTTP/1, and do not count.
            timeout_seconds: The longest that the exchange may take.
            stall_seconds: The longest that it may take from any body byte sent: to the next one, or
                to the end of the answer. None for no such limit.

        Returns:
            The answer; a stream that is reset without an error is a loss only if the response did
            not arrive whole.
        """
        response = _Response()
        exchange = Exchange(response, timeout_seconds, stall_seconds)
        body = self._begin(exchange, upload)
        while body is not None and not self._is_over(exchange, response, body):
            if response.complete and (self._has_sent(body) or response.reset is not None):
                if response.reset not in (None, _NO_ERROR):
                    exchange.lose(response.reset, "sending")
                break
            self._step(exchange, response, upload, body)
            exchange.note_answer()
        return exchange.answer()

    def _begin(self, exchange: Exchange, upload: Upload) -> _Upload | None:
        """Send the head; None if the connection takes no more requests."""
        if self.is_leaving:
            exchange.lose("GOAWAY", "sending")
            return None
        stream_id = self._http2.get_next_available_stream_id()
        fields = list(_fields(upload, self._host))
        self._http2.send_headers(stream_id, fields, end_stream=not upload.size_bytes)
        exchange.body_start = time.monotonic()
        return _Upload(upload, stream_id)

    def _has_sent(self, body: _Upload) -> bool:
        return body.is_sent and not self._unsent

    def _is_over(self, exchange: Exchange, response: _Response, body: _Upload) -> bool:
        """Whether nothing more can come, and note why."""
        if exchange.ended == "fin" and not self._has_sent(body):
            exchange.lose("connection closed", "sending")
            exchange.ended = "fin"
        if exchange.ended != "open" or exchange.error is not None:
            return True
        if response.reset is not None and not response.complete:
            exchange.lose(response.reset, "reading")
            return True
        if exchange.expired():
            exchange.failed(TimeoutError(), "waiting")
            return True
        return False

    def _step(self, exchange: Exchange, response: _Response, upload: Upload, body: _Upload) -> None:
        """Send what may be sent, take what has come, and wait until one of them is possible."""
        ahead = exchange.rest_of_pause(upload)
        if not self._unsent:
            if not body.is_sent and not ahead and response.reset is None:
                body.put(self._http2)
            self._unsent = self._http2.data_to_send()
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, wanted)
            ready = [events for _, events in selector.select(exchange.left(ahead or None))]
        try:
            if any(events & selectors.EVENT_WRITE for events in ready):
                self._write(exchange, body)
            if any(events & selectors.EVENT_READ for events in ready):
                self._read(exchange, response, body.stream_id)
        except OSError as error:
            exchange.failed(error, "reading" if body.is_sent else "sending")

    def _write(self, exchange: Exchange, body: _Upload) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except _AGAIN:
            return
        except OSError:
            # What came before the reset may still be read.
            self._unsent = b""
            raise
        self._unsent = self._unsent[sent:]
        if not self._unsent and body.offset > exchange.sent:
            exchange.note_sent(body.offset)

    def _read(self, exchange: Exchange, response: _Response, stream_id: int) -> None:
        # TLS may hold decrypted bytes that no selector sees: read until there are none.
        while exchange.ended == "open" and response.malformed is None:
            try:
                data = self._socket.recv(_RECV_BYTES)
            except _AGAIN:
                return
            if not data:
                exchange.ended = "fin"
                return
            self._received += data
            self._take(exchange, response, stream_id)

    def _take(self, exchange: Exchange, response: _Response, stream_id: int) -> None:
        """Hand whole frames to h2, one at a time: what it refuses must not hide those before."""
        try:
            for frame in self._frames():
                if frame[3] == _GOAWAY:
                    # h2 takes it for the end of everything; requests that run are answered still.
                    self._goes_away(frame, response, stream_id)
                    continue
                for event in self._http2.receive_data(frame):
                    if isinstance(event, h2.events.DataReceived):
                        self._http2.acknowledge_received_data(
                            event.flow_controlled_length or 0, event.stream_id
                        )
                    if getattr(event, "stream_id", None) == stream_id:
                        response.happened(event)
        except h2.exceptions.ProtocolError as error:
            response.malformed = "frames that break the rules of HTTP/2"
            exchange.error = exchange.error or f"bad response: {type(error).__name__}"
        if response.started:
            exchange.notice()
        exchange.check_size()

    def _frames(self) -> Iterator[bytes]:
        while len(self._received) >= _FRAME_HEAD_BYTES:
            end = _FRAME_HEAD_BYTES + int.from_bytes(self._received[:3], "big")
            if end > _FRAME_HEAD_BYTES + _LARGEST_FRAME_BYTES:
                raise h2.exceptions.FrameTooLargeError
            if len(self._received) < end:
                return
            frame = bytes(self._received[:end])
            del self._received[:end]
            yield frame

    def _goes_away(self, frame: bytes, response: _Response, stream_id: int) -> None:
        self.is_leaving = True
        if len(frame) < _FRAME_HEAD_BYTES + 8:
            raise h2.exceptions.FrameDataMissingError
        last_id, code = struct.unpack_from(">II", frame, _FRAME_HEAD_BYTES)
        if last_id & 0x7FFFFFFF < stream_id and response.reset is None:
            response.reset = f"GOAWAY {_code(code)}"


def _fields(upload: Upload, host: str) -> Iterator[tuple[str, str]]:
    """Yield the fields of a request, those of HTTP/2 first."""
    given = [(name.lower(), value) for name, value in upload.headers]
    yield ":method", upload.method
    yield ":scheme", "https"
    yield ":authority", next((value for name, value in given if name == "host"), host)
    yield ":path", upload.path
    if upload.size_bytes and "content-length" not in dict(given):
        yield "content-length", str(upload.size_bytes)
    for name, value in given:
        if name not in _NOT_HERE:
            yield name, value


__all__ = ["PROTOCOL", "Http2Connection", "NoHttp2Error"]
