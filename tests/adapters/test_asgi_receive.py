"""Rules 5 and 6 of the design's section 6: who receives what, and what is never received."""

import contextvars

import anyio
import pytest

from drainkit import CONTROL_KEY, DrainPolicy, LateReadError, Outcome, process_budget
from drainkit.testing import Disconnect, Silence
from drainkit_asgi import DrainMiddleware
from tests.adapters.asgi_server import (
    BACKENDS,
    BODY,
    GRANIAN,
    GUNICORN,
    HYPERCORN,
    KIB,
    ROWS,
    UNKNOWN,
    UVICORN,
    Connection,
    answering,
    backend,
    body,
    make_scope,
    on,
    read_all,
    sending,
    serve,
    settle,
    start,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("only_the_rows_of_the_table")]

BIG = b"r" * (64 * KIB + 1)


@pytest.fixture(params=BACKENDS)
def anyio_backend(request):
    return backend(request.param)


# --- the application's own receive() --------------------------------------------------------------


def listening(answer, *, until="http.disconnect"):
    """Return an application that waits for the disconnect meanwhile, as Starlette's streams do."""

    async def app(scope, receive, send):
        told = scope["test.exchange"].told

        async def listen():
            while True:
                message = await receive()
                told.append((message["type"], anyio.current_time()))
                if message["type"] == until:
                    tasks.cancel_scope.cancel()
                    return

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await settle()
            await answer(scope, receive, send)
            told.append(("answered", anyio.current_time()))
            if until == "http.disconnect":
                tasks.cancel_scope.cancel()

    return app


@pytest.mark.parametrize("row", ROWS)
async def test_a_response_that_a_disconnect_would_cancel_is_sent_whole(row):
    """Starlette's StreamingResponse cancels itself, and with it the drain, on a disconnect."""
    upload = [b"a" * 500, Silence(2), b"b" * 500, Silence(1), b"c" * 500]
    got = await serve(listening(answering(b"x", b"y", status=200)), upload, **on(row))

    assert (None, b"xy", True) == (got.raised, got.body, got.connection.is_complete)
    assert (1500, Outcome.COMPLETE) == (got.connection.given, got.outcome)
    assert "http.disconnect" not in [kind for kind, _ in got.told[:-1]]


@pytest.mark.parametrize("row", ROWS)
async def test_a_pending_receive_of_the_application_gets_the_next_message(row):
    """It waited first, and the application waits for it behind its answer."""
    app = listening(answering(b"no"), until="http.request")
    got = await serve(app, [Silence(1), b"a" * 500, b"b" * 500], **on(row))

    assert [("answered", 0.0), ("http.request", 1.0)] == got.told
    assert (500, 500) == (got.report.bytes_read, got.report.bytes_discarded)


@pytest.mark.parametrize("row", ["uvicorn", "granian", "unknown"])
async def test_a_pending_receive_that_gets_the_last_message_ends_the_drain_with_it(row):
    """The body is at its end; nobody may wait for more of it until the client counts as idle."""
    got = await serve(listening(answering(b"no")), [Silence(1), b"a" * 500], **on(row))

    assert (1.0, b"no", True) == (got.seconds, got.body, got.connection.is_complete)
    assert [Outcome.COMPLETE] * len(got.reports) == [report.outcome for report in got.reports]


@pytest.mark.parametrize("row", ["uvicorn", "granian", "unknown"])
async def test_a_pending_receive_that_gets_the_chunked_end_ends_the_drain_with_it(row):
    got = await serve(
        listening(answering(b"no")), [Silence(1), b"a" * 500], chunked=True, **on(row)
    )

    assert (1.0, b"no", True) == (got.seconds, got.body, got.connection.is_complete)
    assert [Outcome.COMPLETE] * len(got.reports) == [report.outcome for report in got.reports]


@pytest.mark.parametrize("row", ["uvicorn", "granian", "unknown"])
async def test_a_receive_behind_the_last_send_is_a_disconnect_although_the_drain_goes_on(row):
    """As on the server itself: who waits for it to end a task of its own is not held."""

    async def app(scope, receive, send):
        told = scope["test.exchange"].told

        async def receive_during_the_drain():
            await anyio.sleep(1)
            told.append(((await receive())["type"], anyio.current_time()))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive_during_the_drain)
            await answering(b"no")(scope, receive, send)

    before = anyio.current_time()
    got = await serve(app, [b"a", Silence(3), b"b"], **on(row))

    assert [("http.disconnect", before + 1)] == got.told
    assert Outcome.COMPLETE == got.outcome


@pytest.mark.parametrize("row", ROWS)
async def test_a_receive_behind_the_response_is_a_disconnect(row):
    async def app(scope, receive, send):
        await answering(b"no")(scope, receive, send)
        scope["test.exchange"].told.extend([await receive(), await receive()])

    got = await serve(app, **on(row))

    assert [{"type": "http.disconnect"}] * 2 == got.told


async def test_a_receive_behind_the_body_is_the_servers():
    """The drain has nothing to do with it."""

    async def app(scope, receive, send):
        await read_all(receive)
        await answering(b"ok")(scope, receive, send)
        scope["test.exchange"].told.append(await receive())

    got = await serve(app)

    assert ([{"type": "http.disconnect"}], "disconnect") == (got.told, got.events[-1])


async def test_a_client_that_left_before_the_answer_is_the_applications_to_know():
    async def app(scope, receive, send):
        scope["test.exchange"].told.append((await receive())["type"])
        scope["test.exchange"].told.append((await receive())["type"])
        await answering(b"no")(scope, receive, send)

    got = await serve(app, [b"a", Disconnect()], length=500)

    assert ["http.request", "http.disconnect"] == got.told
    assert (Outcome.DISCONNECTED, 1, 0.0) == (
        got.outcome,
        got.report.bytes_read,
        got.seconds,
    )


@pytest.mark.parametrize("row", ROWS)
async def test_a_client_that_leaves_during_the_drain_ends_it(row):
    got = await serve(answering(b"no"), [b"a", Silence(1), Disconnect()], length=500, **on(row))

    assert (Outcome.DISCONNECTED, 1, 1.0) == (
        got.outcome,
        got.report.bytes_discarded,
        got.seconds,
    )


class TellingOnce(Connection):
    """A connection that says once that the client has left, and then nothing, as hypercorn's."""

    has_told = False

    async def _receive(self):
        if self.has_told:
            await anyio.sleep_forever()
        message = await super()._receive()
        self.has_told = message["type"] == "http.disconnect"
        return message


ANSWERS = {"answered": [b"no"], "streamed": [b"n", b"o"], "big": [BIG, b"o"]}
ROWS_TELLING_ONCE = ["hypercorn", "hypercorn h2", "unknown"]


@pytest.mark.parametrize("answer", ["raised", *ANSWERS])
@pytest.mark.parametrize("row", ROWS_TELLING_ONCE)
async def test_a_disconnect_that_the_application_was_told_of_ends_the_drain(row, answer):
    """Nobody waits for a client that has left, where the server says so only once."""

    async def app(scope, receive, send):
        while (await receive())["type"] != "http.disconnect":
            pass
        if answer == "raised":
            raise LookupError("the client has left")
        await answering(*ANSWERS[answer])(scope, receive, send)

    upload = [b"a", Silence(1), Disconnect()]
    got = await serve(app, upload, length=500, base=TellingOnce, **on(row))

    assert (LookupError if answer == "raised" else None) is (got.raised and type(got.raised))
    assert (1.0, Outcome.DISCONNECTED, 1) == (got.seconds, got.outcome, got.report.bytes_read)


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("row", ROWS_TELLING_ONCE)
async def test_a_disconnect_that_the_application_waits_for_ends_the_drain_beside_it(row, answer):
    async def app(scope, receive, send):
        async def listen():
            scope["test.exchange"].told.append((await receive())["type"])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await settle()
            await answering(*answer)(scope, receive, send)

    upload = [Silence(1), Disconnect()]
    got = await serve(app, upload, length=500, base=TellingOnce, **on(row))

    assert (["http.disconnect"], 1.0, Outcome.DISCONNECTED) == (got.told, got.seconds, got.outcome)


# --- one receive() at a time, and no chunk lost ---------------------------------------------------


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("row", ROWS)
async def test_no_chunk_is_lost_when_the_application_cancels_a_receive(row, times):
    async def app(scope, receive, send):
        for _ in range(times):
            with anyio.move_on_after(0.5):
                await receive()
        scope["test.exchange"].told.append(await read_all(receive))
        await answering(b"ok")(scope, receive, send)

    got = await serve(app, [Silence(2), b"a", Silence(2), b"b"], **on(row))

    assert [b"ab"] == got.told


async def test_no_chunk_is_lost_when_the_read_ahead_ends_with_its_message():
    """Granian's receive() loses a message that has just come when it is cancelled."""

    async def app(scope, receive, send):
        connection = scope["test.exchange"].connection
        taken = connection._give

        def give_late(piece):
            return taken(piece)

        connection._give = give_late
        await send(start(200))
        for _ in range(5):
            await send(body(BIG, True))
        scope["test.exchange"].told.append(await read_all(receive))
        await send(body())

    upload = [b"%d" % number for number in range(10)]
    got = await serve(app, upload, kind=GRANIAN)

    assert [b"0123456789"] == got.told


class LosesWhenCancelled:
    """A ``receive`` as granian's: its message is taken when it is asked for, and comes later."""

    def __init__(self, pieces, delay_seconds):
        self.pieces = list(pieces)
        self.delay_seconds = delay_seconds
        self.running = 0

    async def receive(self):
        self.running += 1
        assert 1 == self.running
        try:
            piece = self.pieces.pop(0)
            await anyio.sleep(self.delay_seconds)
            return {"type": "http.request", "body": piece, "more_body": bool(self.pieces)}
        finally:
            self.running -= 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("send_seconds", [0.0, 0.05, 0.1, 0.15, 0.25, 1.0])
async def test_a_receive_that_would_lose_its_message_is_not_cancelled_by_the_read_ahead(
    send_seconds,
):
    """Under trio a cancelled receive() must not have taken anything."""
    got = []
    source = LosesWhenCancelled([b"a", b"b", b"c", b"d"], 0.1)
    source_receive = source.receive

    async def receive():
        return await source_receive()

    async def send(message):
        await anyio.sleep(send_seconds)

    async def app(scope, receive, send):
        await send(start(200))
        for _ in range(3):
            await send(body(BIG, True))
        got.append(await read_all(receive))
        await send(body())

    with anyio.fail_after(1000):
        await DrainMiddleware(app)(make_scope(4), receive, send)

    assert [b"abcd"] == got


@pytest.mark.parametrize("row", ["uvicorn", "granian", "unknown"])
async def test_messages_stay_in_order_when_the_application_receives_during_a_read_ahead(row):
    """A second task of a transform waits for the body while a big piece is being sent."""

    async def app(scope, receive, send):
        told = scope["test.exchange"].told

        async def read():
            await anyio.sleep(0.5)
            told.append(await read_all(receive))

        await send(start(200))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await send(body(BIG, True))
        await send(body(b"end"))

    upload = [b"a", Silence(1), b"b", Silence(1), b"c", Silence(1), b"d"]
    got = await serve(app, upload, strict_client=True, **on(row))

    assert [b"abcd"] == got.told
    assert BIG + b"end" == got.body


@pytest.mark.parametrize("row", ["uvicorn", "granian", "unknown"])
async def test_a_receive_that_waits_when_a_read_ahead_ends_gets_what_was_kept_first(row):
    """The client pauses, the big piece has gone out, and the two are waiting for one message."""

    async def app(scope, receive, send):
        told = scope["test.exchange"].told
        received = anyio.Event()

        async def read():
            await anyio.sleep(0.5)
            told.append(await read_all(receive))
            received.set()

        await send(start(200))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await send(body(BIG, True))
            await received.wait()
        await send(body(b"end"))

    upload = [Silence(1), b"a", Silence(1), b"b", Silence(1), b"c"]
    got = await serve(app, upload, send_seconds=1.5, **on(row))

    assert [b"abc"] == got.told


# --- late reads -----------------------------------------------------------------------------------


def late(read=read_all):
    """Return an application that receives only behind a big piece of its response."""

    async def app(scope, receive, send):
        await send(start(200))
        await send(body(BIG, True))
        scope["test.exchange"].told.append(await read(receive))
        await send(body(b"end"))

    return app


UPLOADS = {
    "pieces": [b"a" * 400, b"b" * 400, b"c" * 200],
    "one": [b"a" * 1000],
    "an empty end": [b"a" * 500, b"b" * 500, b""],
    "empty between": [b"a" * 500, b"", b"b" * 500],
}


@pytest.mark.parametrize("upload", UPLOADS.values(), ids=UPLOADS)
@pytest.mark.parametrize("kept", [1000, 1001])
async def test_a_body_of_exactly_the_kept_bytes_is_received_late(upload, kept):
    policy = DrainPolicy(late_read_bytes=kept)
    got = await serve(late(), upload, policy=policy, strict_client=True)

    assert (None, [b"".join(upload)]) == (got.raised, got.told)


@pytest.mark.parametrize("upload", UPLOADS.values(), ids=UPLOADS)
@pytest.mark.parametrize("kept", [0, 1, 399, 500, 800, 999])
async def test_one_byte_more_than_is_kept_is_an_error_and_not_the_end(upload, kept):
    """An empty last message behind the gap would make an application take half a body for whole."""
    policy = DrainPolicy(late_read_bytes=kept)
    got = await serve(late(), upload, policy=policy, send_seconds=1)

    assert isinstance(got.raised, OSError)
    assert [] == got.told


@pytest.mark.parametrize("upload", UPLOADS.values(), ids=UPLOADS)
@pytest.mark.parametrize("kept", [0, 1, 399, 500, 800, 999])
async def test_a_read_ahead_that_ends_half_way_is_an_error_or_the_whole_body(upload, kept):
    """How far it comes is a race; that the application is never deceived is none."""
    policy = DrainPolicy(late_read_bytes=kept)
    got = await serve(late(), upload, policy=policy, strict_client=True)

    if got.raised is None:
        assert [b"".join(upload)] == got.told
    else:
        assert isinstance(got.raised, OSError)
        assert [] == got.told


@pytest.mark.parametrize("upload", UPLOADS.values(), ids=UPLOADS)
@pytest.mark.parametrize("kept", [1, 500, 700])
async def test_what_is_kept_is_exact_up_to_the_gap(upload, kept):
    data = bytearray()

    async def read(receive):
        while True:
            message = await receive()
            data.extend(message["body"])
            assert message["more_body"]

    policy = DrainPolicy(late_read_bytes=kept)
    got = await serve(late(read), upload, policy=policy, send_seconds=1)

    assert isinstance(got.raised, OSError)
    assert b"".join(upload)[:kept] == data


async def test_the_error_tells_the_bytes_and_the_cure():
    got = await serve(
        late(), UPLOADS["pieces"], policy=DrainPolicy(late_read_bytes=240), send_seconds=1
    )

    text = str(got.raised)
    assert "discarded 760 bytes" in text
    assert "read the body before responding, or raise DrainPolicy.late_read_bytes" in text
    assert "240" in text


async def test_a_touched_body_loses_nothing_however_little_is_kept():
    """A streaming transform must keep working."""

    async def app(scope, receive, send):
        first = (await receive())["body"]
        await send(start(200))
        await send(body(BIG, True))
        scope["test.exchange"].told.append(first + await read_all(receive))
        await send(body(b"end"))

    got = await serve(app, [b"a" * 300] * 10, policy=DrainPolicy(late_read_bytes=100))

    assert (None, [b"a" * 3000]) == (got.raised, got.told)


@pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)
async def test_a_body_that_comes_in_single_bytes_is_kept_in_as_much_memory_as_it_has_bytes():
    """A message of each byte would take two hundred times as much.

    Under trio, because asyncio in debug mode keeps and notes much of its own.
    """
    tracemalloc = pytest.importorskip("tracemalloc", reason="PyPy has none")
    limit = 4000
    allocated = []

    async def receive():
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message):
        if len(message.get("body", b"")) == len(BIG):
            await anyio.sleep(1)

    async def app(scope, receive, send):
        await send(start(200))
        tracemalloc.start()
        try:
            await send(body(BIG, True))
            snapshot = tracemalloc.take_snapshot()
        finally:
            tracemalloc.stop()
        # By these modules only: event loops and logging keep something of their own.
        names = ("*drainkit_asgi*", "*drainkit/_kept.py", __file__)
        ours = [tracemalloc.Filter(True, name) for name in names]
        traces = snapshot.filter_traces(ours).traces
        allocated.append(sum(trace.size for trace in traces))
        assert {"type": "http.request", "body": b"x" * limit, "more_body": True} == await receive()

    policy = DrainPolicy(late_read_bytes=limit, max_bytes=limit + 50)
    await DrainMiddleware(app, policy)(make_scope(None, chunked=True), receive, send)

    # bytearray allocates an eighth in advance.
    assert limit <= allocated[0] < 1.125 * limit + 3000


@pytest.mark.parametrize("kept", [0, 299, 300, 700, 1000])
async def test_of_a_touched_body_no_more_is_read_ahead_than_may_be_kept(kept):
    """Nothing of it may be lost, so it is left on the connection instead."""
    given = []

    async def app(scope, receive, send):
        connection = scope["test.exchange"].connection
        first = (await receive())["body"]
        await send(start(200))
        await send(body(BIG, True))
        given.append(connection.given - len(first))
        scope["test.exchange"].told.append(first + await read_all(receive))

    policy = DrainPolicy(late_read_bytes=kept)
    got = await serve(app, [b"a" * 300] * 10, policy=policy, send_seconds=1)

    assert (None, [b"a" * 3000]) == (got.raised, got.told)
    assert kept // 300 * 300 == given[0]


async def test_what_the_application_does_not_receive_late_is_discarded():
    async def app(scope, receive, send):
        await send(start(200))
        await send(body(BIG, True))
        await receive()
        await send(body(b"end"))

    upload = [b"a" * 400, Silence(1), b"b" * 400, b"c" * 200]
    got = await serve(app, upload)

    assert (Outcome.COMPLETE, 1000) == (got.outcome, got.connection.given)
    assert BIG + b"end" == got.body


@pytest.mark.parametrize("kept", [0, 240, 1000])
@pytest.mark.parametrize("row", ROWS)
async def test_what_was_read_ahead_is_not_received_behind_the_response(row, kept):
    """There the servers tell of the disconnect, and Django's handler fails for anything else."""

    async def app(scope, receive, send):
        await answering(BIG, b"end", status=200)(scope, receive, send)
        scope["test.exchange"].told.append((await receive())["type"])

    policy = DrainPolicy(late_read_bytes=kept)
    got = await serve(app, policy=policy, send_seconds=1, **on(row))

    assert (None, ["http.disconnect"]) == (got.raised, got.told)


async def test_a_slow_upload_that_is_received_late_is_not_too_slow_afterwards():
    """What was read ahead came in time, whoever has it now."""

    async def app(scope, receive, send):
        await send(start(200))
        await send(body(BIG, True))
        taken = 0
        while taken < 80_000:
            taken += len((await receive())["body"])
        await send(body(b"end"))

    upload = [piece for _ in range(8) for piece in (b"a" * 10_000, Silence(1))]
    got = await serve(app, [*upload, b"b" * 5000], send_seconds=7.5)

    assert (Outcome.COMPLETE, None, 80_000) == (
        got.outcome,
        got.raised,
        got.report.bytes_read,
    )


async def test_a_declined_body_is_received_late_from_the_server_itself():
    async def app(scope, receive, send):
        scope[CONTROL_KEY].policy = None
        await late()(scope, receive, send)

    got = await serve(app)

    assert (None, [b"".join(BODY)]) == (got.raised, got.told)


# --- rule 6: Expect -------------------------------------------------------------------------------


EXPECTING = {
    "uvicorn": UVICORN,
    "gunicorn": GUNICORN,
    "granian": GRANIAN,
    "unknown": UNKNOWN,
}


@pytest.mark.parametrize("kind", EXPECTING.values(), ids=EXPECTING)
@pytest.mark.parametrize(
    "app",
    [
        answering(b"no"),
        answering(b"a", b"b"),
        answering(BIG, b"x"),
        answering(BIG, end=False),
        answering(),
    ],
    ids=["one message", "streamed", "big and streamed", "big", "empty"],
)
async def test_nobody_is_invited_to_an_upload_that_is_not_wanted(kind, app):
    """Uvicorn's first receive() before the start sends 100 Continue."""
    got = await serve(app, [b"a" * 1000], kind=kind, expects=True)

    assert "invite" not in got.events
    assert (Outcome.EXPECT_PENDING, 0) == (got.outcome, got.connection.given)
    assert [b"close"] == got.header(b"connection")
    assert got.connection.is_complete


@pytest.mark.parametrize("kind", EXPECTING.values(), ids=EXPECTING)
@pytest.mark.parametrize("where", ["before the start", "behind it"])
async def test_nobody_is_invited_by_an_application_that_fails(kind, where):
    async def app(scope, receive, send):
        if where == "behind it":
            await send(start(200))
        raise LookupError

    got = await serve(app, [b"a" * 1000], kind=kind, expects=True)

    assert isinstance(got.raised, LookupError)
    assert "invite" not in got.events


async def test_bytes_that_come_without_an_invitation_are_discarded():
    """A client need not wait for it for ever (RFC 9110 section 10.1.1)."""

    async def app(scope, receive, send):
        scope["test.exchange"].connection.is_invited = True
        await answering(b"no")(scope, receive, send)

    got = await serve(app, [Silence(1), b"a" * 500, b"b" * 500], expects=True)

    assert (Outcome.COMPLETE, 1000, [b"close"]) == (
        got.outcome,
        got.report.bytes_discarded,
        got.header(b"connection"),
    )


async def test_a_body_that_the_application_has_begun_to_receive_was_invited():
    async def app(scope, receive, send):
        await receive()
        await answering(b"no")(scope, receive, send)

    got = await serve(app, expects=True)

    assert (Outcome.COMPLETE, 400, []) == (
        got.outcome,
        got.report.bytes_discarded,
        got.header(b"connection"),
    )


async def test_where_the_invitation_goes_out_by_itself_the_body_comes_like_any_other():
    async def app(scope, receive, send):
        scope["test.exchange"].connection.is_invited = True
        await answering(b"no")(scope, receive, send)

    got = await serve(app, kind=HYPERCORN, expects=True)

    assert (Outcome.COMPLETE, 1000, []) == (
        got.outcome,
        got.report.bytes_discarded,
        got.header(b"connection"),
    )


@pytest.mark.parametrize("kind", EXPECTING.values(), ids=EXPECTING)
async def test_an_expectation_that_was_declined_is_left_alone(kind):
    async def app(scope, receive, send):
        scope[CONTROL_KEY].policy = None
        await answering(b"no")(scope, receive, send)

    got = await serve(app, kind=kind, expects=True)

    assert (Outcome.DECLINED, 0) == (got.outcome, got.connection.receives)


async def test_an_expectation_in_http_1_0_is_ignored():
    async def app(scope, receive, send):
        scope["test.exchange"].connection.is_invited = True
        await answering(b"no")(scope, receive, send)

    got = await serve(app, expects=True, http_version="1.0")

    assert (Outcome.COMPLETE, 1000) == (got.outcome, got.report.bytes_discarded)


async def test_a_client_that_was_invited_is_read_although_nothing_has_come_of_its_body():
    """The application gave up waiting; the client was told to send, and does."""

    async def app(scope, receive, send):
        with anyio.move_on_after(1):
            await receive()
        await answering(b"no")(scope, receive, send)

    got = await serve(app, [Silence(2), b"a" * 100], expects=True)

    assert (Outcome.COMPLETE, 100) == (got.outcome, got.report.bytes_discarded)
    assert [] == got.header(b"connection")


async def test_a_wrapped_receive_begins_and_ends_in_one_context():
    """As OpenTelemetry's, which looks like the server's own (functools.wraps) and opens a span.

    Begun in the application's task and ended in the drain's, it cannot close it.
    """
    span = contextvars.ContextVar("span")
    ended_in_another = []

    def traced(app):
        async def outer(scope, receive, send):
            async def traced_receive():
                token = span.set(object())
                message = await receive()
                try:
                    span.reset(token)
                except ValueError:
                    ended_in_another.append(message)
                return message

            traced_receive.__module__ = type(scope["test.exchange"].connection).__module__
            traced_receive.__wrapped__ = receive
            await app(scope, traced_receive, send)

        return outer

    def wrap(app, policy, **told):
        return traced(DrainMiddleware(app, policy, **told))

    got = await serve(answering(b"no"), [b"a" * 600, Silence(1.0), b"b" * 400], wrap=wrap)

    assert (413, None, Outcome.COMPLETE) == (got.status, got.raised, got.outcome)
    assert [] == ended_in_another


# --- the process's budget -------------------------------------------------------------------------


@pytest.fixture
def crowded():
    """Leave no room to keep anything in."""
    limit = 1 << 60
    nbytes = limit - process_budget.taken_bytes
    assert process_budget.take(nbytes, limit)
    yield
    process_budget.give(nbytes)


async def test_where_the_process_keeps_too_much_nothing_is_read_for_a_client_that_reads(crowded):
    """As without drainkit: the application that reads late has every byte."""
    got = await serve(late(), UPLOADS["pieces"], send_seconds=1)

    assert (None, [b"a" * 400 + b"b" * 400 + b"c" * 200]) == (got.raised, got.told)


async def test_where_the_process_keeps_too_much_a_client_that_only_sends_has_its_answer(crowded):
    """Without drainkit the two wait for each other for ever."""
    app = sending(start(200), body(BIG, True), body(b"end"))
    got = await serve(app, UPLOADS["pieces"], strict_client=True)

    assert (BIG + b"end", Outcome.COMPLETE) == (got.body, got.outcome)


async def test_where_the_process_keeps_too_much_a_late_read_is_an_error_and_not_the_end(crowded):
    got = await serve(late(), UPLOADS["pieces"], strict_client=True)

    assert isinstance(got.raised, LateReadError)
    assert "this process keeps 16 times late_read_bytes=1048576" in str(got.raised)


async def test_where_the_process_keeps_too_much_an_error_that_waits_for_its_body_waits_no_longer(
    crowded,
):
    """Over HTTP/2 an error that does not become a small one goes out behind the body."""
    app = sending(start(413), body(b"a" * 100, True), body(BIG, True), body(b"end"))
    got = await serve(app, UPLOADS["pieces"], **on("hypercorn h2"))

    assert (b"a" * 100 + BIG + b"end", 1000) == (got.body, got.report.bytes_discarded)
    assert got.seconds < 1


async def read_one(receive):
    return (await receive())["body"]


async def read_none(receive):
    return b""


async def raising(receive):
    raise LookupError


@pytest.mark.parametrize("read", [read_all, read_one, read_none, raising])
@pytest.mark.parametrize("cancel_after", [None, 0.5])
async def test_what_is_kept_is_given_back_with_the_answer(read, cancel_after):
    before = process_budget.taken_bytes
    most = []

    async def watched(receive):
        most.append(process_budget.taken_bytes - before)
        if cancel_after:
            await anyio.sleep(10)
        return await read(receive)

    await serve(late(watched), UPLOADS["pieces"], strict_client=True, cancel_after=cancel_after)

    assert 0 < most[0] <= 1000
    assert before == process_budget.taken_bytes


async def test_what_is_kept_is_given_back_when_the_answer_ends_and_not_with_a_background_task():
    before = process_budget.taken_bytes
    told = []

    async def app(scope, receive, send):
        for message in (start(200), body(BIG, True), body(b"end")):
            told.append(process_budget.taken_bytes > before)
            await send(message)
        await anyio.sleep(5)
        told.append(process_budget.taken_bytes > before)

    await serve(app, UPLOADS["pieces"], strict_client=True)

    assert [False, False, True, False] == told


# --- a task that receives while the body is discarded ---------------------------------------------


async def read_on(receive, told):
    """Receive until the body ends, the client leaves, or there is an error; say which."""
    data = b""
    while True:
        try:
            message = await receive()
        except Exception as error:
            told.append((data, type(error).__name__))
            return
        if message["type"] != "http.request":
            told.append((data, "left"))
            return
        data += message.get("body", b"")
        if not message.get("more_body", False):
            told.append((data, "end"))
            return
        await anyio.sleep(0.3)


@pytest.mark.parametrize("answered_after", [0, 0.5, 1, 1.1, 1.5, 2.2])
@pytest.mark.parametrize("answer", [[b"later"], [BIG, b"later"]], ids=["small", "big"])
@pytest.mark.parametrize("row", ROWS)
async def test_a_task_that_receives_during_the_discard_meets_no_false_end(
    row, answer, answered_after
):
    """It has the first bytes of the body, and then all of it, the disconnect or an error."""

    async def app(scope, receive, send):
        told = scope["test.exchange"].told
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_on, receive, told)
            await anyio.sleep(answered_after)
            await send(start(202))
            for piece in answer[:-1]:
                await send(body(piece, True))
            await send(body(answer[-1]))

    pieces = [bytes([65 + number]) * 1000 for number in range(20)]
    upload = [item for piece in pieces for item in (piece, Silence(0.2))]
    got = await serve(app, upload, **on(row))
    whole = b"".join(pieces)

    ((data, ending),) = got.told
    assert None is got.raised
    assert b"".join(answer) == got.body
    assert whole.startswith(data)
    assert ending in (("end",) if data == whole else ("left", "LateReadError"))
