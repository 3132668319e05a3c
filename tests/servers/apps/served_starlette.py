"""A Starlette application for real servers; see ``served_places`` for the environment variables."""

from collections.abc import AsyncIterator

import served_parts as parts
from served_places import drained, options
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route


async def ready(request: Request) -> Response:
    return PlainTextResponse(parts.READY)


async def to_login(request: Request) -> Response:
    return RedirectResponse("/ready", 303)


async def read(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def fail(request: Request) -> Response:
    raise RuntimeError("raised before reading, as the test asked")


async def broken(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"begun"
        raise RuntimeError("raised within the response, as the test asked")

    return StreamingResponse(pieces())


async def page(request: Request) -> Response:
    return PlainTextResponse(parts.page(), 413)


application = drained(
    Starlette(
        routes=[
            Route("/ready", ready),
            Route("/redirect", to_login, methods=["POST"]),
            Route("/read", read, methods=["POST"]),
            Route("/raise", fail, methods=["POST"]),
            Route("/broken", broken, methods=["POST"]),
            Route("/page", page, methods=["POST"]),
        ],
        **options(),
    )
)
