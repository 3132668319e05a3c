"""The ASGI application of the server tests, with paths for load.

``/state`` tells of the process, ``/hold`` reads its body for as long as it comes, ``/crowd`` is
``/413`` with room for one drain, ``/lag`` tells how late the event loop (asyncio's) has been.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import Any

import served_asgi
import served_load_parts as load
import served_parts as parts

_NAP_SECONDS = 0.005


async def _answer(send: served_asgi.Send, status: int, body: bytes) -> None:
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _lag(seconds: float) -> bytes:
    """Return by how much sleeps were too long, in ms, as JSON."""
    late = []
    ends = time.perf_counter() + seconds
    while (before := time.perf_counter()) < ends:
        await asyncio.sleep(_NAP_SECONDS)
        late.append((time.perf_counter() - before - _NAP_SECONDS) * 1e3)
    late.sort()
    told = {"median_ms": late[len(late) // 2], "p99_ms": late[int(len(late) * 0.99)]}
    return json.dumps(told).encode()


async def bare(
    scope: served_asgi.Scope, receive: served_asgi.Receive, send: served_asgi.Send
) -> None:
    """Answer the paths for load; leave the others to the usual application."""
    path = scope.get("path")
    if path == "/state":
        await _answer(send, 200, load.state(scope["query_string"].decode()))
    elif path == "/crowd":
        if control := scope.get("drainkit.control"):
            control.policy = load.CROWDED
        await _answer(send, 413, parts.TOO_LARGE)
    elif path == "/lag":
        await _answer(send, 200, await _lag(float(scope["query_string"])))
    elif path == "/hold":
        load.holding.add(id(scope))
        try:
            while (await receive())["type"] == "http.request":
                pass
        finally:
            load.holding.discard(id(scope))
    else:
        await served_asgi.bare(scope, receive, send)


def _application() -> Any:
    if os.environ.get("DRAINKIT_TEST_WRAP") != "1":
        return bare
    from drainkit import DrainPolicy
    from drainkit_asgi import DrainMiddleware

    load.watch_capacity()
    return DrainMiddleware(
        bare, policy=DrainPolicy(**parts.policy_fields()), on_report=load.count_report
    )


application = _application()
