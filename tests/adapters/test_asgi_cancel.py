"""A request that is cancelled, at every step of the event loop: nothing is lost, doubled or left.

Each case is first served to its end, then cancelled after one step of the event loop, after two,
and so on until it runs through again.
"""

import asyncio
import itertools
import sys

import anyio
import pytest
import trio

from drainkit import Drain, DrainPolicy, Outcome
from drainkit.testing import Disconnect, Silence
from drainkit_asgi import DrainMiddleware, _upload
from tests.adapters.asgi_server import (
    BACKENDS,
    KIB,
    ROWS,
    answering,
    backend,
    body,
    read_all,
    sending,
    serve,
    settle,
    start,
)

pytestmark = pytest.mark.anyio

MOST_STEPS = 1_000
# One of each order; the rest differ in what the other tests look at.
ORDERS = ("uvicorn", "hypercorn h2", "granian", "unknown")
POLICY = DrainPolicy(late_read_bytes=800, idle_seconds=1.0)
# Time stands still while steps are counted, so that now and then the count must wait for it.
STEPS_BETWEEN_WAITS = 12
WAIT_SECONDS = 0.3


@pytest.fixture(params=BACKENDS)
def anyio_backend(request):
    return backend(request.param)


async def _read_some(scope, receive, send):
    await receive()
    await answering(b"enough")(scope, receive, send)


async def _read_late(scope, receive, send):
    await send(start(200))
    await send(body(b"begun", more=True))
    scope["test.exchange"].told.append(await read_all(receive))
    await send(body(b"ended"))


async def _transform(scope, receive, send):
    await send(start(200))
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message["more_body"]
        await send(body(message["body"].upper(), more=more))


async def _work_on(scope, receive, send):
    """Answer, and go on with something else, as a background task does."""
    await answering(b"no")(scope, receive, send)
    await anyio.sleep(0.7)


async def _raise_behind(scope, receive, send):
    await answering(b"no")(scope, receive, send)
    raise RuntimeError("as the test asked")


async def _begin_and_work(scope, receive, send):
    """Send the start, which is held, and then the rest later than anything is held."""
    await send(start(413))
    await anyio.sleep(0.1)
    await send(body(b"n", more=True))
    await anyio.sleep(0.1)
    await send(body(b"o"))


async def _raise(scope, receive, send):
    raise RuntimeError("as the test asked")


async def _wait_for_disconnect(scope, receive, send):
    """Answer while another task waits for the client to leave, as Starlette does."""

    async def listen():
        while (await receive())["type"] != "http.disconnect":
            pass

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        await answering(b"no")(scope, receive, send)


APPS = {
    "whole": answering(b"no"),
    "empty": answering(b"", status=302),
    "page": answering(b"p" * 200 * KIB),
    "pieces": answering(*[b"p" * 80 * KIB] * 2, end=False),
    "pieces-with-length": answering(b"ab", b"cd", headers=[(b"content-length", b"4")]),
    "trailers": sending(
        start(200, trailers=True),
        body(b"x"),
        {"type": "http.response.trailers", "headers": [], "more_trailers": False},
    ),
    "file": sending(start(200), {"type": "http.response.pathsend", "path": "/file"}),
    "reads-some": _read_some,
    "reads-late": _read_late,
    "transforms": _transform,
    "raises": _raise,
    "works on": _work_on,
    "raises behind": _raise_behind,
    "begins and works": _begin_and_work,
    "listens": _wait_for_disconnect,
}

UPLOADS = {
    "quick": [b"a" * 600, b"b" * 400, b"c" * 200],
    "slow": [b"a" * 600, Silence(0.5), b"b" * 400],
    "silent": [b"a" * 600, Silence(1.5), b"b" * 400],
    "leaving": [b"a" * 600, b"b" * 400, Disconnect(), b"c"],
}


@pytest.fixture
def drains(monkeypatch):
    """Return every drain that the middleware makes."""
    made = []

    def drain(*arguments, **keywords):
        made.append(Drain(*arguments, **keywords))
        return made[-1]

    monkeypatch.setattr(_upload, "Drain", drain)
    return made


class _Cancelling:
    """A middleware around drainkit's that is cancelled after so many steps of the event loop."""

    def __init__(self, steps):
        self.steps = steps
        self.is_cancelled = False

    def __call__(self, app, policy, *, on_report):
        drained = DrainMiddleware(app, policy, on_report=on_report)

        async def cancelling(scope, receive, send):
            raised = None
            async with anyio.create_task_group() as tasks:
                with anyio.CancelScope() as request:
                    tasks.start_soon(self._cancel_later, request)
                    try:
                        await drained(scope, receive, send)
                    except Exception as error:
                        raised = error
                self.is_cancelled = request.cancelled_caught
                tasks.cancel_scope.cancel()
            if raised is not None:
                raise raised

        return cancelling

    async def _cancel_later(self, request):
        for step in range(self.steps):
            if step % STEPS_BETWEEN_WAITS == STEPS_BETWEEN_WAITS - 1:
                await anyio.sleep(WAIT_SECONDS)
            else:
                await anyio.lowlevel.checkpoint()
        request.cancel()


def _living_tasks():
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return trio.lowlevel.current_statistics().tasks_living


async def _served(app, upload, row, steps):
    kind, http_version, _ = ROWS[row]
    wrap = _Cancelling(steps)
    living = _living_tasks()
    got = await serve(
        app,
        upload,
        kind=kind,
        policy=POLICY,
        wrap=wrap,
        send_seconds=0.1,
        length=None if http_version == "2" else True,
        http_version=http_version,
    )
    await settle()
    assert living == _living_tasks()
    return got, wrap.is_cancelled


def _flat(messages):
    """Return a response as one run of bytes and marks: where it is cut does not matter."""
    flat = []
    for message in messages:
        kind = message["type"]
        if kind == "http.response.start":
            flat.append(("start", message["status"]))
        elif kind == "http.response.body":
            flat += message.get("body", b"")
        if not message.get("more_body", kind == "http.response.start"):
            flat.append(f"end of {kind}")
    return flat


@pytest.mark.parametrize("upload", UPLOADS)
@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("row", ORDERS)
async def test_cancelled_at_any_step_nothing_is_lost_or_doubled_or_left(drains, row, app, upload):
    whole, _ = await _served(APPS[app], UPLOADS[upload], row, sys.maxsize)
    wanted = _flat(whole.messages)

    for steps in itertools.count():
        assert steps < MOST_STEPS
        drains.clear()
        got, was_cancelled = await _served(APPS[app], UPLOADS[upload], row, steps)
        sent = _flat(got.messages)
        report = got.report if got.reports else None
        given, taken = got.connection.given, 0
        if report is not None:
            taken = report.bytes_discarded + report.bytes_read

        assert sent == wanted[: len(sent)]
        assert [drain.report for drain in drains if drain.report is not None] == got.reports
        assert not any(drain.under_way for drain in drains)
        if report is not None:
            # At most the message in hand was not counted.
            assert taken <= given <= taken + 600
        if not was_cancelled:
            break
        if report is not None and report.outcome is Outcome.COMPLETE:
            assert given == sum(len(p) for p in UPLOADS[upload] if isinstance(p, bytes))

    assert sent == wanted
    assert [r.outcome for r in whole.reports] == [r.outcome for r in got.reports]
