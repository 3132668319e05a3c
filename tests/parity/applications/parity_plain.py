"""Plain ASGI applications of the scenarios; each path is one."""

import contextvars
import time
from collections.abc import Iterator
from typing import Any

import anyio
from parity_parts import (
    Application,
    Message,
    Receive,
    Scope,
    Send,
    Since,
    alphabet,
    body,
    drained,
    entry,
    living,
    note,
    query_of,
    respond,
    start,
)

POOL = 5
WORK_SECONDS = 1.0
LIMIT_SECONDS = 1.0
PIECE = b"x" * 65_536
# granian sends headers that announce events at once, and others with the first of the body.
EVENTS = {"content-type": "text/event-stream"}
# Nobody polls or streams for longer, whoever stays.
_LAST_SECONDS = 6.0


class Holding:
    """A middleware that holds a place of a pool around each request."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._pool: anyio.Semaphore | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._pool = self._pool or anyio.Semaphore(POOL)
        async with self._pool:
            await self._app(scope, receive, send)


async def held(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 413 to an upload at once, and greet everybody else."""
    if scope["method"] == "POST":
        await respond(send, 413, b"too large")
    else:
        await respond(send, 200, b"hello")


async def limited(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 413 at once, within a time limit of the application's own around everything."""
    try:
        with anyio.fail_after(LIMIT_SECONDS):
            await start(send, 413)
            await body(send, b"too large")
        note(scope, "limit", "kept")
    except TimeoutError:
        note(scope, "limit", "struck")
        await respond(send, 504, b"timed out")


async def early(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 413, with a length or in chunks, and work on for some time behind it."""
    since = Since(scope)
    if scope["path"].endswith("/length"):
        await respond(send, 413, b"too large")
    else:
        await start(send, 413)
        await body(send, b"too large")
    since.note("behind")
    await anyio.sleep(2.0)
    since.note("work")


async def started(scope: Scope, receive: Receive, send: Send) -> None:
    """Start the response, then receive the body."""
    await start(send, 200, EVENTS)
    await body(send, b"GOT %d" % len(await _read(receive)))


async def events(scope: Scope, receive: Receive, send: Send) -> None:
    """Start the response, work, and send the first event; the body is not wanted."""
    await start(send, 200, EVENTS)
    await anyio.sleep(WORK_SECONDS)
    await body(send, b"data: 1\n\n", more=True)
    await body(send, b"")


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Send each message of the body back at once."""
    await start(send, 200, EVENTS)
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        await body(send, message.get("body", b""), more=more)


async def is_disconnected(receive: Receive) -> bool:
    """Tell whether the client has left, as Starlette's Request does: without waiting."""
    message: Message = {}
    with anyio.CancelScope() as scope:
        scope.cancel()
        message = await receive()
    return message.get("type") == "http.disconnect"


async def polling(scope: Scope, receive: Receive, send: Send) -> None:
    """Stream until the client has left, which a poll tells."""
    deadline = time.monotonic() + _LAST_SECONDS
    with living(scope):
        await start(send, 200)
        while not await is_disconnected(receive) and time.monotonic() < deadline:
            await body(send, PIECE[:8192], more=True)
            await anyio.sleep(0.02)


async def polled_page(scope: Scope, receive: Receive, send: Send) -> None:
    """Stream 19 MB and poll meanwhile; the body is not wanted."""
    await start(send, 200)
    for _ in range(300):
        if await is_disconnected(receive):
            note(scope, "poll", "disconnected")
            return
        await body(send, PIECE, more=True)
    await body(send, b"END")
    note(scope, "poll", "whole")


async def streamed(scope: Scope, receive: Receive, send: Send) -> None:
    """Stream 10 MiB in pieces; the body is not wanted."""
    await start(send, 200)
    for _ in range(20):
        await body(send, PIECE * 8, more=True)
        await anyio.sleep(0.01)
    await body(send, b"")


async def paged(scope: Scope, receive: Receive, send: Send) -> None:
    """Send the same in one piece."""
    await start(send, 200)
    await body(send, PIECE * 160)


class TooLongError(Exception):
    """The body is longer than the limit."""


def limiting(app: Application) -> Application:
    """Put a body limit around an application, that raises out of ``receive()``."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        total = 0

        async def counted() -> Message:
            nonlocal total
            message = await receive()
            total += len(message.get("body", b""))
            if total > 5:
                raise TooLongError
            return message

        try:
            await app(scope, counted, send)
        except TooLongError:
            await respond(send, 413, b"limit")

    return application


async def length(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body and answer its length."""
    await respond(send, 200, b"%d" % len(await _read(receive)))


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer, with a length or in chunks, and raise behind it."""
    if scope["path"].endswith("/length"):
        await respond(send, 413, b"too large")
    else:
        await start(send, 413)
        await body(send, b"too large")
    raise LookupError("raised behind the answer, as the scenario wants it")


def noting(app: Application, place: str) -> Application:
    """Put a middleware around an application that notes what it raises, and when."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        since = Since(scope)
        try:
            await app(scope, receive, send)
        except Exception as error:
            note(scope, place, type(error).__name__)
            since.note(f"{place}_seconds")
            raise

    return application


async def grouped(scope: Scope, receive: Receive, send: Send) -> None:
    """Send in one task and listen for the disconnect in another; the first to end ends both."""
    heard: list[str] = []

    async def listen() -> None:
        message: Message = {"type": "http.request"}
        while message["type"] != "http.disconnect":
            message = await receive()
            heard.append(message["type"])
        tasks.cancel_scope.cancel()

    async def answer() -> None:
        await start(send, 200)
        for _ in range(4):
            await body(send, PIECE, more=True)
            await anyio.sleep(0.01)
        await body(send, b"END")
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        tasks.start_soon(answer)
    note(scope, "listened", sorted(set(heard) - {"http.disconnect"}))
    note(scope, "group", "left")


_user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")
_site: contextvars.ContextVar[str] = contextvars.ContextVar("site", default="none")


def watching(app: Application) -> Application:
    """Put a middleware around an application that reads what it set in a context variable."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        users: list[str] = []

        async def seen(message: Message) -> None:
            users.append(_user.get())
            await send(message)

        _site.set("here")
        await app(scope, receive, seen)
        note(scope, "users", users)
        note(scope, "user", _user.get())

    return application


async def setting(scope: Scope, receive: Receive, send: Send) -> None:
    """Set a context variable before the answer and behind it; read one of the middleware's."""
    note(scope, "site", _site.get())
    _user.set("early")
    await start(send, 413)
    _user.set("late")
    await body(send, b"too large")
    _user.set("behind")


def once(app: Application) -> Application:
    """Put a middleware around an application that hands on headers which can be read once."""

    def pairs(headers: Any) -> Iterator[Iterator[bytes]]:
        return (iter(pair) for pair in headers)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "headers": pairs(scope["headers"])}, receive, send)

    return application


async def listing(scope: Scope, receive: Receive, send: Send) -> None:
    """Note the headers that a scenario sends, and answer."""
    pairs = ([part.decode() for part in pair] for pair in scope["headers"])
    note(scope, "headers", sorted(pair for pair in pairs if pair[0].startswith("x-")))
    await respond(send, 413, b"too large")


def without_headers(app: Application) -> Application:
    """Put a middleware around an application that hands on a scope without headers."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await app({key: scope[key] for key in scope if key != "headers"}, receive, send)

    return application


async def headless(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer whether there are headers."""
    await respond(send, 200, b"headers: %a" % ("headers" in scope))


async def scripted(scope: Scope, receive: Receive, send: Send) -> None:
    """Do what the query says, a word for each step, and note what came of it.

    ``r2`` receives two messages, ``R`` the rest of the body, ``s200`` starts the response, ``l10``
    the same with a Content-Length, ``b10`` sends ten bytes, ``e10`` ten and the end, ``p5`` waits
    for 5 ms.
    """
    since = Since(scope)
    body_read = _BodyRead()
    sent_bytes = 0
    try:
        for step in query_of(scope)["steps"][0].split():
            kind, number = step[0], int(step[1:] or 0)
            if kind in "rR":
                await body_read.receive(receive, None if kind == "R" else number)
            elif kind == "s":
                await start(send, number)
            elif kind == "l":
                await start(send, 200, {"content-length": str(number)})
            elif kind == "p":
                await anyio.sleep(number / 1000)
            else:
                await body(send, alphabet(sent_bytes, number), more=kind == "b")
                sent_bytes += number
    except Exception as error:
        note(scope, "error", type(error).__name__)
        raise
    finally:
        note(scope, "read", body_read.facts())
        since.note("done")


class _BodyRead:
    """What a scripted application has received of its body."""

    def __init__(self) -> None:
        self._nbytes = 0
        self._in_order = True
        self._ended = False
        self._left = False

    async def receive(self, receive: Receive, most: int | None) -> None:
        """Receive so many messages, or all; what follows the end is not looked at."""
        while not (self._ended or self._left) and most != 0:
            message = await receive()
            if message["type"] == "http.disconnect":
                self._left = True
                return
            data = message.get("body", b"")
            self._in_order &= data == alphabet(self._nbytes, len(data))
            self._nbytes += len(data)
            self._ended = not message.get("more_body", False)
            most = None if most is None else most - 1

    def facts(self) -> dict[str, Any]:
        """Return what came, for the scenario."""
        return {"bytes": self._nbytes, "in_order": self._in_order, "ended": self._ended}


async def _read(receive: Receive) -> bytes:
    received = b""
    more = True
    while more:
        message = await receive()
        received += message.get("body", b"")
        more = message.get("more_body", False)
    return received


application = entry(
    {
        "held": drained(Holding(held)),
        "limited": drained(limited),
        "early": drained(early),
        "started": drained(started),
        "events": drained(events),
        "echo": drained(echo),
        "polling": drained(polling),
        "polled-page": drained(polled_page),
        "streamed": drained(streamed),
        "paged": drained(paged),
        "length": limiting(drained(length)),
        "failing": noting(drained(noting(failing, "inside")), "outside"),
        "grouped": drained(grouped),
        "context": watching(drained(setting)),
        "scripted": drained(scripted),
        "once": once(drained(listing)),
        "headless": without_headers(drained(headless)),
    }
)
