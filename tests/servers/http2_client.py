"""An HTTP/2 client that uploads as it is told and writes down the frames: for tests and traces.

It reads while it sends, sends for as long as flow control allows, and stops at RST_STREAM, as RFC
9113 section 8.1 wants it. Several streams share its connection.
"""

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

_FRAME_BYTES = 16_384
_RECEIVE_BYTES = 65_536
# How long to look at the socket at most before the next look at the clock.
_TICK_SECONDS = 0.02
# So that a large answer never waits for credit of ours.
_WINDOW_BYTES = 2**24


@dataclass
class Stream:
    """One request and what came of it.

    Attributes:
        stream_id: Its number on the connection.
        size_bytes: How much is to be uploaded.
        pause_seconds: How long to wait after each piece.
        piece_bytes: How much is sent in one DATA frame, at most.
        first_bytes: Fall silent after so many; None never does.
        sent_bytes: How much has been sent.
        status: The answer's status; None before it came.
        body: The answer's body so far.
        is_complete: Whether END_STREAM came.
        reset: The code of RST_STREAM; None without one.
    """

    stream_id: int
    size_bytes: int
    pause_seconds: float = 0.0
    piece_bytes: int = _FRAME_BYTES
    first_bytes: int | None = None
    sent_bytes: int = 0
    status: int | None = None
    body: bytes = b""
    is_complete: bool = False
    reset: int | None = None
    is_sent: bool = False
    next_at: float = field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        """Whether nothing more can happen: answered, and sent or reset."""
        return self.reset is not None or (self.is_complete and self.is_sent)

    @property
    def answer(self) -> tuple[int | None, bytes, bool]:
        """The status, the body, and whether they are whole."""
        return self.status, self.body, self.is_complete


class Http2Connection:
    """One connection, with prior knowledge or over TLS with ALPN.

    Attributes:
        trace: The frames in both directions as words, with seconds since the start; each run of
            the same one is told once, with its bytes.
        closed: How the server ended the connection: "GOAWAY 0", "fin", "reset"; None while open.
    """

    def __init__(
        self, address: tuple[str, int], *, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        self._address = address
        self._started = time.monotonic()
        self._socket = socket.create_connection(address, 5.0)
        # The end of a window must not wait for the server's delayed ACK.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if ssl_context is not None:
            ssl_context.set_alpn_protocols(["h2"])
            self._socket = ssl_context.wrap_socket(self._socket, server_hostname=address[0])
        self._scheme = "http" if ssl_context is None else "https"
        self._socket.setblocking(False)
        self._connection = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        )
        self._connection.initiate_connection()
        self._connection.increment_flow_control_window(_WINDOW_BYTES)
        self._unsent = b""
        self._streams: dict[int, Stream] = {}
        self._trace: list[tuple[str, float, int]] = []
        self.closed: str | None = None

    def __enter__(self) -> "Http2Connection":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

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
        pause_seconds: float = 0.0,
        piece_bytes: int = _FRAME_BYTES,
        first_bytes: int | None = None,
    ) -> Stream:
        """Begin a request; `run` sends its body."""
        stream_id = self._connection.get_next_available_stream_id()
        headers = [
            (":method", method),
            (":path", path),
            (":authority", "{}:{}".format(*self._address)),
            (":scheme", self._scheme),
        ]
        if has_length and size_bytes:
            headers.append(("content-length", str(size_bytes)))
        self._connection.send_headers(stream_id, headers, end_stream=not size_bytes)
        self._connection.increment_flow_control_window(_WINDOW_BYTES, stream_id)
        stream = Stream(
            stream_id,
            size_bytes,
            pause_seconds=pause_seconds,
            piece_bytes=piece_bytes,
            first_bytes=first_bytes,
            is_sent=not size_bytes,
        )
        self._streams[stream_id] = stream
        self._note(f"> HEADERS {stream_id}")
        return stream

    def run(self, until: Callable[[], bool], *, timeout_seconds: float) -> None:
        """Send and receive until *until* is true, the connection ends or the time is up."""
        deadline = time.monotonic() + timeout_seconds
        while not until() and self.closed is None and time.monotonic() < deadline:
            for stream in self._streams.values():
                self._send_some(stream)
            self._unsent += self._connection.data_to_send()
            wants_write = [self._socket] if self._unsent else []
            readable, writable, _ = select.select([self._socket], wants_write, [], _TICK_SECONDS)
            if writable:
                self._write()
            # What TLS has already decrypted is not seen by select.
            if readable or isinstance(self._socket, ssl.SSLSocket):
                self._read()

    # --- one direction, and the other -----------------------------------------------------------

    def _send_some(self, stream: Stream) -> None:
        now = time.monotonic()
        limit = stream.size_bytes if stream.first_bytes is None else stream.first_bytes
        left = limit - stream.sent_bytes
        if stream.is_sent or stream.reset is not None or now < stream.next_at or self._unsent:
            return
        credit = min(
            self._connection.local_flow_control_window(stream.stream_id),
            self._connection.max_outbound_frame_size,
        )
        nbytes = min(credit, left, stream.piece_bytes)
        if nbytes > 0:
            ends = stream.sent_bytes + nbytes == stream.size_bytes
            self._connection.send_data(stream.stream_id, b"x" * nbytes, end_stream=ends)
            stream.sent_bytes += nbytes
            stream.next_at = now + stream.pause_seconds
            stream.is_sent = ends
            self._note(f"> DATA {stream.stream_id}" + (" END_STREAM" if ends else ""), nbytes)

    def _write(self) -> None:
        with contextlib.suppress(ssl.SSLWantWriteError, ssl.SSLWantReadError, BlockingIOError):
            try:
                sent = self._socket.send(self._unsent)
            except OSError as error:
                if isinstance(
                    error, (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
                ):
                    raise
                self._read()
                self._end("reset")
                return
            self._unsent = self._unsent[sent:]

    def _read(self) -> None:
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            self._end("reset")
            return
        if not data:
            self._end("fin")
            return
        for event in self._connection.receive_data(data):
            self._happened(event)

    def _happened(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived():
                stream = self._streams[event.stream_id]
                stream.status = int(dict(event.headers)[":status"])
                self._note(f"< HEADERS {event.stream_id} {stream.status}")
            case h2.events.DataReceived():
                self._streams[event.stream_id].body += event.data
                self._note(f"< DATA {event.stream_id}", len(event.data))
                self._connection.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id
                )
            case h2.events.StreamEnded():
                self._streams[event.stream_id].is_complete = True
                self._note(f"< END_STREAM {event.stream_id}")
            case h2.events.StreamReset() if event.remote_reset:
                self._streams[event.stream_id].reset = int(event.error_code)
                self._note(f"< RST_STREAM {event.stream_id} {_code(event.error_code)}")
            case h2.events.WindowUpdated():
                self._note(f"< WINDOW_UPDATE {event.stream_id}", event.delta)
            case h2.events.ConnectionTerminated():
                self._end(f"GOAWAY {_code(event.error_code)}")

    def _end(self, how: str) -> None:
        if self.closed is None:
            self.closed = how
            self._note(f"< {how}")

    def _note(self, words: str, nbytes: int = 0) -> None:
        for at in range(len(self._trace) - 1, max(-1, len(self._trace) - 4), -1):
            before, seconds, total = self._trace[at]
            if nbytes and before == words:
                self._trace[at] = (words, seconds, total + nbytes)
                return
        self._trace.append((words, time.monotonic() - self._started, nbytes))


def _code(code: h2.errors.ErrorCodes | int | None) -> str:
    return code.name if isinstance(code, h2.errors.ErrorCodes) else str(code)
