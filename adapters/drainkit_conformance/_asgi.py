"""The application of the cases, for ASGI."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from ._replies import FIRST_BYTES, NOT_FOUND, RAISED, REPLIES, Reply, ok

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


def asgi_application(*, ready: bytes = b"ready") -> Application:
    """Make the application that `CASES` are uploaded to; its paths stand in their ``upload``.

    Args:
        ready: What ``/ready`` answers, so that a test can tell its own server from another.
    """

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"no {scope['type']} here")
        path = scope["path"]
        if path == "/raise":
            raise RuntimeError(RAISED)
        if path == "/late":
            await _start(send, 200)
            await _body(send, b"start:", more=True)
            await _body(send, await _length(receive))
        elif path == "/upper":
            await _start(send, 200)
            async for piece in _pieces(receive):
                await _body(send, piece.upper(), more=True)
            await _body(send, b"")
        else:
            await _answer(send, await _reply(path, scope, receive, ready))

    return application


async def _reply(path: str, scope: Scope, receive: Receive, ready: bytes) -> Reply:
    if path == "/ready":
        return ok(ready)
    if path == "/200":
        return ok(b"200 " + scope["query_string"])
    if path == "/422":
        await receive()
        return Reply(422, FIRST_BYTES)
    if path == "/length":
        return ok(await _length(receive))
    return REPLIES.get(path, NOT_FOUND)


async def _answer(send: Send, reply: Reply) -> None:
    await _start(send, reply.status, reply.headers())
    if not reply.streamed:
        (body,) = reply.pieces()
        await _body(send, body)
        return
    for piece in reply.pieces():
        await _body(send, piece, more=True)
    await _body(send, b"")


async def _start(send: Send, status: int, headers: list[tuple[str, str]] | None = None) -> None:
    fields = headers or [("content-type", "text/plain")]
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def _body(send: Send, body: bytes, *, more: bool = False) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


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
