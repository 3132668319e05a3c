"""One request, its body and its response: when the body is read away, and by whom.

The order, and why (RFC 9112 section 9.6; `docs/explanation/when-and-how-long`):

1. The response goes first, and the body is discarded in the iterable's ``close()``: PEP 3333's
   hook behind the response.
2. More response than a socket buffer holds would block both sides, because a strict client does
   not read while it writes. Before that much is passed on, the body is read off the connection.
3. If the application may still read it, up to ``late_read_bytes`` are kept.
"""

from __future__ import annotations

import array
import inspect
import selectors
import sys
import time
from collections.abc import Iterable, Iterator
from types import BuiltinFunctionType
from typing import Any

from drainkit import (
    CONTROL_KEY,
    BodyKind,
    Drain,
    DrainControl,
    DrainPolicy,
    DrainReport,
    OnReport,
    Outcome,
    Read,
    framing,
    keep_heap,
    publish,
)

from ._body import CountingInput, ReadAhead
from ._servers import Invitation, Server, reads_no_further, server_of
from ._types import Environ, ExcInfo, Headers, StartResponse, Write
from ._watchdog import Deadline, shut_read_side

if sys.platform != "win32":  # where no connection is reached, and nothing is asked of one
    import fcntl
    import termios

# What fits the smallest default buffers between two sockets (Linux tcp_wmem and tcp_rmem grow
# from 16 KiB and 128 KiB), so that passing it on never blocks.
RESPONSE_BUFFER_BYTES = 65_536

# How long a client may be silent before a response that waits for its upload goes on: an eager
# client (curl) stops sending when it has seen the status, and waits for the rest.
_QUIET_SECONDS = 0.5

# The end of a body may already be in a buffer of the server, where its connection does not show
# it, and is the last place where a client would stop sending.
_NEAR_END_BYTES = 65_536

# What a status line begins with (PEP 3333).
_STATUS_CODES = {f"{code:03}": code for code in range(1000)}

# RFC 9110 section 6.4.1: responses with these statuses have no content.
_STATUSES_WITHOUT_CONTENT = frozenset({204, 304})


# What becomes of such a body is the server's business, as it is without drainkit. After everything
# else the server must not go on with it: werkzeug would read a body that it found malformed to its
# end, and gunicorn's gthread worker one for which there was no room for 5 s, and then close for 2 s
# in the one thread that accepts, so that nobody was answered.
_LEFT_TO_THE_SERVER = frozenset(
    {Outcome.COMPLETE, Outcome.DECLINED, Outcome.EXPECT_PENDING, Outcome.UNFRAMED}
)

# Where threads are greenlets, nobody else runs while the client sends faster than it is read.
_TURN_SECONDS = 0.01
_TURN_OF_OTHERS_SECONDS = 0.001


class Exchange:
    """One request with a body, from the moment its headers are known to its drain's end.

    `DrainMiddleware` uses it around an application. An adapter that stands inside one opens it
    when the request begins, sets `status` when the application has answered, and returns what
    `respond` returns, or calls `discard` after the response has gone out.

    Attributes:
        drain: The engine's drain of this body.
        server: What is known of the server.
    """

    __slots__ = (
        "_ahead",
        "_chunks",
        "_control",
        "_environ",
        "_held",
        "_input",
        "_is_answered",
        "_is_quiet",
        "_on_report",
        "_passed_bytes",
        "_response_length",
        "_since",
        "_start_response",
        "_stream",
        "_write",
        "drain",
        "server",
    )

    def __init__(
        self,
        environ: Environ,
        policy: DrainPolicy | None,
        on_report: OnReport | None = None,
        server: Server | None = None,
    ) -> None:
        """Begin with a request that `open` found to have a body, and its server if it knows it."""
        self._since = time.monotonic()
        self.server = server = server or server_of(environ)
        protocol: str = environ.get("SERVER_PROTOCOL", "")
        encoding = expect = None
        if "HTTP_TRANSFER_ENCODING" in environ:
            encoding = server.transfer_encoding(environ)
        # Where the invitation has gone out, the body comes like any other.
        if "HTTP_EXPECT" in environ and server.invitation is not Invitation.SENT:
            expect = environ["HTTP_EXPECT"]
        self.drain = drain = Drain(
            policy,
            framing(
                http_version=protocol[5:],
                content_length=environ.get("CONTENT_LENGTH"),
                transfer_encoding=encoding,
                expect=expect,
            ),
        )
        # For the report; the application may change its environ.
        drain.protocol = protocol
        drain.server = server.name
        drain.method = environ.get("REQUEST_METHOD", "")
        drain.path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        self._environ = environ
        self._on_report = on_report
        self._control = DrainControl(policy)
        self._control.bind(drain)
        self._stream: Any = environ["wsgi.input"]
        self._input = CountingInput(self._stream, drain)
        self._chunks: Any = None
        if drain.framing.length is None and self._is_unframed:
            self._chunks = self.server.chunks(environ, self._stream)
        if self._chunks is None:
            environ["wsgi.input"] = self._input
        else:
            # An application reads such a body by the server's own means, and not from there.
            self._stream = self._chunks
        environ[CONTROL_KEY] = self._control
        self._ahead: ReadAhead | None = None
        self._is_quiet = False
        self._start_response: StartResponse | None = None
        self._held: tuple[str, Headers, ExcInfo | None] | None = None
        self._write: Write | None = None
        self._response_length: int | None = None
        self._passed_bytes = 0
        self._is_answered = False

    @classmethod
    def open(
        cls, environ: Environ, policy: DrainPolicy | None, on_report: OnReport | None = None
    ) -> Exchange | None:
        """Begin an exchange if its body could be left on the connection.

        Args:
            environ: The WSGI environ. Its ``wsgi.input`` is replaced by one that counts, and the
                `drainkit.DrainControl` is put into it.
            policy: The bounds; ``None`` leaves bodies alone unless the application says otherwise.
            on_report: Told of the drain.

        Returns:
            The exchange; ``None`` when the request has no body, when the server has read it
            already, or when another drainkit takes care of it.
        """
        return cls.open_body(environ, policy, on_report) if has_body(environ) else None

    @classmethod
    def open_body(
        cls, environ: Environ, policy: DrainPolicy | None, on_report: OnReport | None
    ) -> Exchange | None:
        """Do the same for a request that is known to have a body (`has_body`)."""
        if CONTROL_KEY in environ or "wsgi.input" not in environ:
            return None
        server = server_of(environ)
        return None if server.buffers_body else cls(environ, policy, on_report, server)

    # --- what the application does -------------------------------------------------------------

    @property
    def body_read(self) -> bool:
        """Whether nothing is left to do, as the body has been read or its drain has ended."""
        return self.drain.finished or self.drain.report is not None

    @property
    def status(self) -> int | None:
        """The response's status code; ``None`` until it is known."""
        return self.drain.status

    @status.setter
    def status(self, status: int | None) -> None:
        self.drain.status = status

    def starter(self, start_response: StartResponse) -> StartResponse:
        """Return the ``start_response`` for the application."""
        self._start_response = start_response
        return self._start

    def _start(self, status: str, headers: Headers, exc_info: ExcInfo | None = None, /) -> Write:
        drain = self.drain
        try:
            code = _STATUS_CODES.get(status[:3])
        except TypeError:
            code = None  # no string: the server is to say so
        if drain.finished and self._held is None:
            # Nothing is left to do, and nobody will ask how long the response is.
            drain.status = code
            return self._started(status, headers, exc_info)
        if self._held is not None and exc_info is None:
            # A second call without exc_info is an error, and the server says which.
            self.release_start()
        drain.status = code
        try:
            self._response_length = _content_length(headers)
        except (AttributeError, TypeError, ValueError):
            # Not what PEP 3333 asks for: the server is to say so.
            self._held = None
            self._write = self._started(status, headers, exc_info)
            return self.write
        if self._response_length is not None or self.body_read or self._write is not None:
            self._held = None
            self._write = self._started(status, headers, exc_info)
        else:
            # Held until it is known whether the whole response is: then Content-Length can be
            # set, and a client sees the response's end while the body is discarded behind it.
            self._held = (status, headers, exc_info)
        return self.write

    def write(self, data: bytes) -> None:
        """Pass response bytes on at once: the ``write`` callable of PEP 3333."""
        self.release_start()
        self.make_room(len(data), is_done=False)
        self.passed(len(data))
        if self._write is None:
            raise AssertionError("write() before start_response()")
        self._write(data)

    def release_start(self, whole_length: int | None = None) -> None:
        """Pass a held ``start_response`` on.

        Args:
            whole_length: The length of the whole response in bytes, for a Content-Length;
                ``None`` when it is not known.
        """
        if self._held is None:
            return
        status, headers, exc_info = self._held
        self._held = None
        code = self.drain.status
        if (
            whole_length is not None
            and code is not None
            and code >= 200
            and code not in _STATUSES_WITHOUT_CONTENT
            and self._environ.get("REQUEST_METHOD") != "HEAD"
            and not any(name.lower() == "transfer-encoding" for name, _ in headers)
        ):
            headers = [*headers, ("Content-Length", str(whole_length))]
            self._response_length = whole_length
        self._write = self._started(status, headers, exc_info)

    def _started(self, status: str, headers: Headers, exc_info: ExcInfo | None) -> Write:
        assert self._start_response is not None  # starter() was called before the application
        if exc_info is None:
            return self._start_response(status, headers)
        return self._start_response(status, headers, exc_info)

    # --- the response --------------------------------------------------------------------------

    def respond(self, result: Iterable[bytes]) -> Iterable[bytes]:
        """Take the application's result; return what the server is to get.

        A result that needs nothing is returned as it is: the body has been read, or the server's
        ``wsgi.file_wrapper`` made it.
        """
        if self.drain.finished and self._held is None:
            return result  # the ordinary request: nothing is left to do
        try:
            return self._respond(result)
        except BaseException:
            # The server (its start_response) raised, and will never see what it would close.
            close_iterable(result)
            raise

    def _respond(self, result: Iterable[bytes]) -> Iterable[bytes]:
        length = _whole_length(result)
        if length is not None:
            self.release_start(length)
            self.make_room(length, is_done=True)
            if self.body_read:
                return result
            return _Response(self, result)
        # Now and not with the first item: granian takes the status before it asks for one.
        self.release_start()
        if self.body_read:
            return result
        if _is_file(result, self._environ.get("wsgi.file_wrapper")):
            self.discard()
            return result
        if self._would_be_stuck(self._response_length):
            # Now, because granian sends the headers before it asks for the first item.
            self._read_ahead()
        return _Response(self, result)

    def make_room(self, nbytes: int, *, is_done: bool) -> None:
        """Make sure that passing *nbytes* more of the response on cannot block for ever.

        Args:
            nbytes: Response bytes that are to be passed on next.
            is_done: Whether the application has finished, so that it will not read the body.
        """
        if self.body_read:
            return
        total = self._passed_bytes + nbytes
        expected = self._response_length
        is_done = is_done or (expected is not None and total >= expected)
        if is_done and self._must_come_after_body():
            self.discard()
        if nbytes == 0:
            return
        if self._must_discard_before_headers():
            if is_done:
                self.discard()
            else:
                # Otherwise the server would throw away what the application wants to read.
                self.server.refuse_reuse(self._start_response, self._stream)
        if total > RESPONSE_BUFFER_BYTES and not self.body_read:
            if is_done and self._is_quiet:
                pass  # a client that has stopped sending reads: the rest is for close()
            elif is_done:
                self.discard()
            elif self.drain.untouched:
                self._read_ahead()

    def passed(self, nbytes: int) -> None:
        """Take note that *nbytes* of the response are being passed on."""
        self._passed_bytes += nbytes

    def must_look_ahead(self, nbytes: int) -> bool:
        """Tell whether it matters, before *nbytes* are passed on, that they are the last."""
        if self.body_read or nbytes == 0 or self._response_length is not None:
            return False
        if self._must_discard_before_headers():
            return True
        crosses = self._passed_bytes + nbytes > RESPONSE_BUFFER_BYTES
        # An application that has begun to read may read between two chunks, and its client may
        # wait for the first of them: only a single big chunk is looked behind there.
        return crosses and (self.drain.untouched or self._passed_bytes == 0)

    def _must_discard_before_headers(self) -> bool:
        return (
            self.server.discards_before_headers
            and self._passed_bytes == 0
            and self.drain.framing.kind is BodyKind.LENGTH
            and self.drain.status not in self.server.discards_not_with_status
        )

    def _must_come_after_body(self) -> bool:
        """Tell whether a response must not end before its upload: else clients may lose it.

        Behind Caddy they do, as `reads_no_further` says, and over HTTP/2:
        httpx and curl 7.88 lose one that is followed by RST_STREAM, as granian does it. Without
        that, curl hears no more of the server once it has what Content-Length says.
        """
        return not self.body_read and (not self._is_http1 or reads_no_further(self._environ))

    def _would_be_stuck(self, expected: int | None) -> bool:
        """Tell whether a streamed response must not begin before the body has been read off.

        Where no deadline can interrupt a read, nothing may be read between two pieces of a
        response: a client that stops sending at an error status (curl) would wait for the second
        piece, and the server for the client. So what is to be read is read before the first.
        """
        if not self.drain.untouched or self._connection() is not None:
            return False
        is_error = (self.drain.status or 0) >= 400
        if expected is None or (is_error and not self._is_http1):
            return is_error
        return expected > RESPONSE_BUFFER_BYTES

    # --- the body ------------------------------------------------------------------------------

    def discard(self, *, is_answered: bool = False) -> None:
        """Read the body away, within the policy's bounds, and report. Does nothing twice.

        Args:
            is_answered: Whether the whole response has gone out, as it has when the server calls
                the iterable's ``close()``.

        Raises nothing but what interrupts the whole process (`KeyboardInterrupt` and the like).
        """
        drain = self.drain
        self._is_answered = is_answered
        if drain.report is not None or drain.finished:
            self._shut_if_left()
            return
        if self._ahead is not None:
            self._ahead.lose()
        else:
            self._ahead = ReadAhead(0)
            self._input.read_ahead(self._ahead)
        # A read that failed does not fail twice: who reads in close() would see the body's end.
        self._ahead.is_cut = self._run(keep=None)
        self._ahead.lost_bytes = drain.bytes_discarded
        self._shut_if_left()

    def abandon(self, reason: BaseException) -> None:
        """Leave the body alone: the process, its worker or this greenlet is being ended."""
        drain = self.drain
        if drain.report is None and not drain.finished:
            self._finish(drain.stop(Outcome.ERROR, time.monotonic(), type(reason).__name__))

    def discard_before_server(self) -> None:
        """At the end, discard where the server would do so itself, and without a deadline."""
        if (
            self.server.discards_before_close
            or self._must_discard_before_headers()
            or self._must_come_after_body()
        ):
            self.discard(is_answered=self._passed_bytes > 0)

    def _shut_if_left(self) -> None:
        """Behind the response, do not let the server go on where the bounds said to stop."""
        report = self.drain.report
        if self._is_answered and report is not None and report.outcome not in _LEFT_TO_THE_SERVER:
            descriptor = self._connection()
            if descriptor is not None:
                shut_read_side(descriptor)

    def _read_ahead(self) -> None:
        """Read the body off the connection, and keep some of it for the application."""
        policy = self._control.policy
        if policy is None or self._chunks is not None:
            return  # what is read away could not be given to the application
        if self._awaits_invitation:
            return  # nothing comes, and the application may still invite it
        if self._ahead is None:
            self._ahead = ReadAhead(policy.late_read_bytes)
            self._input.read_ahead(self._ahead)
        self._run(keep=self._ahead)

    def _run(self, *, keep: ReadAhead | None) -> bool:
        """Drain, unless that is refused at once; tell whether it was begun and did not complete."""
        drain = self.drain
        drain.policy = self._control.policy
        keep_heap()
        step = self._refusal() or drain.begin(
            time.monotonic(),
            since=self._since,
            largest_read_bytes=self.server.largest_read_bytes,
        )
        if isinstance(step, DrainReport):
            self._finish(step)
            return False
        try:
            report = self._read_away(step, keep)
        except BaseException as exc:
            # The process or its worker ends, or gevent gave the request up.
            self._finish(drain.stop(Outcome.ERROR, time.monotonic(), type(exc).__name__))
            raise
        if report is None:
            return False
        self._finish(report)
        return report.outcome is not Outcome.COMPLETE

    def _refusal(self) -> DrainReport | None:
        """Report at once where this body must not be read at all."""
        drain = self.drain
        now = time.monotonic()
        if drain.policy is None or drain.policy.max_bytes == 0:
            return None  # the engine says so
        if self._is_unframed and self._chunks is None:
            return drain.stop(Outcome.UNFRAMED, now, "the server does not end chunked bodies")
        if self._awaits_invitation:
            return drain.stop(Outcome.EXPECT_PENDING, now)
        return None

    @property
    def _awaits_invitation(self) -> bool:
        """Whether the first read would invite a client to send that waits for it."""
        return (
            self.drain.framing.expects_continue
            and self.drain.untouched
            and self.server.invitation is Invitation.ON_READ
        )

    def _read_away(self, step: Read, keep: ReadAhead | None) -> DrainReport | None:
        """Read until the drain ends; return None if it only pauses for the application."""
        drain = self.drain
        descriptor = self._connection()
        deadline = Deadline(
            descriptor,
            None if self._is_answered else self.server.socket(self._environ, self._start_response),
        )
        try:
            with deadline:
                report = self._read_until(deadline, step, keep, descriptor)
        except (OSError, RuntimeError) as exc:
            # Without a descriptor or a thread there is no deadline, and without that no bound.
            report = drain.stop(Outcome.ERROR, time.monotonic(), f"cannot watch: {exc}")
        # Only now is it certain: the deadline may have come behind the last read.
        if deadline.fired:
            if report is None:
                report = drain.stop(Outcome.IDLE, time.monotonic())
            if keep is not None and report.outcome is not Outcome.COMPLETE:
                keep.is_cut = True
            self.server.refuse_reuse(self._start_response, self._stream)
        return report

    def _read_until(
        self, deadline: Deadline, step: Read, keep: ReadAhead | None, descriptor: int | None
    ) -> DrainReport | None:
        drain = self.drain
        # gevent and eventlet put a function of theirs in its place.
        has_greenlets = not isinstance(time.sleep, BuiltinFunctionType)
        turn_ends = time.monotonic() + _TURN_SECONDS
        while True:
            if keep is not None and descriptor is not None and not self._is_near_end:
                arrived = self._arrived_bytes(descriptor)
                if not arrived:
                    drain.pause(time.monotonic())
                    return None
                step = step._replace(max_bytes=min(step.max_bytes, arrived))
            next_step = self._read_once(step, deadline, keep)
            if isinstance(next_step, DrainReport):
                return next_step
            step = next_step
            if has_greenlets and time.monotonic() > turn_ends:
                time.sleep(_TURN_OF_OTHERS_SECONDS)
                turn_ends = time.monotonic() + _TURN_SECONDS

    def _read_once(
        self, step: Read, deadline: Deadline, keep: ReadAhead | None
    ) -> Read | DrainReport:
        drain = self.drain
        remaining = drain.remaining_bytes
        error: Exception | None = None
        data = b""
        started = time.monotonic()
        deadline.allow(step.wait_seconds)
        try:
            data = self._stream.read(step.max_bytes)
        except Exception as exc:
            error = exc.with_traceback(None)  # or that and this frame would hold each other
        now = time.monotonic()
        nbytes = len(data)
        if keep is not None:
            keep.add(data)
            keep.is_cut = (deadline.fired or error is not None) and nbytes != remaining
        if (deadline.fired or isinstance(error, TimeoutError)) and nbytes != remaining:
            # A read that was ended half-way cannot be taken up again, whatever the deadline.
            next_step = drain.waited(now, nbytes)
            if isinstance(next_step, Read):
                # The server's own time limit was shorter (cheroot: 10 s), or by a tick.
                return drain.stop(Outcome.IDLE, now, "" if error is None else str(error))
            return next_step
        if isinstance(error, OSError):
            return drain.stop(Outcome.DISCONNECTED, now, str(error))
        if error is not None:
            # The server found the body malformed; it knows not to use the connection again.
            return drain.stop(Outcome.ERROR, now, f"{type(error).__name__}: {error}")
        if nbytes == 0:
            if remaining is None:
                return _as_report(drain.received(0, more=False, now=now))
            return drain.disconnected(now)
        next_step = drain.received(nbytes, more=nbytes != remaining, now=now)
        if isinstance(next_step, Read) and now - started > step.wait_seconds:
            # Nothing could end this read (granian): its bytes are no progress, as elsewhere.
            return drain.stop(Outcome.IDLE, now)
        return next_step

    @property
    def _is_near_end(self) -> bool:
        remaining = self.drain.remaining_bytes
        return remaining is not None and remaining <= _NEAR_END_BYTES

    @property
    def _is_unframed(self) -> bool:
        """Whether nobody tells where the body ends when ``wsgi.input`` is read."""
        return self.drain.framing.kind is BodyKind.CHUNKED and not self._environ.get(
            "wsgi.input_terminated"
        )

    def _connection(self) -> int | None:
        return self.server.connection(self._environ, self._stream)

    def _arrived_bytes(self, descriptor: int) -> int:
        """Return how much of the body may be read without waiting; 0 if the client is quiet.

        It waits a moment for some. Told by the connection alone: what the server has in a buffer
        of its own is not seen, and only makes the client seem quiet too early.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            self._is_quiet = not selector.select(0 if self._is_quiet else _QUIET_SECONDS)
        if self._is_quiet:
            return 0
        waiting = array.array("i", [0])
        fcntl.ioctl(descriptor, termios.FIONREAD, waiting)
        # Chunk headers and TLS records are not body: half of what came surely is.
        is_plain = self.drain.framing.kind is BodyKind.LENGTH and not self._is_tls
        return max(1, waiting[0] if is_plain else waiting[0] // 2)

    @property
    def _is_http1(self) -> bool:
        return self.drain.protocol[5:6] not in ("2", "3")

    @property
    def _is_tls(self) -> bool:
        return bool(self._environ.get("wsgi.url_scheme") == "https")

    def _finish(self, report: DrainReport) -> None:
        # A declined body is the server's business, as it is without drainkit.
        if report.outcome not in (Outcome.COMPLETE, Outcome.DECLINED):
            self.server.refuse_reuse(self._start_response, self._stream)
        publish(report, self._on_report, time.monotonic())


def has_body(environ: Environ) -> bool:
    """Tell from the headers whether a request may have a body."""
    length = environ.get("CONTENT_LENGTH")
    if (length and length != "0") or "HTTP_TRANSFER_ENCODING" in environ:
        return True
    # HTTP/2 and HTTP/3 need no header field for a body (RFC 9113 section 8.1). Every request
    # without one comes here, and nearly all of them speak HTTP/1.1: asked first, as it is cheaper.
    protocol: str = environ.get("SERVER_PROTOCOL", "")
    return protocol != "HTTP/1.1" and protocol[:6] in ("HTTP/2", "HTTP/3")


class _Response(Iterator[bytes]):
    """The response on its way to the server, with the discarding behind it.

    An object and not a generator: granian reads the status before it asks for the first item.
    """

    __slots__ = ("_ahead", "_error", "_exchange", "_is_closed", "_is_done", "_items", "_result")

    def __init__(self, exchange: Exchange, result: Iterable[bytes]) -> None:
        self._exchange = exchange
        self._error: Exception | None = None
        self._result = result
        self._items: Iterator[bytes] | None = None
        self._ahead: list[bytes] = []
        self._is_done = isinstance(result, (list, tuple))
        self._is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._ahead:
            item = self._ahead.pop()
        elif self._error is not None:
            raise self._error
        elif (taken := self._take()) is None:
            self._exchange.release_start()
            self._exchange.discard_before_server()
            raise StopIteration
        else:
            item = taken
        exchange = self._exchange
        if exchange.body_read:
            exchange.release_start()
            return item
        if not self._is_done and exchange.must_look_ahead(len(item)):
            try:
                behind = self._take()
                while behind is not None and not behind:
                    behind = self._take()
            except Exception as exc:
                # What came before it still goes out, as it would without the look ahead.
                behind, self._error = None, exc
            if behind is None:
                self._is_done = True
            else:
                self._ahead.append(behind)
        exchange.release_start()
        exchange.make_room(len(item), is_done=self._is_done)
        exchange.passed(len(item))
        return item

    def _take(self) -> bytes | None:
        """Return the application's next item, or None behind the last."""
        try:
            if self._items is None:
                self._items = iter(self._result)
            return next(self._items, None)
        except Exception:
            self._exchange.discard()
            raise
        except BaseException as exc:
            self._exchange.abandon(exc)
            raise

    def close(self) -> None:
        """Close the application's iterable, once, and discard the body behind the response."""
        if self._is_closed:
            return
        self._is_closed = True
        ending = sys.exc_info()[1]
        if ending is not None and not isinstance(ending, Exception):
            self._exchange.abandon(ending)
        try:
            # First, so that what the application holds (a database connection) is not held for
            # as long as the client uploads.
            close_iterable(self._result)
        except Exception:
            self._exchange.discard(is_answered=True)
            raise
        except BaseException as exc:
            self._exchange.abandon(exc)
            raise
        self._exchange.discard(is_answered=True)


def close_iterable(result: Iterable[bytes]) -> None:
    """Close an application's iterable, if it can be closed (PEP 3333)."""
    close = getattr(result, "close", None)
    if close is not None:
        close()


def _content_length(headers: Headers) -> int | None:
    for name, value in headers:
        if name.lower() == "content-length":
            return int(value) if value.isascii() and value.isdigit() else None
    return None


def _whole_length(result: Iterable[bytes]) -> int | None:
    """Return how long a response is that is known as a whole, or None."""
    if not isinstance(result, (list, tuple)):
        return None
    # Anything but bytes is the application's error, and the server's to tell.
    return sum(map(len, result)) if all(isinstance(item, bytes) for item in result) else None


def _is_file(result: Iterable[bytes], file_wrapper: Any) -> bool:
    """Tell whether the server's ``wsgi.file_wrapper`` made a result, which it then must get."""
    if inspect.isclass(file_wrapper):
        return isinstance(result, file_wrapper)
    # uWSGI's is a function that returns the file itself (plugins/python/pyutils.c).
    return file_wrapper is not None and hasattr(result, "read")


def _as_report(step: Read | DrainReport) -> DrainReport:
    assert isinstance(step, DrainReport)  # a body that has ended ends its drain
    return step
