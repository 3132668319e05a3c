"""Server-sent events in each framework: the headers at once, the first event after some work.

The request's small JSON body is not wanted by any of them. Trio serves those that know it.
"""

import importlib.util
from collections.abc import AsyncIterator
from typing import Any

import anyio
from parity_parts import Application, drained, drained_starlette, entry

WORK_SECONDS = 1.0
EVENT = "data: 1\n\n"


async def _pieces() -> AsyncIterator[str]:
    await anyio.sleep(WORK_SECONDS)
    yield EVENT


def _starlette() -> Application:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route

    async def events(request: Request) -> Response:
        return StreamingResponse(_pieces(), media_type="text/event-stream")

    return drained_starlette(Starlette(routes=[Route("/starlette", events, methods=["POST"])]))


def _sse_starlette() -> Application:
    from sse_starlette import EventSourceResponse
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def one() -> AsyncIterator[dict[str, str]]:
        await anyio.sleep(WORK_SECONDS)
        yield {"data": "1"}

    async def events(request: Request) -> Response:
        return EventSourceResponse(one(), sep="\n")

    route = Route("/sse_starlette", events, methods=["POST"])
    return drained_starlette(Starlette(routes=[route]))


def _fastapi() -> Application:
    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse

    app = FastAPI()

    @app.post("/fastapi")
    async def events() -> StreamingResponse:
        return StreamingResponse(_pieces(), media_type="text/event-stream")

    return drained_starlette(app)


def _litestar() -> Application:
    from litestar import Litestar, post
    from litestar.response import Stream

    @post("/litestar", status_code=200)
    async def events() -> Stream:
        return Stream(_pieces(), media_type="text/event-stream")

    return drained(Litestar([events]))


def _quart() -> Application:
    from quart import Quart, Response

    app = Quart(__name__)

    @app.post("/quart")
    async def events() -> Response:
        response = Response(_pieces(), mimetype="text/event-stream")
        response.timeout = None
        return response

    return drained(app)


def _falcon() -> Application:
    from falcon.asgi import App, Request, Response, SSEvent

    async def one() -> AsyncIterator[SSEvent]:
        await anyio.sleep(WORK_SECONDS)
        yield SSEvent(data=b"1")

    class Events:
        async def on_post(self, request: Request, response: Response) -> None:
            response.sse = one()

    app: Any = App()
    app.add_route("/falcon", Events())
    return drained(app)


_MAKE = {
    "starlette": _starlette,
    "sse_starlette": _sse_starlette,
    "fastapi": _fastapi,
    "litestar": _litestar,
    "quart": _quart,
    "falcon": _falcon,
}

application = entry(
    {name: make() for name, make in _MAKE.items() if importlib.util.find_spec(name)}
)
