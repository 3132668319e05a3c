"""The ASGI application that the real servers serve: ``application``, bare or wrapped.

See ``served_wsgi`` for the environment variables.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import served_parts as parts

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def _start(send: Send, status: int, *headers: tuple[str, str]) -> None:
    fields = [("content-type", "text/plain"), *headers]
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def _body(send: Send, body: bytes, *, more: bool = False) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def _fixed(send: Send, status: int, body: bytes, *headers: tuple[str, str]) -> None:
    await _start(send, status, ("content-length", str(len(body))), *headers)
    await _body(send, body)


async def _pieces(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise OSError("the client left")
        more = message.get("more_body", False)
        yield message.get("body", b"")


async def _length(receive: Receive) -> bytes:
    total = 0
    async for piece in _pieces(receive):
        total += len(piece)
    return str(total).encode()


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _page(send: Send, *headers: tuple[str, str]) -> None:
    await _start(send, 413, *headers)
    for piece in parts.page_pieces():
        await _body(send, piece, more=True)
    await _body(send, b"")


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer by the path alone; most paths leave the body unread."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    if scope["type"] != "http":
        raise RuntimeError(f"no {scope['type']} here")
    path = scope["path"]
    if path == "/ready":
        await _fixed(send, 200, parts.READY)
    elif path == "/413":
        await _fixed(send, 413, parts.TOO_LARGE)
    elif path == "/413-nolength":
        await _start(send, 413)
        await _body(send, parts.TOO_LARGE)
    elif path == "/200":
        await _fixed(send, 200, b"200 " + scope["query_string"])
    elif path == "/302":
        await _fixed(send, 302, b"", ("location", "/ready"))
    elif path == "/page":
        await _fixed(send, 413, parts.page())
    elif path == "/page-stream":
        await _page(send, ("content-length", str(parts.PAGE_BYTES)))
    elif path == "/page-stream-nolength":
        await _page(send)
    elif path == "/422":
        await receive()
        await _fixed(send, 422, b"10 bytes were enough")
    elif path == "/raise":
        raise RuntimeError("raised before reading, as the test asked")
    elif path == "/late":
        await _start(send, 200)
        await _body(send, b"start:", more=True)
        await _body(send, await _length(receive))
    elif path == "/upper":
        await _start(send, 200)
        async for piece in _pieces(receive):
            await _body(send, piece.upper(), more=True)
        await _body(send, b"")
    elif path in ("/length", "/identity"):
        await _fixed(send, 200, await _length(receive))
    else:
        await _fixed(send, 404, b"no such path")


def _application() -> Any:
    if os.environ.get("DRAINKIT_TEST_WRAP") != "1":
        return bare
    from drainkit import DrainPolicy
    from drainkit_asgi import DrainMiddleware, _servers

    if os.environ.get("DRAINKIT_TEST_UNKNOWN") == "1":
        _servers.SERVERS = ()  # as if this server were of tomorrow
    return DrainMiddleware(
        bare, policy=DrainPolicy(**parts.policy_fields()), on_report=parts.keep_report
    )


application = _application()
