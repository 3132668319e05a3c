"""A small ASGI server for tests: strict about the protocol, and it writes down what happened.

Time is virtual under asyncio and trio: it jumps to the next deadline when nothing else is left to
do. So no test waits, each time is exact, and a deadlock is an error an hour later.
"""

import asyncio
import functools
import itertools
import selectors
from dataclasses import dataclass, field
from typing import Any

import anyio
import trio.testing

from drainkit import CONTROL_KEY, DrainPolicy
from drainkit.testing import Disconnect, Silence
from drainkit_asgi import DrainMiddleware

KIB = 1024
MIB = 1024 * KIB
AN_HOUR_SECONDS = 3_600.0

# --- virtual time ---------------------------------------------------------------------------------


class _JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps over every wait."""

    def __init__(self):
        self._jumped_seconds = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self):
        return self._jumped_seconds

    def jump(self, seconds):
        self._jumped_seconds += seconds


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop):
        super().__init__()
        self._loop = loop

    def select(self, timeout=None):
        ready = super().select(None if timeout is None else 0)
        if not ready and timeout:
            self._loop.jump(timeout)
        return ready


BACKENDS = ("asyncio", "trio")


def backend(name):
    """Return what the fixture ``anyio_backend`` is to return."""
    if name == "asyncio":
        return "asyncio", {"loop_factory": _JumpingLoop}
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


# --- servers --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """How one server behaves.

    Attributes:
        module: The module that defines its ``receive`` and ``send``.
        gives_after_end: Its ``receive()`` goes on giving the body behind the last message.
        ends_at_length: It ends the response when Content-Length is reached, and with it the
            connection if the body has not been taken by then.
        invites_on_receive: The first ``receive()`` before the start sends 100 Continue.
    """

    module: str
    gives_after_end: bool = False
    ends_at_length: bool = False
    invites_on_receive: bool = True


UVICORN = Kind("uvicorn.protocols.http.h11_impl")
HTTPTOOLS = Kind("uvicorn.protocols.http.httptools_impl")
HYPERCORN = Kind("hypercorn.protocol.http_stream", invites_on_receive=False)
GUNICORN = Kind("gunicorn.asgi.protocol")
GRANIAN = Kind("granian._granian", gives_after_end=True, ends_at_length=True)
GRANIAN_2 = Kind("granian._granian")
# As bad as all of them together.
UNKNOWN = Kind("some.server", ends_at_length=True)
UNKNOWN_2 = Kind("some.server")

# Each server and protocol, and the order that the design names for it.
ROWS = {
    "uvicorn": (UVICORN, "1.1", "hold the end"),
    "uvicorn httptools": (HTTPTOOLS, "1.1", "hold the end"),
    "hypercorn": (HYPERCORN, "1.1", "hold the end"),
    "hypercorn h2": (HYPERCORN, "2", "hold the end"),
    "gunicorn": (GUNICORN, "1.1", "hold the end"),
    "granian": (GRANIAN, "1.1", "end first"),
    "granian h2": (GRANIAN_2, "2", "hold the end"),
    "unknown": (UNKNOWN, "1.1", "discard first"),
    "unknown h2": (UNKNOWN_2, "2", "discard first"),
}


@dataclass
class Transport:
    """A connection that can be closed, and told how much of an answer it may hold."""

    closed: int = 0
    most_bytes: int | None = None

    def set_write_buffer_limits(self, high):
        self.most_bytes = high

    def close(self):
        self.closed += 1


class Connection:
    """One request on a scripted connection: ``receive`` and ``send`` are its methods.

    Attributes:
        events: What happened, in order.
        violations: What drainkit did that the server must not see; a test fails for each.
        sent: The messages of the response.
        given: How many bytes of the body were handed out.
    """

    def __init__(
        self, kind, script, *, expects=False, strict_client=False, fails_at=None, send_seconds=0.0
    ):
        self.kind = kind
        self.script = list(script)
        self.expects = expects
        self.strict_client = strict_client
        self.fails_at = fails_at
        self.send_seconds = send_seconds
        self.transport = Transport()
        self.events = []
        self.violations = []
        self.sent = []
        self.given = 0
        self.receives = 0
        self.is_invited = not expects
        self.is_started = self.is_complete = self.is_gone = False
        self.is_receiving = self.is_sending = False
        self.body_bytes = 0
        self.length = None
        self.trailers = False
        self.changed = anyio.Event()

    # --- receive

    async def receive(self):
        self.receives += 1
        if self.is_receiving:
            self.violations.append("receive() while another one waits")
        if not self.is_invited and not self.is_started and self.kind.invites_on_receive:
            self.is_invited = True
            self.events.append("invite")
        self.is_receiving = True
        try:
            return await self._receive()
        finally:
            self.is_receiving = False

    async def _receive(self):
        await anyio.lowlevel.checkpoint()
        while True:
            if self.is_gone or (self.is_complete and not self.kind.gives_after_end):
                self.events.append("disconnect")
                return {"type": "http.disconnect"}
            if self.script and self.is_invited:
                event = self.script[0]
                if isinstance(event, Silence):
                    started = anyio.current_time()
                    try:
                        await self._wait(float(event))
                    finally:
                        waited = anyio.current_time() - started
                        left = float(event) - waited
                        self.script[0:1] = [Silence(left)] if left > 1e-9 else []
                    continue
                if isinstance(event, Disconnect):
                    self.leave()
                    continue
                return self._give(self.script.pop(0))
            if self.kind.gives_after_end and self.is_invited:
                self.events.append("disconnect")
                return {"type": "http.disconnect"}
            await self._wait(AN_HOUR_SECONDS * 2)

    def _give(self, piece):
        self.given += len(piece)
        self.events.append(f"receive {len(piece)}")
        more = any(not isinstance(later, Silence) for later in self.script)
        self.changed.set()
        return {"type": "http.request", "body": piece, "more_body": more}

    async def _wait(self, seconds):
        """Wait, unless the connection changes."""
        changed = self.changed
        if changed.is_set():
            changed = self.changed = anyio.Event()
        with anyio.move_on_after(seconds):
            await changed.wait()

    def leave(self):
        """Let the client leave."""
        self.is_gone = True
        self.script.clear()
        self.changed.set()

    @property
    def is_taken(self):
        # The end of a body holds nobody back: it fits every buffer.
        has_more = any(isinstance(event, bytes) and event for event in self.script)
        return not has_more or not self.is_invited

    # --- send

    async def send(self, message):
        if self.is_sending:
            self.violations.append("send() while another one waits")
        self.is_sending = True
        try:
            await self._send(message)
        finally:
            self.is_sending = False

    async def _send(self, message):
        await anyio.lowlevel.checkpoint()
        if self.fails_at == len(self.sent):
            self.events.append("send fails")
            raise OSError("the client is gone")
        kind = message["type"]
        if self.is_complete:
            self.violations.append(f"{kind} behind the end of the response")
        self.sent.append(message)
        if kind == "http.response.start":
            if self.is_started:
                self.violations.append("a second start")
            self._start(message)
        elif kind in ("http.response.body", "http.response.pathsend", "http.response.trailers"):
            if not self.is_started:
                self.violations.append(f"{kind} before the start")
            await self._body(message)
        else:
            self.events.append(kind.rpartition(".")[2])

    def _start(self, message):
        self.is_started = True
        self.events.append("start")
        self.trailers = message.get("trailers", False)
        for name, value in message.get("headers", ()):
            if name == b"content-length":
                self.length = int(value)

    async def _body(self, message):
        kind = message["type"].rpartition(".")[2]
        body = message.get("body", b"")
        more = message.get("more_body", False) or message.get("more_trailers", False)
        if kind == "body":
            more = more or self.trailers
        self.body_bytes += len(body)
        self.events.append(f"{kind} {len(body)}" + (" more" if more else ""))
        # A strict client reads nothing before it has sent everything; 64 KiB fit the buffers.
        while (
            self.strict_client
            and self.body_bytes > 64 * KIB
            and not self.is_taken
            and not self.is_gone
        ):
            await self._wait(AN_HOUR_SECONDS * 2)
        if len(body) > 64 * KIB:
            await anyio.sleep(self.send_seconds)
        is_at_length = bool(body) and self.body_bytes == self.length
        if more and is_at_length and self.kind.ends_at_length and not self.is_taken:
            self.events.append("connection dropped")
            self.leave()
        if not more:
            self.is_complete = True
            self.changed.set()
            if self.length is not None and kind == "body" and self.body_bytes != self.length:
                self.violations.append(f"{self.body_bytes} bytes of {self.length}")


class Arrived(Connection):
    """A connection that gives what has come without a turn of the event loop, as uvicorn's does."""

    async def _receive(self):
        is_over = self.is_gone or (self.is_complete and not self.kind.gives_after_end)
        if self.script and isinstance(self.script[0], bytes) and not is_over:
            return self._give(self.script.pop(0))
        return await super()._receive()


@functools.cache
def connection_class(module, base=Connection):
    """Return one class per module: servers are known by the module of their receive."""
    return type("Cycle", (base,), {"__module__": module})


async def settle():
    """Let every task go on to where it waits; takes no time."""
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


@dataclass
class Exchange:
    """What became of one request."""

    connection: Connection
    scope: dict
    reports: list = field(default_factory=list)
    raised: BaseException | None = None
    seconds: float = 0.0
    #: For applications: whatever they want to tell the test.
    told: list = field(default_factory=list)

    @property
    def events(self):
        return self.connection.events

    @property
    def order(self):
        """The events without their sizes, each run of the same one told once."""
        kinds = (event.split()[0] if "more" not in event else "body" for event in self.events)
        return [kind for kind, _ in itertools.groupby(kinds)]

    @property
    def report(self):
        (report,) = self.reports
        return report

    @property
    def outcome(self):
        return self.report.outcome

    @property
    def messages(self):
        return self.connection.sent

    @property
    def status(self):
        return self.messages[0]["status"]

    @property
    def body(self):
        return b"".join(
            message.get("body", b"")
            for message in self.messages
            if message["type"] == "http.response.body"
        )

    def header(self, name):
        (start,) = (m for m in self.messages if m["type"] == "http.response.start")
        return [value for key, value in start.get("headers", ()) if key == name]


def on(row):
    """Return what `serve` is told to be a server of `ROWS`."""
    kind, http_version, _ = ROWS[row]
    return {"kind": kind, "http_version": http_version}


def make_scope(length, *, http_version="1.1", expects=False, chunked=False, headers=(), **more):
    fields = [(b"host", b"localhost")]
    if chunked:
        fields.append((b"transfer-encoding", b"chunked"))
    elif length is not None:
        fields.append((b"content-length", b"%d" % length if isinstance(length, int) else length))
    if expects:
        fields.append((b"expect", b"100-continue"))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": http_version,
        "method": "POST",
        "scheme": "http",
        "path": "/upload",
        "query_string": b"secret=1",
        "headers": [*fields, *headers],
        **more,
    }


Script = list[Any]
BODY = [b"a" * 600, b"b" * 400]


async def serve(
    app,
    body: Script = BODY,
    *,
    kind: Kind = UVICORN,
    policy=None,
    wrap=DrainMiddleware,
    length: Any = True,
    expects=False,
    strict_client=False,
    fails_at=None,
    send_seconds=0.0,
    cancel_after=None,
    has_arrived=False,
    base=None,
    **request,
):
    """Serve one request and return what happened; fail where the server was mistreated.

    Args:
        app: The application.
        body: The body's pieces, and `Silence` and `Disconnect`.
        kind: The server.
        policy: The middleware's policy; ``None`` is the default one.
        wrap: The middleware; ``None`` serves the application without.
        length: The Content-Length; True computes it.
        expects: Whether the client waits for an invitation.
        strict_client: Whether the client reads nothing before it has sent its body.
        fails_at: At which message ``send()`` raises OSError.
        send_seconds: How long a body message of more than 64 KiB takes to be sent.
        cancel_after: Cancel the application's task after so many seconds.
        has_arrived: Whether what has come is given without a turn of the event loop.
        base: The class of the connection; ``None`` for the usual one.
        request: For `make_scope`.
    """
    base = base or (Arrived if has_arrived else Connection)
    connection = connection_class(kind.module, base)(
        kind,
        body,
        expects=expects,
        strict_client=strict_client,
        fails_at=fails_at,
        send_seconds=send_seconds,
    )
    if length is True:
        length = sum(len(piece) for piece in body if isinstance(piece, bytes))
    scope = make_scope(length, expects=expects, **request)
    exchange = Exchange(connection, scope)
    scope["test.exchange"] = exchange
    if wrap is not None:
        app = wrap(app, policy or DrainPolicy(), on_report=exchange.reports.append)
    started = anyio.current_time()
    with anyio.fail_after(AN_HOUR_SECONDS):
        with anyio.move_on_after(cancel_after) as cancelling:
            try:
                await app(scope, connection.receive, connection.send)
            except Exception as error:
                exchange.raised = error
    if cancelling.cancelled_caught:
        exchange.told.append("cancelled")
    exchange.seconds = anyio.current_time() - started
    await settle()
    assert not connection.is_receiving, "a receive() is left running"
    assert [] == connection.violations
    return exchange


# --- applications ---------------------------------------------------------------------------------


def start(status=413, headers=(), **more):
    return {"type": "http.response.start", "status": status, "headers": list(headers), **more}


def body(data=b"", more=False):
    return {"type": "http.response.body", "body": data, "more_body": more}


def sending(*messages):
    """Return an application that sends these and reads nothing."""

    async def app(scope, receive, send):
        for message in messages:
            await send(message)

    return app


def answering(*chunks, status=413, headers=(), end=True):
    """Return an application that answers with these chunks, each a message.

    Args:
        chunks: Of the response.
        status: The status.
        headers: The headers.
        end: Whether the last chunk is also the end; otherwise an empty message follows, as
            Starlette's StreamingResponse sends it.
    """
    last = len(chunks) - 1
    messages = [body(chunk, more=not (end and at == last)) for at, chunk in enumerate(chunks)]
    if not end or not chunks:
        messages.append(body())
    return sending(start(status, headers), *messages)


def declining(when):
    """An application that answers early and declines the drain, before its start or behind it."""

    async def app(scope, receive, send):
        if when == "before":
            scope[CONTROL_KEY].policy = None
        await send(start(401))
        scope[CONTROL_KEY].policy = None
        await send(body(b"no"))

    return app


def asking_behind(answers, told):
    """An application that goes on behind its answer; *told* is what it and the server say then."""

    async def app(scope, receive, send):
        connection = scope["test.exchange"].connection
        await answers(scope, receive, send)
        told.append((await receive())["type"])
        await send(body(b"too late"))
        told.extend(connection.violations)
        connection.violations.clear()

    return app


async def read_all(receive):
    """Receive to the end of the body, as frameworks do; return the body."""
    data = b""
    while True:
        message = await receive()
        assert message["type"] == "http.request", message
        data += message.get("body", b"")
        if not message.get("more_body", False):
            return data
