"""An early answer to a body that has come already passes as it is, and keeps every promise."""

import asyncio
import logging
import subprocess
import sys

import anyio
import pytest

from drainkit import DrainPolicy, Outcome, process_capacity
from drainkit.testing import Disconnect, Silence
from drainkit_asgi import DrainMiddleware
from tests.adapters.asgi_server import (
    GUNICORN,
    HTTPTOOLS,
    HYPERCORN,
    KIB,
    UVICORN,
    Arrived,
    answering,
    asking_behind,
    backend,
    body,
    connection_class,
    declining,
    make_scope,
    read_all,
    serve,
    start,
)
from tests.adapters.golden.asgi import ANSWERS, RAISES, ApplicationError

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("only_the_rows_of_the_table")]

KINDS = {
    "uvicorn": UVICORN,
    "httptools": HTTPTOOLS,
    "gunicorn": GUNICORN,
}
# One message; two, the second of which is only the end, as hypercorn has them; and many.
UPLOADS = {
    "one": [b"a" * 1000],
    "two": [b"a" * 1000, b""],
    "many": [b"a" * 125] * 8,
}
NO = answering(b"no", status=401)


@pytest.fixture
def anyio_backend():
    return backend("asyncio")


def answer_of(answer):
    """Return an application that gives one of the golden table's answers, or raises."""

    async def app(scope, receive, send):
        for message in ANSWERS[answer](413):
            if message is RAISES:
                raise ApplicationError("on purpose")
            await send(message)

    return app


def unheard(app, policy, on_report):
    """Wrap an application so that nobody is told of a complete drain."""
    return DrainMiddleware(app, policy)


WRAPS = {"heard": DrainMiddleware, "unheard": unheard}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
@pytest.mark.parametrize("upload", UPLOADS.values(), ids=UPLOADS)
@pytest.mark.parametrize("answer", ANSWERS)
async def test_the_server_is_told_what_it_is_told_without_drainkit(answer, upload, wrap):
    bare = await serve(answer_of(answer), upload, wrap=None)
    got = await serve(answer_of(answer), upload, wrap=wrap, has_arrived=True)

    assert bare.messages == got.messages
    assert repr(bare.raised) == repr(got.raised)
    assert bare.seconds == got.seconds
    assert (1000, 0) == (got.connection.given, got.connection.transport.closed)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("upload", UPLOADS.values(), ids=UPLOADS)
async def test_what_came_is_counted_and_told(upload, kind):
    got = await serve(NO, upload, kind=kind, has_arrived=True)

    report = got.report
    assert (Outcome.COMPLETE, 1000, 0, 1000) == (
        report.outcome,
        report.bytes_discarded,
        report.bytes_read,
        report.declared_bytes,
    )
    assert ("POST", "/upload", 401, "HTTP/1.1") == (
        report.method,
        report.path,
        report.status,
        report.protocol,
    )
    assert (0.0, "") == (report.seconds, report.detail)


async def test_what_came_is_told_before_the_end_of_the_answer_goes_out():
    told = []

    async def app(scope, receive, send):
        exchange = scope["test.exchange"]
        await send(start(401))
        await send(body(b"n", more=True))
        told.append(len(exchange.reports))
        await send(body(b"o"))

    def told_then(report):
        told.append(report.outcome)

    got = await serve(
        app,
        has_arrived=True,
        wrap=lambda app, policy, on_report: DrainMiddleware(app, policy, on_report=told_then),
    )

    assert [0, Outcome.COMPLETE] == told
    assert b"no" == got.body


async def test_what_came_is_logged_where_somebody_listens(caplog):
    caplog.set_level(logging.DEBUG, logger="drainkit")
    await serve(NO, has_arrived=True, wrap=unheard)

    (record,) = caplog.records
    assert (logging.DEBUG, "complete", 1000, 401) == (
        record.levelno,
        record.drainkit_outcome,
        record.drainkit_bytes_discarded,
        record.drainkit_status,
    )


async def test_a_full_process_answers_what_has_come_like_any_other():
    """Nobody is waited for, so there is nothing to be bounded; the connection lives on."""
    assert process_capacity.acquire(1)
    try:
        got = await serve(NO, policy=DrainPolicy(max_concurrent=1), has_arrived=True)
    finally:
        process_capacity.release()

    assert (Outcome.COMPLETE, 1000, []) == (
        got.outcome,
        got.report.bytes_discarded,
        got.header(b"connection"),
    )


@pytest.mark.parametrize(
    ("max_bytes", "outcome"), [(0, Outcome.DECLINED), (500, Outcome.BYTE_LIMIT)]
)
async def test_a_body_above_the_bound_is_bounded_as_ever(max_bytes, outcome):
    policy = DrainPolicy(max_bytes=max_bytes)
    late = await serve(NO, policy=policy)
    got = await serve(NO, policy=policy, has_arrived=True)

    assert outcome is late.outcome is got.outcome
    assert late.header(b"connection") == got.header(b"connection")
    assert (b"no", b"no") == (late.body, got.body)


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
@pytest.mark.parametrize("when", ["before", "between"])
async def test_an_application_that_declines_is_told_of_as_ever(when, wrap, caplog):
    got = await serve(declining(when), has_arrived=True, wrap=wrap)

    assert b"no" == got.body
    if wrap is DrainMiddleware:
        assert (Outcome.DECLINED, 0) == (got.outcome, got.report.bytes_discarded)
    assert ["declined"] == [record.drainkit_outcome for record in caplog.records]


@pytest.mark.parametrize("upload", UPLOADS.values(), ids=UPLOADS)
async def test_an_application_that_reads_behind_its_start_has_the_whole_body(upload):
    async def app(scope, receive, send):
        await send(start(200))
        scope["test.exchange"].told.append(await read_all(receive))
        await send(body(b"read"))

    got = await serve(app, upload, has_arrived=True)

    assert ([b"a" * 1000], [], b"read") == (got.told, got.reports, got.body)


async def test_what_the_application_reads_and_what_is_discarded_are_told_apart():
    async def app(scope, receive, send):
        await receive()
        await send(start(200))
        await receive()
        await send(body(b"enough"))

    got = await serve(app, UPLOADS["many"], has_arrived=True)

    assert (250, 750) == (got.report.bytes_read, got.report.bytes_discarded)


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
async def test_behind_the_answer_receive_is_the_disconnect_and_a_message_the_servers_to_refuse(
    wrap,
):
    told = []

    await serve(asking_behind(NO, told), wrap=wrap, has_arrived=True)

    assert ["http.disconnect", "http.response.body behind the end of the response"] == told


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
async def test_a_task_that_waits_beside_the_last_send_is_told_of_the_disconnect(wrap):
    told = []

    async def app(scope, receive, send):
        async def listen():
            told.append((await receive())["type"])

        await send(start(200))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send, body(b"r" * 65 * KIB))
            await anyio.sleep(0.5)
            tasks.start_soon(listen)

    await serve(app, has_arrived=True, wrap=wrap, send_seconds=1.0)

    assert ["http.disconnect"] == told


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
@pytest.mark.parametrize("fails_at", [0, 1, 2])
async def test_what_the_servers_send_raises_is_the_applications(fails_at, wrap):
    app = answering(b"n", b"o", status=401)
    bare = await serve(app, wrap=None, fails_at=fails_at)
    got = await serve(app, wrap=wrap, fails_at=fails_at, has_arrived=True)

    assert repr(bare.raised) == repr(got.raised)
    assert bare.messages == got.messages
    if wrap is DrainMiddleware:
        assert (Outcome.COMPLETE, 1000) == (got.outcome, got.report.bytes_discarded)


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
async def test_a_request_that_is_cancelled_while_its_answer_is_sent_leaves_nothing_behind(wrap):
    got = await serve(
        answering(b"r" * 65 * KIB, status=401),
        has_arrived=True,
        wrap=wrap,
        send_seconds=5.0,
        cancel_after=1.0,
    )

    assert (["cancelled"], 1.0, 0) == (got.told, got.seconds, process_capacity.active)


async def test_an_exception_of_receive_ends_the_drain_and_not_the_answer():
    """As in front of it a middleware may refuse a body that is too large."""

    class Refusing:
        def __init__(self, connection):
            self.connection = connection

        async def receive(self):
            raise ValueError("refused")

    Refusing.__module__ = UVICORN.module

    def wrap(app, policy, on_report):
        middleware = DrainMiddleware(app, policy, on_report=on_report)

        async def refusing(scope, receive, send):
            await middleware(scope, Refusing(receive).receive, send)

        return refusing

    got = await serve(NO, wrap=wrap)

    assert (b"no", Outcome.ERROR, "ValueError: refused") == (
        got.body,
        got.outcome,
        got.report.detail,
    )


@pytest.mark.parametrize("rest", [Silence(1), Disconnect()], ids=["comes later", "never comes"])
async def test_a_body_that_has_come_in_part_is_left_to_the_drain(rest):
    upload = [b"a" * 600, rest, *([b"b" * 400] if isinstance(rest, Silence) else [])]
    late = await serve(NO, upload, length=1000)
    got = await serve(NO, upload, length=1000, has_arrived=True)

    assert late.messages == got.messages
    assert (late.outcome, late.report.bytes_discarded) == (
        got.outcome,
        got.report.bytes_discarded,
    )


async def test_a_part_that_came_is_the_first_that_a_late_reader_has():
    async def app(scope, receive, send):
        await send(start(200))
        scope["test.exchange"].told.append(await read_all(receive))
        await send(body(b"read"))

    got = await serve(app, [b"a" * 600, Silence(1), b"b" * 400], has_arrived=True)

    assert ([b"a" * 600 + b"b" * 400], [], b"read") == (got.told, got.reports, got.body)


class Cycle:
    """A request whose body comes later, and which waits for it as uvicorn's does."""

    def __init__(self):
        self.has_come = asyncio.Event()
        self.sent = []

    async def receive(self):
        await self.has_come.wait()
        return {"type": "http.request", "body": b"a" * 1000, "more_body": False}

    async def send(self, message):
        self.sent.append(message)


Cycle.__module__ = UVICORN.module


async def test_what_comes_between_two_messages_of_an_answer_needs_no_task():
    cycle = Cycle()
    messages = [start(401, [(b"content-length", b"2")]), body(b"no")]
    reports = []

    async def app(scope, receive, send):
        await send(messages[0])
        await anyio.sleep(1)
        cycle.has_come.set()
        await anyio.sleep(1)
        await send(messages[1])
        assert before == asyncio.all_tasks()

    before = asyncio.all_tasks()
    await DrainMiddleware(app, on_report=reports.append)(
        make_scope(1000), cycle.receive, cycle.send
    )

    assert messages == cycle.sent
    assert [(Outcome.COMPLETE, 1000)] == [(r.outcome, r.bytes_discarded) for r in reports]


@pytest.mark.parametrize(
    "fields",
    [
        {"length": None, "chunked": True},
        {"length": b"abc"},
        {"length": b"+1000"},
        {"expects": True},
    ],
    ids=["chunked", "no number", "a sign", "expects"],
)
async def test_nothing_is_taken_of_a_body_that_is_not_told_plainly(fields):
    got = await serve(NO, kind=UVICORN, has_arrived=True, **fields)

    assert got.events[0] != "invite"
    assert b"no" == got.body
    assert 1 == len(got.reports)
    assert got.events[0] == "start" or got.outcome is Outcome.COMPLETE


CHUNKED = {"length": None, "chunked": True}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("upload", UPLOADS.values(), ids=UPLOADS)
async def test_a_chunked_body_that_has_come_whole_passes_too(upload, kind):
    bare = await serve(NO, upload, kind=kind, wrap=None, **CHUNKED)
    got = await serve(NO, upload, kind=kind, has_arrived=True, **CHUNKED)

    assert bare.messages == got.messages
    assert (Outcome.COMPLETE, 1000, None) == (
        got.outcome,
        got.report.bytes_discarded,
        got.report.declared_bytes,
    )


@pytest.mark.parametrize(
    ("max_bytes", "outcome", "given"),
    [(0, Outcome.DECLINED, 0), (500, Outcome.BYTE_LIMIT, 600)],
)
async def test_a_chunked_body_above_the_bound_is_bounded_as_ever(max_bytes, outcome, given):
    policy = DrainPolicy(max_bytes=max_bytes)
    upload = [b"a" * 600, b"b" * 400]
    late = await serve(NO, upload, policy=policy, **CHUNKED)
    got = await serve(NO, upload, policy=policy, has_arrived=True, **CHUNKED)

    assert (outcome, outcome) == (late.outcome, got.outcome)
    assert given == got.connection.given
    assert late.report.bytes_discarded == got.report.bytes_discarded


async def test_no_more_of_a_chunked_body_is_taken_before_the_answer_than_a_server_holds():
    async def app(scope, receive, send):
        await send(start(200))
        scope["test.exchange"].told.append(scope["test.exchange"].connection.given)
        await send(body(b"no"))

    got = await serve(app, [b"a" * 40 * KIB] * 4, has_arrived=True, **CHUNKED)

    assert [80 * KIB] == got.told
    assert (Outcome.COMPLETE, 160 * KIB) == (got.outcome, got.report.bytes_discarded)


async def test_a_chunked_body_that_has_come_in_part_is_the_first_that_a_late_reader_has():
    async def app(scope, receive, send):
        await send(start(200))
        scope["test.exchange"].told.append(await read_all(receive))
        await send(body(b"read"))

    got = await serve(app, [b"a" * 600, Silence(1), b"b" * 400], has_arrived=True, **CHUNKED)

    assert ([b"a" * 600 + b"b" * 400], [], b"read") == (got.told, got.reports, got.body)


async def test_a_body_above_a_servers_buffer_is_not_taken_before_the_answer():
    upload = [b"a" * 64 * KIB, b"b"]

    async def app(scope, receive, send):
        await send(start(200))
        await anyio.sleep(1)
        scope["test.exchange"].told.append(scope["test.exchange"].connection.given)
        await send(body(b"no"))

    got = await serve(app, upload, has_arrived=True)

    assert [0] == got.told


async def test_hypercorns_two_messages_are_one_body():
    got = await serve(NO, UPLOADS["two"], kind=HYPERCORN, has_arrived=True)

    assert (Outcome.COMPLETE, 1000, b"no") == (
        got.outcome,
        got.report.bytes_discarded,
        got.body,
    )


def test_a_lifespan_prepares_for_the_first_drain_and_an_import_does_not():
    """What anyio loads for an event loop takes a twentieth of a second."""
    program = """
import asyncio, sys
from drainkit_asgi import DrainMiddleware

async def app(scope, receive, send): ...

backend = "anyio._backends._asyncio"
middleware = DrainMiddleware(app)
print(backend in sys.modules)
asyncio.run(middleware({"type": "lifespan"}, None, None))
print(backend in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )

    assert ["False", "True"] == done.stdout.split()


def test_a_lifespan_without_an_event_loop_is_the_applications():
    """A test may drive an application by hand."""
    called = []

    async def app(scope, receive, send):
        called.append(scope["type"])

    with pytest.raises(StopIteration):
        DrainMiddleware(app)({"type": "lifespan"}, None, None).send(None)

    assert ["lifespan"] == called


@pytest.mark.parametrize("has_arrived", [True, False], ids=["has arrived", "comes"])
async def test_what_a_task_sends_behind_its_request_is_the_servers_to_refuse(has_arrived):
    leaked = []

    async def app(scope, receive, send):
        leaked.append((scope["test.exchange"].connection, send))
        await NO(scope, receive, send)

    await serve(app, has_arrived=has_arrived)
    ((connection, send),) = leaked
    await send(body(b"too late"))

    assert "http.response.body behind the end of the response" == connection.violations[0]


async def test_two_requests_behind_each_other_are_told_apart():
    reports = []
    middleware = DrainMiddleware(NO, on_report=reports.append)
    for path, upload in (("/first", b"a" * 300), ("/second", b"b" * 200)):
        connection = connection_class(UVICORN.module, Arrived)(UVICORN, [upload])
        scope = make_scope(len(upload), path=path)
        await middleware(scope, connection.receive, connection.send)

        assert ["start", "body 2"] == connection.events[1:]

    assert [("/first", 300), ("/second", 200)] == [(r.path, r.bytes_discarded) for r in reports]
