"""Starlette applications of the scenarios; each path is one."""

import time
import warnings
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
from parity_parts import Receive, Scope, Send, Since, drained_starlette, entry, living
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

WORK_SECONDS = 3.0
# Nobody polls or streams for longer, whoever stays.
_LAST_SECONDS = 6.0
_PIECE = b"x" * 8192

# drainkit says that it stands inside of a body limit; one scenario wants it there.
warnings.filterwarnings("ignore", message=".*max_body_size")


class Spec:
    """A middleware that says which version of the specification the server follows.

    StreamingResponse listens for the disconnect below 2.4, and sends until that fails above.
    """

    def __init__(self, app: Any, version: str) -> None:
        self._app = app
        self._version = version

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "asgi": {**scope["asgi"], "spec_version": self._version}}
        await self._app(scope, receive, send)


async def _endless(request: Request) -> AsyncIterator[bytes]:
    deadline = time.monotonic() + _LAST_SECONDS
    with living(request.scope):
        while time.monotonic() < deadline:
            yield _PIECE
            await anyio.sleep(0.02)


async def endless(request: Request) -> Response:
    """Stream until somebody says that the client has left."""
    return StreamingResponse(_endless(request))


async def endless_read(request: Request) -> Response:
    """Stream until then, with the first of the body read."""
    await anext(request.stream())
    return StreamingResponse(_endless(request))


async def polling(request: Request) -> Response:
    """Stream until a poll tells that the client has left."""

    async def pieces() -> AsyncIterator[bytes]:
        deadline = time.monotonic() + _LAST_SECONDS
        with living(request.scope):
            while not await request.is_disconnected() and time.monotonic() < deadline:
                yield _PIECE
                await anyio.sleep(0.02)

    return StreamingResponse(pieces())


def _behind(request: Request, work_seconds: float) -> BackgroundTask:
    since = Since(request.scope)

    async def work() -> None:
        since.note("behind")
        await anyio.sleep(work_seconds)
        since.note("work")

    return BackgroundTask(work)


async def background(request: Request) -> Response:
    """Answer 413 to an upload, with a task behind it that takes no time."""
    return PlainTextResponse("too large", 413, background=_behind(request, 0.0))


async def background_long(request: Request) -> Response:
    """Answer the same with a long task behind it, with a length or in chunks."""
    task = _behind(request, WORK_SECONDS)
    if request.url.path.endswith("/length"):
        return PlainTextResponse("too large", 413, background=task)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"too "
        yield b"large"

    return StreamingResponse(pieces(), 413, background=task)


async def length(request: Request) -> Response:
    """Read the body and answer its length."""
    return PlainTextResponse(str(len(await request.body())))


async def _passed_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
    return await call_next(request)


def _application(*, make: Callable[[Any], Any], version: str = "2.3", **options: Any) -> Any:
    routes = [
        Route("/{place}/endless", endless, methods=["POST"]),
        Route("/{place}/endless-read", endless_read, methods=["POST"]),
        Route("/{place}/polling", polling, methods=["POST"]),
        Route("/{place}/background", background, methods=["POST"]),
        Route("/{place}/background/{how}", background_long, methods=["POST"]),
        Route("/{place}/length", length, methods=["POST"]),
    ]
    return Spec(make(Starlette(routes=routes, **options)), version)


def _with_base(app: Starlette, *, inside: bool) -> Any:
    if inside:
        app.add_middleware(BaseHTTPMiddleware, dispatch=_passed_on)
        return drained_starlette(app)
    drained_starlette(app, added=True)
    app.add_middleware(BaseHTTPMiddleware, dispatch=_passed_on)
    return app


application = entry(
    {
        "listening": _application(make=drained_starlette),
        "deaf": _application(make=drained_starlette, version="2.4"),
        "base-inside": _application(make=lambda app: _with_base(app, inside=True)),
        "base-outside": _application(make=lambda app: _with_base(app, inside=False)),
        "limit": _application(make=lambda app: drained_starlette(app, added=True), max_body_size=5),
    }
)
