"""The application is let go with its answer; whatever ends the drain then leaves nothing behind.

In a loop of its own, so that the loop can be stopped, and what it would log is seen.
"""

import asyncio
import contextlib
import contextvars
import gc
from types import MethodType

import anyio
import pytest

from drainkit import DrainPolicy, Outcome, process_capacity
from drainkit.testing import Disconnect, Silence
from drainkit_asgi import DrainMiddleware
from tests.adapters.asgi_server import (
    BACKENDS,
    GRANIAN,
    HYPERCORN,
    UNKNOWN,
    UVICORN,
    Arrived,
    answering,
    backend,
    body,
    connection_class,
    make_scope,
    serve,
    start,
)

pytestmark = pytest.mark.usefixtures("only_the_rows_of_the_table")

NO = answering(b"no")
SLOW = [b"a" * 600, Silence(3), b"b" * 400]
KINDS = {"uvicorn": UVICORN, "hypercorn": HYPERCORN, "granian": GRANIAN, "unknown": UNKNOWN}


@pytest.fixture(params=BACKENDS)
def anyio_backend(request):
    return backend(request.param)


def timed(app):
    """Return an application that tells when it was let go."""

    async def timing(scope, receive, send):
        await app(scope, receive, send)
        scope["test.exchange"].told.append(anyio.current_time())

    return timing


@pytest.mark.anyio
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
async def test_an_application_is_let_go_when_its_answer_is_out_and_not_when_the_upload_is(kind):
    before = anyio.current_time()
    got = await serve(timed(NO), SLOW, kind=kind)

    assert ([before], 3.0) == (got.told, got.seconds)
    assert (Outcome.COMPLETE, b"no", True) == (
        got.outcome,
        got.body,
        got.connection.is_complete,
    )


@pytest.mark.anyio
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
async def test_what_an_application_does_behind_its_answer_delays_neither_drain_nor_end(kind):
    async def app(scope, receive, send):
        connection = scope["test.exchange"].connection
        await NO(scope, receive, send)
        await anyio.sleep(3.5)
        scope["test.exchange"].told.append((connection.is_complete, connection.given))
        await anyio.sleep(10)

    got = await serve(app, SLOW, kind=kind)

    assert ([(True, 1000)], 13.5) == (got.told, got.seconds)
    # On granian a job takes over some milliseconds behind the answer.
    assert 3.0 == pytest.approx(got.report.seconds, abs=0.05)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
async def test_a_start_is_sent_while_the_application_works_on_its_first_piece(
    kind, anyio_backend_name
):
    """On granian, which runs on asyncio, it is held: the server would keep it until then."""

    async def app(scope, receive, send):
        connection = scope["test.exchange"].connection
        await send(start(200))
        await anyio.sleep(0.001)
        scope["test.exchange"].told.append(connection.is_started)
        await send(body(b"event"))

    got = await serve(app, SLOW, kind=kind)

    is_held = kind is GRANIAN and anyio_backend_name == "asyncio"
    assert [not is_held] == got.told


@pytest.mark.anyio
async def test_a_start_is_sent_before_a_receive_that_waits():
    """The client may be waiting for it before it sends anything."""

    async def app(scope, receive, send):
        connection = scope["test.exchange"].connection
        await send(start(200))
        with anyio.move_on_after(0.5):
            await receive()
        scope["test.exchange"].told.append(connection.is_started)
        await send(body(b"late"))

    got = await serve(app, [Silence(1), b"a" * 1000])

    assert ([True], b"late") == (got.told, got.body)


@pytest.mark.anyio
async def test_a_poll_in_a_cancelled_scope_sees_what_has_come_and_waits_for_nothing():
    """Starlette's Request.is_disconnected() is such a poll."""

    async def poll(receive):
        with anyio.CancelScope() as scope:
            scope.cancel()
            return await receive()
        return None

    async def app(scope, receive, send):
        told = scope["test.exchange"].told
        await send(start(200))
        await send(body(b"r" * 70_000, True))  # the body is read ahead meanwhile
        told.append(await poll(receive))
        await anyio.sleep(2)
        told.append(await poll(receive))
        await send(body(b""))

    got = await serve(app, [b"a" * 600, Silence(2.5), Disconnect()], length=1000, send_seconds=1)
    first, second = got.told

    assert {"type": "http.request", "body": b"a" * 600, "more_body": True} == first
    assert second is None or second["type"] == "http.disconnect"


@pytest.mark.anyio
async def test_a_disconnect_that_a_read_ahead_took_is_the_next_message_of_the_application():
    async def app(scope, receive, send):
        await send(start(200))
        await send(body(b"r" * 70_000, True))
        scope["test.exchange"].told.extend([await receive(), await receive()])
        await send(body(b""))

    got = await serve(app, [b"a" * 600, Disconnect()], length=1000, send_seconds=1)

    assert [{"type": "http.disconnect"}] * 2 == got.told
    assert Outcome.DISCONNECTED is got.outcome


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_who_polls_behind_a_gap_is_told_of_no_error_and_still_of_the_disconnect():
    """A LateReadError would end an answer that has nothing to do with the body."""

    async def app(scope, receive, send):
        told = scope["test.exchange"].told
        await send(start(200))
        await send(body(b"r" * 70_000, True))
        for _ in range(30):
            with anyio.CancelScope() as polling:
                polling.cancel()
                told.append((await receive())["type"])
            await anyio.sleep(0.5)
        with pytest.raises(OSError, match="discarded"):
            await receive()
        await send(body(b"end"))

    policy = DrainPolicy(late_read_bytes=500, max_bytes=700)
    got = await serve(
        app, [b"a" * 600, b"b" * 400, Silence(100), b"c"], policy=policy, send_seconds=1
    )

    assert "http.disconnect" not in got.told
    assert (None, b"r" * 70_000 + b"end") == (got.raised, got.body)


@pytest.mark.anyio
async def test_a_receive_that_something_outside_refused_is_not_drained_and_not_waited_for():
    """The body limit of an outer middleware took the last message when it raised."""

    class TooLargeError(Exception):
        pass

    reports = []

    async def outer(scope, receive, send):
        async def limited():
            await receive()
            raise TooLargeError("1000 bytes")

        async def app(scope, receive, send):
            await receive()

        with pytest.raises(TooLargeError):
            await DrainMiddleware(app, on_report=reports.append)(scope, limited, send)
        await answering(b"no", status=413)(scope, receive, send)

    got = await serve(outer, [b"a" * 1000], wrap=None)
    (report,) = reports

    assert (0.0, b"no") == (got.seconds, got.body)
    assert (Outcome.DECLINED, "receive() raised TooLargeError: 1000 bytes") == (
        report.outcome,
        report.detail,
    )


@pytest.mark.anyio
async def test_what_an_application_sets_in_its_context_is_seen_outside_as_without():
    variable = contextvars.ContextVar("variable", default="unset")

    async def outer(scope, receive, send):
        async def app(scope, receive, send):
            variable.set("by the application")
            await NO(scope, receive, send)

        await DrainMiddleware(app)(scope, receive, send)
        scope["test.exchange"].told.append(variable.get())

    got = await serve(outer, SLOW, wrap=None)

    assert ["by the application"] == got.told


@pytest.mark.anyio
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
async def test_a_flood_behind_a_streamed_answer_ends_at_its_bound(kind):
    """The read-ahead has reached the bound; nobody may go on behind the end."""
    policy = DrainPolicy(max_bytes=5_000)
    pieces = [body(b"r" * 40_000, True)] * 4

    async def app(scope, receive, send):
        await send(start(200))
        for piece in pieces:
            await send(piece)
        await send(body())

    got = await serve(
        app,
        [b"u" * 1000] * 50,
        kind=kind,
        policy=policy,
        length=None,
        chunked=True,
        send_seconds=1,
        strict_client=False,
    )

    assert got.connection.is_complete
    assert got.connection.given <= 7_000
    assert (1 if kind is UVICORN else 0) == got.connection.transport.closed


def arrived(kind, script):
    return connection_class(kind.module, Arrived)(kind, script)


def run(app, script, *, kind=UVICORN, policy=None, connection=None, **fields):
    """Serve one request in an event loop of its own; return what happened and what was logged."""
    connection = connection or connection_class(kind.module)(kind, script)
    reports, logged = [], []

    async def main():
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: logged.append(context["message"])
        )
        middleware = DrainMiddleware(app, policy or DrainPolicy(), on_report=reports.append)
        scope = make_scope(sum(len(p) for p in script if isinstance(p, bytes)), **fields)
        scope["test.connection"] = connection
        await middleware(scope, connection.receive, connection.send)

    name, options = backend("asyncio")
    anyio.run(main, backend=name, backend_options=options)
    gc.collect()
    return connection, reports, logged


@pytest.mark.parametrize("pieces", [[b"a" * 1000], [b"a" * 400, b"b" * 600], [b"", b"a" * 1000]])
def test_a_body_that_has_come_is_taken_without_a_task_and_the_answer_passes_as_it_is(pieces):
    tasks = []

    async def app(scope, receive, send):
        await send(start(401, [(b"content-length", b"2")]))
        await send(body(b"no"))
        tasks.append(len(asyncio.all_tasks()))

    connection, (report,), logged = run(app, pieces, connection=arrived(UVICORN, pieces))

    taken = [f"receive {len(piece)}" for piece in pieces]
    assert [*taken, "start", "body 2"] == connection.events
    assert (Outcome.COMPLETE, 1000, 401) == (
        report.outcome,
        report.bytes_discarded,
        report.status,
    )
    assert ([1], []) == (tasks, logged)


def test_what_has_come_of_a_longer_body_is_taken_and_the_rest_is_waited_for():
    script = [b"a" * 400, Silence(2), b"b" * 600]
    connection, (report,), _ = run(NO, script, connection=arrived(UVICORN, script))

    assert ["receive 400", "start", "body 2 more", "receive 600", "body 0"] == connection.events
    assert (Outcome.COMPLETE, 1000) == (report.outcome, report.bytes_discarded)


def test_a_client_that_waits_for_its_invitation_is_not_stepped_into_one():
    connection = arrived(UVICORN, [b"a" * 1000])
    connection.expects, connection.is_invited = True, False
    _, (report,), _ = run(NO, [b"a" * 1000], connection=connection, expects=True)

    assert "invite" not in connection.events
    assert "start" == connection.events[0]
    assert Outcome.COMPLETE is report.outcome  # it sent its body all the same


ENDINGS = {
    "server cancels": (SLOW, 1.0),
    "client leaves": ([b"a" * 600, Silence(1), Disconnect()], None),
    "silence": ([b"a" * 600, Silence(100), b"b"], None),
    "completes": (SLOW, None),
}


async def _raises_behind(scope, receive, send):
    await NO(scope, receive, send)
    raise LookupError


APPS = {
    "returns": NO,
    "raises": _raises_behind,
    "page": answering(b"p" * 200_000),
    "pieces": answering(b"p" * 70_000, b"q" * 70_000),
}


@pytest.mark.parametrize("app", APPS.values(), ids=APPS)
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_whatever_ends_the_drain_nothing_is_left_logged_or_kept(kind, ending, app):
    """No task, no place, no message of asyncio's, and nothing for the garbage collector."""
    script, cancel_after = ENDINGS[ending]
    script = list(script)
    connection = connection_class(kind.module)(kind, script)
    reports, logged, held = [], [], []

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: logged.append(context["message"]))
        middleware = DrainMiddleware(app, on_report=reports.append)
        scope = make_scope(1000)
        task = asyncio.create_task(middleware(scope, connection.receive, connection.send))
        del scope
        if cancel_after is not None:
            await asyncio.sleep(cancel_after)
            task.cancel()
        with contextlib.suppress(LookupError, asyncio.CancelledError):
            await task
        del task, middleware
        for _ in range(5):
            await asyncio.sleep(0)
        assert 1 == len(asyncio.all_tasks())
        held.extend(m for m in gc.get_referrers(connection) if isinstance(m, MethodType))

    name, options = backend("asyncio")
    gc.disable()
    try:
        anyio.run(main, backend=name, backend_options=options)
    finally:
        gc.enable()

    assert ([], []) == (held, logged)
    assert 0 == process_capacity.active
    assert 1 == len(reports)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_loop_that_stops_in_the_middle_of_a_drain_ends_it(kind):
    """asyncio.run() cancels every task that is left: the request's, and its drain's."""
    connection = connection_class(kind.module)(kind, list(SLOW))
    reports, logged, tasks = [], [], []

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: logged.append(context["message"]))
        middleware = DrainMiddleware(NO, on_report=reports.append)
        tasks.append(
            asyncio.create_task(middleware(make_scope(1000), connection.receive, connection.send))
        )
        await asyncio.sleep(1)

    name, options = backend("asyncio")
    anyio.run(main, backend=name, backend_options=options)
    gc.collect()

    assert (Outcome.ERROR, "cancelled") == (reports[0].outcome, reports[0].detail)
    assert ([], 1, 0) == (logged, len(reports), process_capacity.active)
    assert tasks[0].cancelled()
