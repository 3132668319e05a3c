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


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """Answer by the path alone."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    path = scope["path"]
    if path == "/hello":
        await fixed_async(send, 200, b"hello")
    elif path == "/early":
        await fixed_async(send, 413, b"too large\n")
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
