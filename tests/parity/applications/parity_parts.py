"""What the applications of the scenarios have in common: notes, drainkit's place, and plain ASGI.

Each run of a scenario has a name of its own, ``?run=...``, under which the application writes down
what it saw; ``/notes`` tells it. So runs share a server and do not mix.
"""

import contextlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import parse_qs

import served_parts

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

WRAPPED = os.environ.get("DRAINKIT_TEST_WRAP") == "1"

_notes: dict[str, dict[str, Any]] = defaultdict(dict)
_alive: dict[str, int] = defaultdict(int)


def query_of(scope: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return what a request's query says."""
    return parse_qs(scope["query_string"].decode("latin-1"))


def run_of(scope: Mapping[str, Any]) -> str:
    """Return the name of the run that a request belongs to."""
    return query_of(scope).get("run", [""])[0]


def alphabet(start: int, length: int) -> bytes:
    """Return a part of the alphabet's endless repetition, by which a hole shows."""
    shift = start % 26
    return (b"abcdefghijklmnopqrstuvwxyz" * (length // 26 + 2))[shift : shift + length]


def note(scope: Mapping[str, Any], name: str, value: Any) -> None:
    """Write down what the application saw."""
    _notes[run_of(scope)][name] = value


def noted(scope: Mapping[str, Any]) -> bytes:
    """Return what the application saw in a run, as JSON."""
    run = run_of(scope)
    return json.dumps({**_notes[run], "alive": _alive[run]}).encode()


@contextlib.contextmanager
def living(scope: Mapping[str, Any]) -> Iterator[None]:
    """Count what is inside as alive, until it is left."""
    run = run_of(scope)
    _alive[run] += 1
    try:
        yield
    finally:
        _alive[run] -= 1


class Since:
    """Writes down how long after its making something happened, in seconds."""

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self._scope = scope
        self._start = time.monotonic()

    def note(self, name: str) -> None:
        """Write it down now."""
        note(self._scope, name, time.monotonic() - self._start)


def drained(app: Application) -> Application:
    """Put drainkit around an application, if the test wants it."""
    if not WRAPPED:
        return app
    from drainkit import DrainPolicy
    from drainkit_asgi import DrainMiddleware

    policy = DrainPolicy(**served_parts.policy_fields())
    return DrainMiddleware(app, policy, on_report=served_parts.keep_report)


def drained_starlette(app: Any, *, added: bool = False) -> Any:
    """Put drainkit around a Starlette or FastAPI application, if the test wants it.

    Args:
        app: The application.
        added: With ``add_middleware``, where there stand other middlewares outside; outermost
            otherwise.
    """
    if WRAPPED:
        from drainkit import DrainPolicy
        from drainkit_starlette import DrainMiddleware, init_app

        policy = DrainPolicy(**served_parts.policy_fields())
        if added:
            app.add_middleware(DrainMiddleware, policy, on_report=served_parts.keep_report)
        else:
            init_app(app, policy, on_report=served_parts.keep_report)
    return app


async def start(send: Send, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
    """Send the start of a response."""
    fields = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    await send({"type": "http.response.start", "status": status, "headers": fields})


async def body(send: Send, data: bytes, *, more: bool = False) -> None:
    """Send a part of a response; the last one unless told otherwise."""
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def respond(send: Send, status: int, data: bytes) -> None:
    """Send a whole response."""
    await start(send, status, {"content-length": str(len(data))})
    await body(send, data)


def entry(places: Mapping[str, Application]) -> Application:
    """Return the application that a server runs: those of the scenarios, by the path's beginning.

    Args:
        places: The applications; each is called with the whole path.
    """

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        path: str = scope["path"]
        if path == "/ready":
            await respond(send, 200, served_parts.READY)
        elif path == "/notes":
            await respond(send, 200, noted(scope))
        else:
            await places[path.split("/")[1]](scope, receive, send)

    return application


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        event = (await receive())["type"].removeprefix("lifespan.")
        await send({"type": f"lifespan.{event}.complete"})
        if event == "shutdown":
            return
