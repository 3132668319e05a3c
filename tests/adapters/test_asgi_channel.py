"""Under trio a small body that came with its request needs neither a nursery nor a task."""

import contextlib
import logging

import anyio
import pytest
import trio

from drainkit import DrainPolicy, Outcome, process_capacity
from drainkit_asgi import DrainMiddleware
from tests.adapters.asgi_server import (
    answering,
    backend,
    body,
    declining,
    make_scope,
    read_all,
    start,
)

pytestmark = pytest.mark.anyio

BODY = {"type": "http.request", "body": b"a" * 1000, "more_body": True}
PART = {**BODY, "body": b"a" * 600}
REST = {**BODY, "body": b"b" * 400}
# hypercorn tells of it in a message of its own.
END = {"type": "http.request", "body": b"", "more_body": False}
GONE = {"type": "http.disconnect"}
NO = answering(b"no", status=401)


@pytest.fixture
def anyio_backend():
    return backend("trio")


class Stream:
    """A request on hypercorn's trio worker, whose ``receive`` is that of a real channel."""

    def __init__(self, *messages):
        self.put, self.channel = trio.open_memory_channel(16)
        for message in messages:
            self.put.send_nowait(message)
        self.receive = self.channel.receive
        self.sent = []
        self.told = []
        self.reports = []

    async def send(self, message):
        await anyio.lowlevel.checkpoint()
        self.sent.append(message)

    async def serve(self, app, policy=None, length=1000, **request):
        async def told(scope, receive, send):
            self.told.append(len(trio.lowlevel.current_task().child_nurseries) - outside)
            await app(scope, receive, send)

        outside = len(trio.lowlevel.current_task().child_nurseries)
        middleware = DrainMiddleware(told, policy, on_report=self.reports.append)
        with anyio.fail_after(100):
            await middleware(make_scope(length, **request), self.receive, self.send)
        return self

    @property
    def report(self):
        (report,) = self.reports
        return report

    @property
    def left(self):
        return self.channel.statistics().current_buffer_used


Stream.__module__ = "hypercorn.protocol.http_stream"


@pytest.mark.parametrize("messages", [[BODY], [BODY, END], [PART, REST, END]], ids=len)
@pytest.mark.parametrize(
    "chunks", [(b"no",), (b"n", b"o"), (b"r" * 70_000,)], ids=["whole", "two", "big"]
)
async def test_an_answer_passes_as_it_is_without_a_nursery(chunks, messages):
    bare = Stream()
    await answering(*chunks, status=401)(make_scope(1000), bare.receive, bare.send)
    got = await Stream(*messages).serve(answering(*chunks, status=401))

    assert ([0], bare.sent) == (got.told, got.sent)
    report = got.report
    assert (Outcome.COMPLETE, 1000, 0, 401, "hypercorn") == (
        report.outcome,
        report.bytes_discarded,
        report.bytes_read,
        report.status,
        report.server,
    )


async def test_what_came_is_logged_where_somebody_listens(caplog):
    caplog.set_level(logging.DEBUG, logger="drainkit")
    await Stream(BODY, END).serve(NO)

    (record,) = [record for record in caplog.records if record.name == "drainkit"]
    assert ("complete", 1000) == (record.drainkit_outcome, record.drainkit_bytes_discarded)


@pytest.mark.parametrize("starts_first", [False, True], ids=["reads", "starts and reads"])
@pytest.mark.parametrize("messages", [[BODY, END], [PART, REST, END]], ids=len)
async def test_an_application_that_reads_has_what_it_would_have(messages, starts_first):
    async def app(scope, receive, send):
        if starts_first:
            await send(start(200))
        got.append(await read_all(receive))
        if not starts_first:
            await send(start(200))
        await send(body(b"read"))

    got = []
    stream = await Stream(*messages).serve(app)

    data = b"".join(message["body"] for message in messages)
    assert ([data], [], 0) == (got, stream.reports, stream.left)


async def test_an_application_that_has_all_bytes_and_waits_for_no_end_has_read_the_body():
    async def app(scope, receive, send):
        assert BODY == await receive()
        await NO(scope, receive, send)

    stream = await Stream(BODY).serve(app)

    assert ([0], [], 2) == (stream.told, stream.reports, len(stream.sent))


async def test_what_is_read_and_what_is_discarded_are_told_apart():
    async def app(scope, receive, send):
        await receive()
        await NO(scope, receive, send)

    stream = await Stream(PART, REST, END).serve(app)

    assert (600, 400) == (stream.report.bytes_read, stream.report.bytes_discarded)


@pytest.mark.parametrize("starts_first", [False, True], ids=["before", "behind the start"])
async def test_a_poll_in_a_cancelled_scope_takes_nothing(starts_first):
    """Starlette's Request.is_disconnected() is such a poll."""

    async def app(scope, receive, send):
        if starts_first:
            await send(start(200))
        with anyio.CancelScope() as polling:
            polling.cancel()
            await receive()
        got.append(await read_all(receive))

    got = []
    await Stream(BODY, END).serve(app)

    assert [BODY["body"]] == got


async def test_behind_the_answer_receive_is_the_disconnect():
    async def app(scope, receive, send):
        await NO(scope, receive, send)
        got.append(await receive())

    got = []
    await Stream(BODY, END).serve(app)

    assert [GONE] == got


async def test_who_waits_for_the_end_while_another_task_answers_is_told_of_it():
    async def app(scope, receive, send):
        async def listen():
            got.append(await receive())
            got.append(await receive())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await anyio.sleep(1)
            await NO(scope, receive, send)
            stream.put.send_nowait(END)

    got = []
    stream = Stream(BODY)
    await stream.serve(app)

    assert ([BODY, END], 2, [0]) == (got, len(stream.sent), stream.told)


@pytest.mark.parametrize(
    "messages", [[], [PART], [GONE], [{**BODY, "body": b""}]], ids=["nothing", "part", "gone", "0"]
)
async def test_what_has_not_come_whole_is_left_to_the_drain(messages):
    async def come(stream):
        await anyio.sleep(1)
        stream.put.send_nowait(REST if messages else BODY)
        stream.put.send_nowait(END)

    stream = Stream(*messages)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(come, stream)
        await stream.serve(NO)

    assert ([1], 401) == (stream.told, stream.sent[0]["status"])
    has_left = messages == [GONE]
    assert (Outcome.DISCONNECTED if has_left else Outcome.COMPLETE) is stream.report.outcome


async def test_a_body_that_never_comes_whole_is_bounded():
    stream = await Stream(PART).serve(NO, DrainPolicy(idle_seconds=2))

    assert (Outcome.IDLE, 600) == (stream.report.outcome, stream.report.bytes_discarded)


@pytest.mark.parametrize("when", ["before", "between"])
async def test_an_application_that_declines_is_told_of_as_ever(when):
    stream = await Stream(BODY, END).serve(declining(when))

    assert (Outcome.DECLINED, 0, 2) == (
        stream.report.outcome,
        stream.report.bytes_discarded,
        len(stream.sent),
    )


@pytest.mark.parametrize("max_bytes", [0, 500])
async def test_a_body_above_the_bound_is_not_taken_before_anybody_asks(max_bytes):
    async def app(scope, receive, send):
        left.append(stream.left)
        await NO(scope, receive, send)

    left = []
    stream = Stream(BODY, END)
    await stream.serve(app, DrainPolicy(max_bytes=max_bytes))

    assert ([2], [1]) == (left, stream.told)
    assert Outcome.COMPLETE is not stream.report.outcome


async def test_a_full_process_answers_what_has_come_like_any_other():
    assert process_capacity.acquire(1)
    try:
        stream = await Stream(BODY, END).serve(NO, DrainPolicy(max_concurrent=1))
    finally:
        process_capacity.release()

    assert (Outcome.COMPLETE, [0]) == (stream.report.outcome, stream.told)


@pytest.mark.parametrize("how", [{"expects": True}, {"http_version": "2"}], ids=["100", "h2"])
async def test_other_requests_have_nothing_taken_before_anybody_asks(how):
    async def app(scope, receive, send):
        left.append(stream.left)
        await NO(scope, receive, send)

    left = []
    stream = Stream(BODY, END)
    await stream.serve(app, **how)

    assert [2] == left


async def test_an_application_that_raises_has_its_body_discarded():
    async def app(scope, receive, send):
        raise LookupError("on purpose")

    stream = Stream(BODY, END)
    with pytest.raises(LookupError):
        await stream.serve(app)

    assert ([0], Outcome.COMPLETE, 0) == (stream.told, stream.report.outcome, stream.left)


async def test_an_application_that_answers_nothing_is_bounded():
    async def app(scope, receive, send):
        pass

    stream = await Stream(BODY).serve(app, DrainPolicy(idle_seconds=2))

    assert (Outcome.IDLE, 1000) == (stream.report.outcome, stream.report.bytes_discarded)


async def test_a_request_that_is_cancelled_leaves_nothing_behind():
    stream = Stream(BODY)
    with anyio.move_on_after(1):
        await stream.serve(lambda *_: anyio.sleep_forever())

    assert ([0], [], 0) == (stream.told, stream.reports, process_capacity.active)


async def test_a_channel_that_is_closed_is_the_applications_to_see():
    async def app(scope, receive, send):
        with contextlib.suppress(trio.EndOfChannel):
            await read_all(receive)
        await NO(scope, receive, send)

    stream = Stream(BODY)
    stream.put.close()
    await stream.serve(app)

    assert ([0], 2) == (stream.told, len(stream.sent))
