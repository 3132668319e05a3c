"""The requests that are measured in process, each with every contender that makes sense for it."""

from __future__ import annotations

import asyncio
import functools
import inspect
import io
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tests.bench import scripted
from tests.bench.alternatives import (
    DRAINKIT,
    HANDLER,
    NAIVE,
    NONE,
    SNIPPET,
    asgi,
    fixed,
    fixed_async,
    read_away,
    receive_away,
    wsgi,
)

READS = (1, 4, 16, 64)
HEADERS = (1, 12, 50, 100)
_BODY = b"x" * scripted.BODY_BYTES
_LINES = (b"x" * 63 + b"\n") * (scripted.BODY_BYTES // 64)
_LENGTH = str(scripted.BODY_BYTES)


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One request.

    Attributes:
        name: What is done; the same for all points of a curve.
        interface: The protocol.
        make: Returns the application; called once in a process, where it may import a framework.
        request: The template of the environ or of the scope.
        body: The body; for ASGI in its messages.
        x: The place on the curve's axis.
        is_early: Whether the application answers without reading, so that a handler could read.
        stream: Makes the ``wsgi.input`` of the body.
    """

    name: str
    interface: Literal["wsgi", "asgi"]
    make: Callable[[], Any]
    request: dict[str, Any]
    body: Any
    x: float | None = None
    is_early: bool = False
    stream: Callable[[bytes], Any] = scripted.Body

    @property
    def key(self) -> str:
        """Tells it from every other case."""
        return self.name if self.x is None else f"{self.name} {self.x:g}"

    @property
    def contenders(self) -> tuple[str, ...]:
        """What is compared."""
        handler = (HANDLER,) if self.is_early else ()
        return (NONE, SNIPPET if self.interface == "wsgi" else NAIVE, *handler, DRAINKIT)

    def server(self, contender: str) -> Callable[[], Any]:
        """Return what serves the request once; an asynchronous function for ASGI."""
        app = self.make()
        if self.interface == "wsgi":
            app = _after_reading(app) if contender == HANDLER else app
            serve: Any = scripted.serve_wsgi
            app = wsgi(contender, app)
            return functools.partial(serve, app, self.request, self.body, self.stream)
        app = _after_receiving(app) if contender == HANDLER else app
        serve = scripted.serve_asgi
        return functools.partial(serve, asgi(contender, app), self.request, self.body)

    def calls(self) -> int:
        """Return how often the application reads the body."""
        return _calls_wsgi(self) if self.interface == "wsgi" else asyncio.run(_calls_asgi(self))


def run(server: Callable[[], Any], loops: int) -> None:
    """Serve as many requests, one after the other."""
    if not is_async(server):
        for _ in range(loops):
            server()
        return

    async def serve() -> None:
        for _ in range(loops):
            await server()

    asyncio.run(serve())


def is_async(server: Callable[[], Any]) -> bool:
    return inspect.iscoroutinefunction(getattr(server, "func", server))


# --- applications -----------------------------------------------------------------------------


def _answers(environ: Any, start_response: Any) -> Any:
    return fixed(start_response, "200 OK", b"hello")


def _reads(environ: Any, start_response: Any) -> Any:
    return fixed(start_response, "200 OK", b"%d" % len(environ["wsgi.input"].read()))


def _reads_lines(environ: Any, start_response: Any) -> Any:
    readline = environ["wsgi.input"].readline
    while readline():
        pass
    return fixed(start_response, "200 OK", b"read")


def _reads_parts(reads: int) -> Any:
    def app(environ: Any, start_response: Any) -> Any:
        return fixed(
            start_response, "200 OK", b"%d" % read_away(environ, scripted.BODY_BYTES // reads)
        )

    return app


def _refuses(environ: Any, start_response: Any) -> Any:
    return fixed(start_response, "413 Content Too Large", b"too large\n")


def _flask_form() -> Any:
    from flask import Request

    def app(environ: Any, start_response: Any) -> Any:
        return fixed(start_response, "200 OK", b"%d" % len(Request(environ).form))

    return app


def _django_form() -> Any:
    from django.conf import settings
    from django.core.handlers.wsgi import WSGIRequest

    if not settings.configured:
        settings.configure()

    def app(environ: Any, start_response: Any) -> Any:
        return fixed(start_response, "200 OK", b"%d" % len(WSGIRequest(environ).POST))

    return app


def _after_reading(app: Any) -> Any:
    def reading(environ: Any, start_response: Any) -> Any:
        read_away(environ, 65_536)
        return app(environ, start_response)

    return reading


async def _answers_async(scope: Any, receive: Any, send: Any) -> None:
    await fixed_async(send, 200, b"hello")


async def _receives(scope: Any, receive: Any, send: Any) -> None:
    await fixed_async(send, 200, b"%d" % await receive_away(receive))


async def _refuses_async(scope: Any, receive: Any, send: Any) -> None:
    await fixed_async(send, 413, b"too large\n")


def _starlette_form() -> Any:
    from starlette.requests import Request

    async def app(scope: Any, receive: Any, send: Any) -> None:
        form = await Request(scope, receive).form()
        await fixed_async(send, 200, b"%d" % len(form))

    return app


def _after_receiving(app: Any) -> Any:
    async def receiving(scope: Any, receive: Any, send: Any) -> None:
        await receive_away(receive)
        await app(scope, receive, send)

    return receiving


# --- the table --------------------------------------------------------------------------------


def _is(app: Any) -> Callable[[], Any]:
    return lambda: app


# Kept open for the whole process: drainkit watches it, and nobody sends anything over it.
_connection, _client = socket.socketpair()


def _wsgi_cases() -> Iterator[Case]:
    def case(name: str, make: Any, body: bytes = _BODY, **more: Any) -> Case:
        extra = {name: more.pop(name) for name in ("x", "is_early", "stream") if name in more}
        request = scripted.environ("POST", CONTENT_LENGTH=str(len(body)), **more)
        return Case(
            name=f"WSGI {name}", interface="wsgi", make=make, request=request, body=body, **extra
        )

    yield Case(
        name="WSGI GET",
        interface="wsgi",
        make=_is(_answers),
        request=scripted.environ("GET"),
        body=b"",
    )
    yield case("POST, read()", _is(_reads))
    yield case("POST, readline()", _is(_reads_lines), _LINES)
    form = scripted.FORM_BODY
    yield case("POST, Flask form", _flask_form, form, CONTENT_TYPE=scripted.FORM_TYPE)
    yield case("POST, Django form", _django_form, form, CONTENT_TYPE=scripted.FORM_TYPE)
    yield case("POST answered early", _is(_refuses), is_early=True)
    yield case("POST of 1 KiB answered early", _is(_refuses), _BODY[:1024], is_early=True)
    # Behind its answer a drain with a deadline reads it, at once: it is too long to be waited for.
    to_come: dict[str, Any] = {
        "gunicorn.socket": _connection,
        "stream": scripted.BodyToCome,
    }
    watched = b"x" * (64 * 1024 + 1)
    yield case("POST answered early, watched", _is(_refuses), watched, is_early=True, **to_come)
    for reads in READS:
        yield case("POST by reads", _is(_reads_parts(reads)), x=reads)
    for headers in HEADERS:
        yield Case(
            name="WSGI GET by headers",
            interface="wsgi",
            make=_is(_answers),
            request=scripted.environ("GET", headers=headers),
            body=b"",
            x=headers,
        )
    for headers in HEADERS:
        yield case("POST by headers", _is(_reads), headers=headers, x=headers)


def _asgi_cases() -> Iterator[Case]:
    def case(name: str, make: Any, pieces: Sequence[bytes] = (_BODY,), **more: Any) -> Case:
        extra = {name: more.pop(name) for name in ("x", "is_early") if name in more}
        request = scripted.scope("POST", content_length=_LENGTH, **more)
        return Case(
            name=f"ASGI {name}", interface="asgi", make=make, request=request, body=pieces, **extra
        )

    yield Case(
        name="ASGI GET",
        interface="asgi",
        make=_is(_answers_async),
        request=scripted.scope("GET"),
        body=(b"",),
    )
    yield case("POST, receive()", _is(_receives))
    yield case(
        "POST, Starlette form",
        _starlette_form,
        (scripted.FORM_BODY,),
        content_type=scripted.FORM_TYPE,
    )
    yield case("POST answered early", _is(_refuses_async), is_early=True)
    for count in READS:
        pieces = (_BODY[: scripted.BODY_BYTES // count],) * count
        yield case("POST by messages", _is(_receives), pieces, x=count)
    for headers in HEADERS:
        yield Case(
            name="ASGI GET by headers",
            interface="asgi",
            make=_is(_answers_async),
            request=scripted.scope("GET", headers=headers),
            body=(b"",),
            x=headers,
        )
    for headers in HEADERS:
        yield case("POST by headers", _is(_receives), headers=headers, x=headers)


CASES: dict[str, Case] = {case.key: case for case in (*_wsgi_cases(), *_asgi_cases())}


# --- how often the application reads ----------------------------------------------------------


class _CountingBody(io.BytesIO):
    calls = 0

    def read(self, *size: Any) -> bytes:
        self.calls += 1
        return super().read(*size)

    def readline(self, *size: Any) -> bytes:
        self.calls += 1
        return super().readline(*size)


def _calls_wsgi(case: Case) -> int:
    body = _CountingBody(case.body)
    case.make()({**case.request, "wsgi.input": body}, lambda status, headers: None)
    return body.calls


async def _calls_asgi(case: Case) -> int:
    cycle = scripted.Cycle(case.body)
    calls = 0

    async def receive() -> Any:
        nonlocal calls
        calls += 1
        return await cycle.receive()

    await case.make()(case.request.copy(), receive, cycle.send)
    return calls
