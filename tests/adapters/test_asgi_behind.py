"""A small body is received behind an answer of one piece, and every promise is kept."""

import asyncio
import contextvars
import gc
import logging
import weakref
from types import MethodType

import anyio
import pytest

from drainkit import CONTROL_KEY, DrainPolicy, Outcome, process_capacity
from drainkit.testing import Disconnect, Silence
from drainkit_asgi import DrainMiddleware
from drainkit_asgi._watch import Watch, watch_of
from tests.adapters.asgi_server import (
    GRANIAN,
    KIB,
    Connection,
    answering,
    asking_behind,
    backend,
    body,
    connection_class,
    declining,
    make_scope,
    read_all,
    sending,
    serve,
    start,
)

pytestmark = pytest.mark.anyio

NO = answering(b"no", status=401)
NEVER = Silence(10_000)


@pytest.fixture
def anyio_backend():
    return backend("asyncio")


class Begun(Connection):
    """``receive()`` returns a future and is under way when it is called, as granian's."""

    def receive(self):
        return asyncio.ensure_future(super().receive())


def unheard(app, policy, on_report):
    """Wrap an application so that nobody is told of a complete drain."""
    return DrainMiddleware(app, policy)


WRAPS = {"heard": DrainMiddleware, "unheard": unheard}


async def ask(app, *script, **request):
    """Serve one request as granian would."""
    return await serve(app, list(script) or [b"a" * 1000], kind=GRANIAN, base=Begun, **request)


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
@pytest.mark.parametrize("data", [b"", b"no", b"r" * 64 * KIB], ids=len)
async def test_the_server_is_told_what_it_is_told_without_drainkit(data, wrap):
    bare = await ask(answering(data, status=401), wrap=None)
    got = await ask(answering(data, status=401), wrap=wrap)

    assert bare.messages == got.messages
    assert (1000, 0.0) == (got.connection.given, got.seconds)


async def test_what_comes_is_counted_and_told():
    got = await ask(NO, headers=[(b"x", b"y")])

    report = got.report
    assert (Outcome.COMPLETE, 1000, 0, 1000) == (
        report.outcome,
        report.bytes_discarded,
        report.bytes_read,
        report.declared_bytes,
    )
    assert ("POST", "/upload", 401, "HTTP/1.1", "granian") == (
        report.method,
        report.path,
        report.status,
        report.protocol,
        report.server,
    )


async def test_what_comes_is_logged_where_somebody_listens(caplog):
    caplog.set_level(logging.DEBUG, logger="drainkit")
    await ask(NO, wrap=unheard)

    (record,) = caplog.records
    assert ("complete", 1000) == (record.drainkit_outcome, record.drainkit_bytes_discarded)


async def test_the_request_itself_waits_and_needs_no_task():
    async def app(scope, receive, send):
        scope["test.exchange"].told.append(asyncio.all_tasks())
        await NO(scope, receive, send)
        scope["test.exchange"].told.append(asyncio.all_tasks())

    got = await ask(app, Silence(0.01), b"a" * 1000)

    before, behind = got.told
    (receiving,) = behind - before
    assert "Begun.receive" not in repr(receiving)  # the server's own, and no other
    assert (0.01, 1000) == (pytest.approx(got.seconds), got.report.bytes_discarded)


async def test_an_application_is_let_go_with_its_answer():
    async def app(scope, receive, send):
        await NO(scope, receive, send)
        scope["test.exchange"].told.append(anyio.current_time())

    began = anyio.current_time()
    got = await ask(app, Silence(3), b"a" * 1000)

    assert ([began], 3.0, 3.0) == (got.told, got.seconds, got.report.seconds)


async def test_a_body_that_does_not_come_soon_holds_a_place_among_the_drains():
    async def look(places):
        for _ in range(4):
            places.append(process_capacity.active)
            await anyio.sleep(0.5)

    places = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look, places)
        got = await ask(NO, Silence(1.2), b"a" * 1000)

    assert [0, 1, 1, 0] == places
    assert Outcome.COMPLETE is got.outcome


@pytest.mark.parametrize("lingers", [False, True], ids=["returns", "goes on"])
@pytest.mark.parametrize(
    ("policy", "outcome", "seconds"),
    [
        ({"idle_seconds": 2}, Outcome.IDLE, 2.0),
        ({"max_seconds": 3}, Outcome.TIME_LIMIT, 3.0),
        ({"idle_seconds": 0.001}, Outcome.IDLE, 0.02),
    ],
    ids=["idle", "whole", "at once"],
)
async def test_a_body_that_never_comes_is_waited_for_within_the_bounds(
    policy, outcome, seconds, lingers
):
    async def app(scope, receive, send):
        await NO(scope, receive, send)
        await anyio.sleep(5.0 if lingers else 0.0)

    got = await ask(app, NEVER, b"a", policy=DrainPolicy(**policy))

    assert (outcome, seconds) == (got.outcome, pytest.approx(got.report.seconds))
    assert 5.0 if lingers else seconds == pytest.approx(got.seconds)
    assert 0 == process_capacity.active


@pytest.mark.parametrize("lingers", [False, True], ids=["returns", "goes on"])
async def test_a_body_that_stops_in_the_middle_is_bounded(lingers):
    async def app(scope, receive, send):
        await NO(scope, receive, send)
        await anyio.sleep(20.0 if lingers else 0.0)

    got = await ask(app, b"a" * 600, NEVER, b"b", policy=DrainPolicy(idle_seconds=2))

    report = got.report
    assert (Outcome.IDLE, 600) == (report.outcome, report.bytes_discarded)
    assert 2.0 == pytest.approx(report.seconds, abs=0.05)


async def test_what_an_application_does_behind_its_answer_does_not_delay_the_drain():
    async def app(scope, receive, send):
        await NO(scope, receive, send)
        await anyio.sleep(10)
        scope["test.exchange"].told.append(len(scope["test.exchange"].reports))

    got = await ask(app, b"a" * 600, Silence(3), b"b" * 400)

    assert ([1], 10.0, 1000) == (got.told, got.seconds, got.report.bytes_discarded)
    assert 3.0 == pytest.approx(got.report.seconds, abs=0.05)


async def test_each_drain_is_told_of_in_the_context_of_its_own_request():
    """The two wait for the same timer, and the drain goes on in a job of its own."""
    name = contextvars.ContextVar("name")
    told = {}

    async def app(scope, receive, send):
        name.set(scope["path"])
        await NO(scope, receive, send)
        await anyio.sleep(5)

    middleware = DrainMiddleware(
        app, on_report=lambda report: told.update({report.path: name.get()})
    )
    async with anyio.create_task_group() as tasks:
        for path in ("/first", "/second"):
            upload = [Silence(1), b"a" * 1000]
            connection = connection_class(GRANIAN.module, Begun)(GRANIAN, upload)
            scope = make_scope(1000, path=path)
            tasks.start_soon(middleware, scope, connection.receive, connection.send)

    assert {"/first": "/first", "/second": "/second"} == told


async def test_a_full_process_leaves_the_body_alone_and_says_so():
    assert process_capacity.acquire(1)
    try:
        got = await ask(NO, policy=DrainPolicy(max_concurrent=1))
    finally:
        process_capacity.release()

    assert (Outcome.AT_CAPACITY, [b"close"], b"no") == (
        got.outcome,
        got.header(b"connection"),
        got.body,
    )


async def test_a_process_that_is_full_when_the_body_is_late_waits_no_longer():
    taken = []

    async def fill():
        await anyio.sleep(0.01)
        taken.append(process_capacity.acquire(1))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fill)
        got = await ask(NO, NEVER, b"a", policy=DrainPolicy(max_concurrent=1))
    process_capacity.release()

    assert ([True], Outcome.AT_CAPACITY) == (taken, got.outcome)
    assert 0.02 == pytest.approx(got.seconds)


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
@pytest.mark.parametrize("after", [0.01, 1.0], ids=["at once", "later"])
@pytest.mark.parametrize("lingers", [False, True], ids=["returns", "goes on"])
async def test_a_request_that_is_cancelled_leaves_nothing_behind(lingers, after, wrap, caplog):
    async def app(scope, receive, send):
        await NO(scope, receive, send)
        await anyio.sleep(5.0 if lingers else 0.0)

    before = asyncio.all_tasks()
    got = await ask(app, NEVER, b"a", wrap=wrap, cancel_after=after)

    assert (["cancelled"], 0) == (got.told, process_capacity.active)
    assert before == asyncio.all_tasks()
    ((outcome, detail),) = [(r.drainkit_outcome, r.getMessage()) for r in caplog.records]
    assert "error" == outcome
    assert "cancelled" in detail


async def test_a_request_that_is_cancelled_with_a_start_that_is_held_is_freed_at_once():
    """The garbage collector is not needed, as on the bare server."""

    async def app(scope, receive, send):
        await send(start(401))
        await anyio.sleep_forever()

    gc.disable()
    try:
        got = await ask(app, cancel_after=1)
        held = [one for one in gc.get_referrers(got.connection) if isinstance(one, MethodType)]
    finally:
        gc.enable()

    assert (["cancelled"], [], []) == (got.told, got.messages, held)


@pytest.mark.parametrize("fails_at", [0, 1])
async def test_what_the_servers_send_raises_is_the_applications(fails_at):
    bare = await ask(NO, wrap=None, fails_at=fails_at)
    got = await ask(NO, fails_at=fails_at)

    assert repr(bare.raised) == repr(got.raised)
    assert bare.messages == got.messages
    assert (Outcome.DISCONNECTED, 0) == (got.outcome, got.report.bytes_discarded)


@pytest.mark.parametrize("upload", [[Disconnect()], [b"a" * 600, Disconnect()]], ids=len)
async def test_a_client_that_leaves_is_told_of(upload):
    got = await ask(NO, *upload, length=1000)

    sent = sum(len(piece) for piece in upload if isinstance(piece, bytes))
    assert (Outcome.DISCONNECTED, sent) == (got.outcome, got.report.bytes_discarded)


@pytest.mark.parametrize("when", ["before", "between"])
async def test_an_application_that_declines_is_told_of_as_ever(when):
    got = await ask(declining(when))

    assert (Outcome.DECLINED, 0, b"no") == (got.outcome, got.connection.given, got.body)


async def test_an_application_that_reads_behind_its_start_has_the_whole_body():
    async def app(scope, receive, send):
        connection = scope["test.exchange"].connection
        await send(start(200))
        scope["test.exchange"].told.append(await read_all(receive))
        scope["test.exchange"].told.append(connection.is_started)
        await send(body(b"read"))

    got = await ask(app, Silence(1), b"a" * 600, b"b" * 400)

    assert ([b"a" * 600 + b"b" * 400, True], [], b"read") == (got.told, got.reports, got.body)


async def test_behind_the_answer_receive_is_the_disconnect_and_a_message_the_servers_to_refuse():
    told = []

    await ask(asking_behind(NO, told))

    assert ["http.disconnect", "http.response.body behind the end of the response"] == told


@pytest.mark.parametrize(
    "headers",
    [[(b"Content-Type", b"text/event-stream")], [(b"x",)], iter([])],
    ids=["a stream of events", "malformed", "an iterator"],
)
async def test_a_start_that_the_server_would_send_or_refuse_is_not_held(headers):
    async def app(scope, receive, send):
        connection = scope["test.exchange"].connection
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await anyio.sleep(0.001)
        scope["test.exchange"].told.append(connection.is_started)
        await send(body(b"event"))

    got = await ask(app)

    assert [True] == got.told or isinstance(got.raised, ValueError)


@pytest.mark.parametrize("chunks", [(b"n", b"o"), (b"n" * 65 * KIB,)], ids=["pieces", "big"])
async def test_every_other_answer_waits_for_the_body_where_it_must(chunks):
    got = await ask(answering(*chunks, status=200))

    assert b"".join(chunks) == got.body
    assert (Outcome.COMPLETE, 1000) == (got.outcome, got.report.bytes_discarded)


@pytest.mark.parametrize("how", [{"chunked": True, "length": None}, {"expects": True}], ids=repr)
async def test_a_body_that_is_not_told_plainly_is_left_to_the_drain(how):
    got = await ask(NO, **how)

    assert b"no" == got.body
    assert 1 == len(got.reports)


@pytest.mark.parametrize("messages", [[start(401)], []], ids=["start", "nothing"])
async def test_an_answer_without_an_end_goes_out_as_ever(messages):
    got = await ask(sending(*messages))

    assert messages == got.messages
    assert 1000 == got.report.bytes_discarded


async def test_an_exception_of_receive_ends_the_drain_and_not_the_answer():
    class Refusing(Begun):
        def receive(self):
            raise ValueError("refused")

    got = await serve(NO, kind=GRANIAN, base=Refusing)

    assert (b"no", Outcome.ERROR, "ValueError: refused") == (
        got.body,
        got.outcome,
        got.report.detail,
    )


async def test_requests_beside_each_other_are_told_apart():
    reports = []
    middleware = DrainMiddleware(NO, on_report=reports.append)
    async with anyio.create_task_group() as tasks:
        for size in range(1, 4):
            connection = connection_class(GRANIAN.module, Begun)(GRANIAN, [b"a" * size])
            scope = make_scope(size, path=f"/{size}")
            tasks.start_soon(middleware, scope, connection.receive, connection.send)

    assert [("/1", 1), ("/2", 2), ("/3", 3)] == sorted(
        (report.path, report.bytes_discarded) for report in reports
    )


async def test_each_of_several_bodies_that_never_come_is_bounded():
    """One timer looks after all, also after the last that came while it was running."""
    reports = []
    middleware = DrainMiddleware(NO, DrainPolicy(idle_seconds=2), on_report=reports.append)
    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            connection = connection_class(GRANIAN.module, Begun)(GRANIAN, [NEVER])
            tasks.start_soon(middleware, make_scope(1000), connection.receive, connection.send)
            await anyio.sleep(0.015)

    assert [Outcome.IDLE] * 2 == [report.outcome for report in reports]
    assert 2.015 == pytest.approx(anyio.current_time() - began)


class Waits:
    def __init__(self):
        self.context = contextvars.Context()

    def waited(self):
        raise AssertionError("nothing waits so long")


async def test_the_timer_of_all_keeps_nothing_of_the_request_that_came_first():
    class Value:
        pass

    variable = contextvars.ContextVar("variable")
    watch = Watch()

    def first():
        value = Value()
        variable.set(value)
        watch.add(Waits(), asyncio.get_running_loop().time())
        return weakref.ref(value)

    value = contextvars.copy_context().run(first)
    watch.since.clear()

    assert value() is None


def test_a_watch_goes_with_its_event_loop():
    loop = asyncio.new_event_loop()
    assert watch_of(loop) is watch_of(loop)
    gone = weakref.ref(loop)
    loop.close()
    del loop
    gc.collect()

    assert gone() is None


class Pending:
    """What can be awaited, and is no future and no coroutine."""

    def __init__(self, coroutine):
        self._coroutine = coroutine

    def __await__(self):
        return self._coroutine.__await__()


class Awaited(Connection):
    def receive(self):
        return Pending(super().receive())


@pytest.mark.parametrize(
    ("script", "outcome", "nbytes"),
    [((b"a" * 1000,), Outcome.COMPLETE, 1000), ((NEVER,), Outcome.IDLE, 0)],
    ids=["comes", "never comes"],
)
async def test_whatever_receive_returns_is_waited_for_within_the_bounds(script, outcome, nbytes):
    policy = DrainPolicy(idle_seconds=2)
    got = await serve(NO, list(script), kind=GRANIAN, base=Awaited, policy=policy, length=1000)

    assert (outcome, nbytes) == (got.outcome, got.report.bytes_discarded)
    assert b"no" == got.body


@pytest.mark.parametrize(("max_bytes", "outcome"), [(500, "BYTE_LIMIT"), (1000, "COMPLETE")])
async def test_a_policy_that_is_set_between_start_and_end_counts(max_bytes, outcome):
    async def app(scope, receive, send):
        await send(start(401))
        scope[CONTROL_KEY].policy = DrainPolicy(max_bytes=max_bytes)
        await send(body(b"no"))

    got = await ask(app, b"a" * 600, b"b" * 400)

    assert (outcome, b"no") == (got.outcome.name, got.body)


async def test_where_nothing_may_be_discarded_any_more_nothing_is_received():
    async def app(scope, receive, send):
        await send(start(401))
        scope[CONTROL_KEY].policy = DrainPolicy(max_bytes=0)
        await send(body(b"no"))

    got = await ask(app)

    assert (0, b"no") == (got.connection.given, got.body)


async def test_nothing_is_received_before_the_trailers():
    async def app(scope, receive, send):
        await send({**start(401), "trailers": True})
        await send(body(b"no"))
        await anyio.sleep(0.001)
        scope["test.exchange"].told.append(scope["test.exchange"].connection.given)
        await send({"type": "http.response.trailers", "headers": [], "more_trailers": False})

    got = await ask(app)

    assert ([0], 1000, Outcome.COMPLETE) == (got.told, got.connection.given, got.outcome)
