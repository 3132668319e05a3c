"""An HTTP/3 client that uploads as it is told and writes down what came: for tests and traces.

It keeps the body back until QUIC has sent what it gave before, so that it knows how much has gone
out. It stops at STOP_SENDING, because RFC 9000 section 3.5 leaves it no choice; what it makes of
the answer then is the caller's to say. Several streams share its connection.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, ErrorCode, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, QuicEvent, StopSendingReceived, StreamReset
from aioquic.quic.logger import QuicLogger, QuicLoggerTrace

_PIECE_BYTES = 16_384
# What QUIC may have of a stream that it has not sent yet: enough to fill its window.
_UNSENT_BYTES = 262_144
# So that a large answer never waits for credit of ours.
_WINDOW_BYTES = 2**24
_CLOSE_SECONDS = 5.0
# How long to wait at most before the next look at the clock.
_TICK_SECONDS = 0.01


class _Sent(QuicLogger, QuicLoggerTrace):
    """Keeps how far each stream has been sent, and nothing else of what QUIC logs."""

    def __init__(self) -> None:
        QuicLogger.__init__(self)
        QuicLoggerTrace.__init__(self, is_client=True, odcid=b"")
        self.sent_bytes: dict[int, int] = {}
        self.ended: set[int] = set()

    def start_trace(self, is_client: bool, odcid: bytes) -> QuicLoggerTrace:
        return self

    def end_trace(self, trace: QuicLoggerTrace) -> None:
        pass

    def log_event(self, *, category: str, event: str, data: dict[str, Any]) -> None:
        if event != "packet_sent":
            return
        for frame in data["frames"]:
            if frame["frame_type"] == "stream":
                stream_id, end = frame["stream_id"], frame["offset"] + frame["length"]
                self.sent_bytes[stream_id] = max(self.sent_bytes.get(stream_id, 0), end)
                if frame["fin"]:
                    self.ended.add(stream_id)


@dataclass
class Stream:
    """One request and what came of it.

    Attributes:
        stream_id: Its number on the connection.
        size_bytes: How much is to be uploaded.
        gives_up: Whether to reset the upload at the sight of a final response.
        pause_seconds: How long to wait after each piece.
        piece_bytes: How much is sent in one DATA frame, at most.
        first_bytes: Fall silent after so many; None never does.
        written_bytes: How much of the body has been given to QUIC.
        is_sent: Whether the end of the upload has gone out.
        status: The answer's status; None before it came.
        body: The answer's body so far.
        is_complete: Whether the answer's end came.
        complete_seconds: When it came, since the request began; None before.
        stopped: The code of STOP_SENDING; None without one.
        reset: The code of RESET_STREAM; None without one.
        has_given_up: Whether the upload was reset.
    """

    stream_id: int
    size_bytes: int
    gives_up: bool = False
    pause_seconds: float = 0.0
    piece_bytes: int = _PIECE_BYTES
    first_bytes: int | None = None
    written_bytes: int = 0
    is_sent: bool = False
    status: int | None = None
    body: bytes = b""
    is_complete: bool = False
    complete_seconds: float | None = None
    stopped: int | None = None
    reset: int | None = None
    has_given_up: bool = False
    began_at: float = field(default_factory=time.monotonic)
    next_at: float = 0.0

    @property
    def is_over(self) -> bool:
        """Whether nothing more can happen: answered or reset, and sent or stopped."""
        answered = self.is_complete or self.reset is not None
        return answered and (self.is_sent or self.is_stopped)

    @property
    def is_stopped(self) -> bool:
        """Whether no more can be sent."""
        return self.stopped is not None or self.has_given_up

    @property
    def answer(self) -> tuple[int | None, bytes, bool]:
        """The status, the body, and whether they are whole."""
        return self.status, self.body, self.is_complete


class _Protocol(QuicConnectionProtocol):
    def __init__(
        self, quic: QuicConnection, happened: Callable[[QuicEvent], None], **options: Any
    ) -> None:
        super().__init__(quic, **options)
        self.quic = quic
        self.happened = happened

    def quic_event_received(self, event: QuicEvent) -> None:
        self.happened(event)


class Http3Connection:
    """One connection to a server whose certificate nobody checks.

    Args:
        address: Where the server listens.
        connect_seconds: How long the handshake may take; TimeoutError behind that.

    Attributes:
        trace: What came and went as words, with seconds since the start; each run of the same one
            is told once, with its bytes.
        closed: How the connection ended: "closed" and its code; None while open.
    """

    def __init__(self, address: tuple[str, int], *, connect_seconds: float = 5.0) -> None:
        self._address = address
        self._connect_seconds = connect_seconds
        self._sent = _Sent()
        self._streams: dict[int, Stream] = {}
        self._trace: list[tuple[str, float, int]] = []
        self._started = time.monotonic()
        self.closed: str | None = None

    def __enter__(self) -> "Http3Connection":
        self._runner = asyncio.Runner()
        self._runner.__enter__()
        try:
            self._runner.run(self._open())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._runner.run(asyncio.wait_for(self._stack.aclose(), _CLOSE_SECONDS))
        finally:
            self._runner.close()

    @property
    def trace(self) -> list[str]:
        return [
            f"{seconds:6.3f} {words}" + (f" {nbytes} bytes" if nbytes else "")
            for words, seconds, nbytes in self._trace
        ]

    def request(
        self,
        path: str,
        size_bytes: int = 0,
        *,
        method: str = "POST",
        has_length: bool = True,
        gives_up: bool = False,
        pause_seconds: float = 0.0,
        piece_bytes: int = _PIECE_BYTES,
        first_bytes: int | None = None,
    ) -> Stream:
        """Begin a request; `run` sends its body."""
        stream = Stream(
            self._protocol.quic.get_next_available_stream_id(),
            size_bytes,
            gives_up=gives_up,
            pause_seconds=pause_seconds,
            piece_bytes=piece_bytes,
            first_bytes=first_bytes,
            is_sent=not size_bytes,
        )
        headers = [
            (b":method", method.encode()),
            (b":scheme", b"https"),
            (b":authority", "{}:{}".format(*self._address).encode()),
            (b":path", path.encode()),
        ]
        if has_length and size_bytes:
            headers.append((b"content-length", b"%d" % size_bytes))
        self._http.send_headers(stream.stream_id, headers, end_stream=not size_bytes)
        self._streams[stream.stream_id] = stream
        self._note(f"> HEADERS {stream.stream_id}")
        return stream

    def run(self, until: Callable[[], bool], *, timeout_seconds: float) -> None:
        """Send and receive until *until* is true, the connection ends or the time is up."""
        self._runner.run(self._run(until, timeout_seconds))

    async def _open(self) -> None:
        configuration = QuicConfiguration(
            is_client=True,
            alpn_protocols=H3_ALPN,
            verify_mode=ssl.CERT_NONE,
            max_data=_WINDOW_BYTES,
            max_stream_data=_WINDOW_BYTES,
            quic_logger=self._sent,
        )
        self._event = asyncio.Event()

        def protocol_of(quic: QuicConnection, **options: Any) -> _Protocol:
            # Before anything comes: the server's settings come with its handshake.
            self._http = H3Connection(quic)
            return _Protocol(quic, self._happened, **options)

        async with contextlib.AsyncExitStack() as stack, asyncio.timeout(self._connect_seconds):
            client = connect(
                *self._address, configuration=configuration, create_protocol=protocol_of
            )
            protocol = await stack.enter_async_context(client)
            assert isinstance(protocol, _Protocol)
            self._protocol = protocol
            self._stack = stack.pop_all()

    async def _run(self, until: Callable[[], bool], timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not until() and self.closed is None and time.monotonic() < deadline:
            for stream in self._streams.values():
                self._send_some(stream)
            self._protocol.transmit()
            self._event.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._event.wait(), _TICK_SECONDS)

    def _send_some(self, stream: Stream) -> None:
        self._look_at_end(stream)
        limit = stream.size_bytes if stream.first_bytes is None else stream.first_bytes
        # The frames' own headers are few bytes more than the body.
        while (
            not stream.is_stopped
            and stream.written_bytes < limit
            and time.monotonic() >= stream.next_at
            and stream.written_bytes - self._sent.sent_bytes.get(stream.stream_id, 0)
            < _UNSENT_BYTES
        ):
            nbytes = min(limit - stream.written_bytes, stream.piece_bytes)
            stream.written_bytes += nbytes
            ends = stream.written_bytes == stream.size_bytes
            self._http.send_data(stream.stream_id, b"x" * nbytes, ends)
            stream.next_at = time.monotonic() + stream.pause_seconds
            self._note(f"> DATA {stream.stream_id}" + (" FIN" if ends else ""), nbytes)

    def _look_at_end(self, stream: Stream) -> None:
        stream.is_sent = stream.is_sent or stream.stream_id in self._sent.ended

    def _happened(self, event: QuicEvent) -> None:
        self._event.set()
        match event:
            case StopSendingReceived() if event.stream_id in self._streams:
                self._streams[event.stream_id].stopped = event.error_code
                self._note(f"< STOP_SENDING {event.stream_id} {_code(event.error_code)}")
            case StreamReset() if event.stream_id in self._streams:
                self._streams[event.stream_id].reset = event.error_code
                self._note(f"< RESET_STREAM {event.stream_id} {_code(event.error_code)}")
            case ConnectionTerminated():
                self.closed = f"closed {_code(event.error_code)} {event.reason_phrase}".rstrip()
                self._note(f"< {self.closed}")
        for http in self._http.handle_event(event):
            if isinstance(http, HeadersReceived | DataReceived):
                self._answered(self._streams[http.stream_id], http)

    def _answered(self, stream: Stream, event: HeadersReceived | DataReceived) -> None:
        if isinstance(event, HeadersReceived):
            status = dict(event.headers).get(b":status")
            stream.status = stream.status if status is None else int(status)
            self._note(f"< HEADERS {stream.stream_id} {stream.status}")
        else:
            stream.body += event.data
            self._note(f"< DATA {stream.stream_id}", len(event.data))
        if event.stream_ended:
            stream.is_complete = True
            stream.complete_seconds = time.monotonic() - stream.began_at
            self._note(f"< FIN {stream.stream_id}")
        self._look_at_end(stream)
        is_sending = not (stream.is_sent or stream.is_stopped)
        if stream.gives_up and is_sending and (stream.status or 0) >= 200:
            stream.has_given_up = True
            self._protocol.quic.reset_stream(stream.stream_id, ErrorCode.H3_REQUEST_CANCELLED)
            self._note(f"> RESET_STREAM {stream.stream_id}")

    def _note(self, words: str, nbytes: int = 0) -> None:
        for at in range(len(self._trace) - 1, max(-1, len(self._trace) - 4), -1):
            before, seconds, total = self._trace[at]
            if nbytes and before == words:
                self._trace[at] = (words, seconds, total + nbytes)
                return
        self._trace.append((words, time.monotonic() - self._started, nbytes))


def _code(code: int) -> str:
    return ErrorCode(code).name if code in list(ErrorCode) else str(code)
