"""Section "floors": the least that anything in Python costs in drainkit's place, and its own parts.

The least middleware stands in `tests.bench.alternatives`.
"""

import asyncio
import subprocess
import sys
import timeit
from collections.abc import Callable, Coroutine
from typing import Any

from drainkit import Drain, DrainControl, DrainPolicy, framing
from drainkit_asgi import DrainMiddleware as AsgiMiddleware
from drainkit_wsgi import DrainMiddleware as WsgiMiddleware
from drainkit_wsgi._exchange import has_body, open_body
from drainkit_wsgi._input import Input
from drainkit_wsgi.servers import server_of
from tests.bench.alternatives import DRAINKIT, LEAST, NONE, LeastAsgi, LeastWsgi
from tests.bench.bench import Bench, alternated
from tests.bench.scripted import BODY_BYTES, Body, Cycle, environ, scope

_WHERE = "in process"
_LOOPS = 20_000
_MICRO = 1e6
_TIMEOUT_SECONDS = 60.0
# What drainkit imports and what most of it is there for: dataclasses, with inspect.
_STANDARD = ("enum", "re", "typing", "dataclasses", "logging", "threading")


def run(bench: Bench) -> None:
    """Measure the floors, then the parts of a request with a body."""
    for case, measure in {"WSGI": _wsgi, "ASGI": _asgi}.items():
        for method in ("GET", "POST"):
            _compare(bench, f"{case} {method}", measure(method))
    for name, call in _parts().items():
        samples = timeit.repeat(call, number=_LOOPS, repeat=bench.pick(15, 5))
        bench.add(
            [seconds / _LOOPS * _MICRO for seconds in samples],
            where=_WHERE,
            case=f"part of a POST: {name}",
            contender=DRAINKIT,
            measure="one call",
            unit="µs",
        )
    _imports(bench)


def _compare(bench: Bench, case: str, calls: dict[str, Callable[[], None]]) -> None:
    async def timed(contender: str) -> float:
        return timeit.timeit(calls[contender], number=_LOOPS)

    def seconds(contender: str) -> float:
        # Within an event loop, for those that ask which one runs; nothing in a call waits for it.
        return asyncio.run(timed(contender)) / _LOOPS * _MICRO

    samples = alternated(list(calls), bench.pick(15, 5), seconds)
    for contender in (LEAST, DRAINKIT):
        pairs = zip(samples[contender], samples[NONE], strict=True)
        bench.add(
            [taken - bare for taken, bare in pairs],
            where=_WHERE,
            case=case,
            contender=contender,
            measure="overhead",
            unit="µs",
        )


def _wsgi(method: str) -> dict[str, Callable[[], None]]:
    body = b"x" * BODY_BYTES if method == "POST" else b""
    length = {"CONTENT_LENGTH": str(BODY_BYTES)} if body else {}
    template = environ(method, **length)
    result = [b"ok"]

    def app(environ: Any, start_response: Any) -> Any:
        if body:
            environ["wsgi.input"].read()
        start_response("200 OK", [])
        return result

    def calling(app: Any) -> Callable[[], None]:
        def call() -> None:
            request = template.copy()
            request["wsgi.input"] = Body(body)
            app(request, _start_response)

        return call

    return {
        NONE: calling(app),
        LEAST: calling(LeastWsgi(app)),
        DRAINKIT: calling(WsgiMiddleware(app)),
    }


def _asgi(method: str) -> dict[str, Callable[[], None]]:
    pieces = [b"x" * BODY_BYTES] if method == "POST" else []
    length = {"content_length": str(BODY_BYTES)} if pieces else {}
    template = scope(method, **length)
    start = {"type": "http.response.start", "status": 200, "headers": []}
    end = {"type": "http.response.body", "body": b"ok"}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if pieces:
            await receive()
        await send(start)
        await send(end)

    def calling(app: Any) -> Callable[[], None]:
        def call() -> None:
            cycle = Cycle(pieces)
            _drive(app(template.copy(), cycle.receive, cycle.send))

        return call

    return {
        NONE: calling(app),
        LEAST: calling(LeastAsgi(app)),
        DRAINKIT: calling(AsgiMiddleware(app)),
    }


def _drive(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never waits; not as a task, which would cost more than it."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waited")


def _parts() -> dict[str, Callable[[], Any]]:
    policy = DrainPolicy()
    request = environ("POST", CONTENT_LENGTH=str(BODY_BYTES))
    request["wsgi.input"] = stream = Body(b"x" * BODY_BYTES)
    framed = _framed()
    return {
        "has_body": lambda: has_body(request),
        "server_of": lambda: server_of(request),
        "framing": _framed,
        "Drain": lambda: Drain(policy, framed),
        "DrainControl": lambda: DrainControl(policy),
        "Input": lambda: Input(stream, policy, BODY_BYTES),
        "all of the WSGI exchange, with these and a copy of the environ": lambda: open_body(
            request.copy(), policy, None
        ),
        "a copy of the environ": request.copy,
        "an empty call": lambda: None,
    }


def _framed() -> Any:
    return framing(http_version="1.1", content_length="4096", transfer_encoding=None)


def _imports(bench: Bench) -> None:
    """Tell how much of ``import drainkit`` is the standard library's."""
    program = (
        "import importlib, sys, time\n"
        "started = time.perf_counter()\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "between = time.perf_counter()\n"
        "import drainkit\n"
        "print(between - started, time.perf_counter() - between)\n"
    )
    taken = []
    for _ in range(1 + bench.pick(15, 5)):  # the first one may compile
        done = subprocess.run(
            [sys.executable, "-c", program, *_STANDARD],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=True,
        )
        taken.append([float(seconds) * 1e3 for seconds in done.stdout.split()])
    names = {"where": "python -c", "measure": "time", "unit": "ms"}
    bench.add(
        [first for first, _ in taken[1:]],
        case="import of the standard library's "
        "dataclasses, enum, logging, re, threading and typing",
        contender=NONE,
        **names,
    )
    bench.add(
        [second for _, second in taken[1:]],
        case="import drainkit behind these",
        contender=DRAINKIT,
        **names,
    )


def _start_response(status: str, headers: Any, exc_info: Any = None) -> None:
    return None
