"""The ASGI application that is measured on real servers; BENCH_CONTENDER says what is around it."""

import os
from typing import Any

from tests.bench.alternatives import asgi, fixed_async, receive_away

READY = b"ready " + os.environ.get("DRAINKIT_TEST_TOKEN", "").encode()


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _early(how: bytes, send: Any) -> None:
    """Refuse; *how* may ask for two pieces, and for no Content-Length."""
    if not how:
        await fixed_async(send, 413, b"too large\n")
        return
    headers = [(b"content-type", b"text/plain")]
    if b"unsized" not in how:
        headers.append((b"content-length", b"10"))
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    if b"pieces" in how:
        await send({"type": "http.response.body", "body": b"too ", "more_body": True})
        await send({"type": "http.response.body", "body": b"large\n"})
    else:
        await send({"type": "http.response.body", "body": b"too large\n"})


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """Answer by the path alone."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    path = scope["path"]
    if path == "/hello":
        await fixed_async(send, 200, b"hello")
    elif path == "/early":
        await _early(scope["query_string"], send)
    elif path == "/read":
        await fixed_async(send, 200, b"%d" % await receive_away(receive))
    elif path == "/handler":
        await receive_away(receive)
        await fixed_async(send, 413, b"too large\n")
    elif path == "/ready":
        await fixed_async(send, 200, READY)
    else:
        await fixed_async(send, 404, b"no such path")


application = asgi(os.environ["BENCH_CONTENDER"], bare)
