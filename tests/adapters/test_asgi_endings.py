"""Rules 5, 7 and 9 of the design's section 6: bounds, headers, errors, and what is left behind."""

import gc
import itertools
from types import MethodType

import anyio
import pytest

from drainkit import CONTROL_KEY, DrainPolicy, Outcome, process_capacity
from drainkit.testing import Disconnect, Silence
from drainkit_asgi import DrainMiddleware
from drainkit_asgi.servers import _table as servers_module
from tests.adapters.asgi_server import (
    BACKENDS,
    GRANIAN,
    HYPERCORN,
    KIB,
    ROWS,
    UNKNOWN,
    UVICORN,
    answering,
    backend,
    body,
    on,
    read_all,
    sending,
    serve,
    settle,
    start,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("only_the_rows_of_the_table")]

BIG = b"r" * (64 * KIB + 1)
FEW_ROWS = ["uvicorn", "hypercorn h2", "granian", "unknown"]


@pytest.fixture(params=BACKENDS)
def anyio_backend(request):
    return backend(request.param)


NO = answering(b"no")

# --- bounds, to the tick --------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS)
async def test_a_silent_client_ends_the_drain_at_its_deadline(row):
    got = await serve(NO, [b"a", Silence(100), b"b"], policy=DrainPolicy(idle_seconds=3), **on(row))

    assert (Outcome.IDLE, 3.0, 3.0) == (got.outcome, got.report.seconds, got.seconds)
    assert (b"no", True) == (got.body, got.connection.is_complete)


@pytest.mark.parametrize("row", FEW_ROWS)
async def test_a_drip_ends_at_the_rate(row):
    drip = [event for _ in range(100) for event in (b"x", Silence(1))]
    got = await serve(NO, drip, **on(row))

    assert (Outcome.TOO_SLOW, 5.0) == (got.outcome, got.seconds)
    assert got.connection.is_complete


@pytest.mark.parametrize("row", FEW_ROWS)
async def test_a_steady_client_ends_at_the_time_limit(row):
    steady = [event for _ in range(100) for event in (b"x" * 10_000, Silence(1))]
    got = await serve(NO, steady, policy=DrainPolicy(max_seconds=7.5), **on(row))

    assert (Outcome.TIME_LIMIT, 7.5) == (got.outcome, got.seconds)
    assert got.connection.is_complete


@pytest.mark.parametrize("row", FEW_ROWS)
async def test_a_doomed_drain_lingers_no_longer_than_a_silence(row):
    steady = [event for _ in range(100) for event in (b"x" * 10_000, Silence(1))]
    got = await serve(NO, steady, policy=DrainPolicy(max_bytes=900_000), **on(row))

    assert (Outcome.BYTE_LIMIT, 10.0) == (got.outcome, got.seconds)
    assert got.connection.is_complete


@pytest.mark.parametrize("row", FEW_ROWS)
async def test_a_chunked_body_ends_at_the_byte_limit(row):
    got = await serve(
        NO, [b"x" * 400] * 10, policy=DrainPolicy(max_bytes=1000), chunked=True, **on(row)
    )

    assert (Outcome.BYTE_LIMIT, 1200) == (got.outcome, got.report.bytes_discarded)


@pytest.mark.parametrize("row", ["uvicorn", "uvicorn httptools"])
async def test_a_connection_whose_body_the_application_itself_read_to_the_end_stays_open(row):
    """A bound had ended the reading ahead; what is left of the body then decides."""

    async def app(scope, receive, send):
        await receive()
        await send(start(200))
        await send(body(BIG, True))
        if scope["path"] == "/whole":
            await read_all(receive)
        await send(body(b"end"))

    async def closed(path):
        upload = [b"a", Silence(3), b"b"]
        policy = DrainPolicy(idle_seconds=1)
        got = await serve(app, upload, policy=policy, send_seconds=2, path=path, **on(row))
        assert (None, BIG + b"end", Outcome.IDLE) == (got.raised, got.body, got.outcome)
        return got.connection.transport.closed

    assert (0, 1) == (await closed("/whole"), await closed("/left"))


@pytest.mark.parametrize("row", ROWS)
async def test_a_body_as_long_as_the_byte_limit_is_complete_when_its_end_comes_by_itself(row):
    got = await serve(NO, [b"x" * 500] * 2 + [b""], policy=DrainPolicy(max_bytes=1000), **on(row))

    assert (Outcome.COMPLETE, 1000) == (got.outcome, got.report.bytes_discarded)
    assert ([], 0) == (got.header(b"connection"), got.connection.transport.closed)


@pytest.mark.parametrize("row", ROWS)
async def test_empty_messages_are_no_progress_and_do_not_spin(row):
    """CVE-2024-30251 (aiohttp) shows what a loop over them costs."""
    policy = DrainPolicy(idle_seconds=5.0)
    got = await serve(NO, [b""] * 20_000, length=5, policy=policy, **on(row))

    assert (Outcome.IDLE, got.connection.is_complete) == (got.outcome, True)
    assert 5.0 <= got.seconds < 5.1
    assert got.connection.receives < 1000


async def test_empty_messages_in_a_read_ahead_do_not_spin_either():
    got = await serve(answering(BIG, b"x"), [b""] * 20_000, length=5, send_seconds=60)

    assert got.seconds < 66
    assert got.connection.receives < 1000


async def test_empty_messages_behind_an_incomplete_drain_do_not_spin_either():
    """The last message is sent while the rest is swallowed."""

    async def app(scope, receive, send):
        connection = scope["test.exchange"].connection
        original = connection._body

        async def slow(message):
            if not message["more_body"]:
                await anyio.sleep(3)
            await original(message)

        connection._body = slow
        await NO(scope, receive, send)

    got = await serve(app, [b""] * 20_000, length=5)

    assert got.connection.receives < 1500


@pytest.mark.parametrize(
    "length", [b"abc", b"-1", b"1,2", b"+5", b"\xb2", b"1" * 5000, b"0x10", b" "], ids=str
)
@pytest.mark.parametrize("row", FEW_ROWS)
async def test_a_bad_content_length_costs_nobody_the_answer_and_nothing_is_received(row, length):
    got = await serve(NO, length=length, **on(row))

    assert (None, b"no", Outcome.UNFRAMED, 0) == (
        got.raised,
        got.body,
        got.outcome,
        got.connection.receives,
    )


async def test_two_content_lengths_are_one_bad_one():
    got = await serve(NO, length=5, headers=[(b"content-length", b"6")])

    assert Outcome.UNFRAMED == got.outcome


async def test_transfer_encoding_overrides_content_length():
    got = await serve(NO, headers=[(b"transfer-encoding", b"chunked")], length=5)

    assert (Outcome.COMPLETE, None) == (got.outcome, got.report.declared_bytes)


@pytest.mark.parametrize("row", FEW_ROWS)
async def test_a_full_process_answers_and_takes_nothing_off_the_connection(row):
    assert process_capacity.acquire(1)
    try:
        got = await serve(NO, policy=DrainPolicy(max_concurrent=1), **on(row))
    finally:
        process_capacity.release()

    assert (Outcome.AT_CAPACITY, b"no", 0) == (got.outcome, got.body, got.connection.given)


@pytest.mark.parametrize("row", FEW_ROWS)
async def test_a_full_process_reports_a_big_streamed_answer_once(row):
    assert process_capacity.acquire(1)
    try:
        got = await serve(
            answering(BIG, BIG, end=False), policy=DrainPolicy(max_concurrent=1), **on(row)
        )
    finally:
        process_capacity.release()

    assert (Outcome.AT_CAPACITY, BIG + BIG) == (got.outcome, got.body)


async def test_a_place_is_taken_while_it_drains_and_not_while_it_is_paused():
    taken = []

    async def app(scope, receive, send):
        await receive()
        await send(start(200))
        for _ in range(2):
            await send(body(BIG, True))
            taken.append(process_capacity.active)
        await send(body())
        taken.append(process_capacity.active)

    async def watch(scope, receive, send):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(app, scope, receive, send)
            await anyio.sleep(0.5)
            taken.append(process_capacity.active)

    upload = [b"a", Silence(3), b"b", Silence(3), b"c"]
    policy = DrainPolicy(min_bytes_per_second=0)
    got = await serve(watch, upload, policy=policy, send_seconds=1)

    assert ([1, 0, 0, 1], Outcome.COMPLETE) == (taken, got.outcome)
    assert 0 == process_capacity.active


# --- rule 7: connection: close --------------------------------------------------------------------


BAD_ENDS = {
    "doomed": DrainPolicy(max_bytes=500),
    "at capacity": DrainPolicy(max_concurrent=1),
}


async def served_badly(app, name, **fields):
    full = name == "at capacity"
    if full:
        assert process_capacity.acquire(1)
    try:
        return await serve(app, policy=BAD_ENDS[name], **fields)
    finally:
        if full:
            process_capacity.release()


@pytest.mark.parametrize("name", BAD_ENDS)
@pytest.mark.parametrize("row", ROWS)
async def test_a_drain_known_not_to_finish_closes_the_connection_on_http_1_only(row, name):
    """RFC 9113 section 8.2.2 forbids the field in HTTP/2."""
    got = await served_badly(NO, name, **on(row))

    assert ([b"close"] if ROWS[row][1] == "1.1" else []) == got.header(b"connection")


@pytest.mark.parametrize("name", BAD_ENDS)
async def test_a_touched_body_whose_rest_is_known_not_to_be_taken_closes_it_too(name):
    async def app(scope, receive, send):
        await receive()
        await NO(scope, receive, send)

    got = await served_badly(app, name, body=[b"a" * 10, b"b" * 990])

    assert [b"close"] == got.header(b"connection")


@pytest.mark.parametrize("row", ROWS)
async def test_a_drain_that_will_finish_does_not_close_the_connection(row):
    """On uvicorn it would turn a good keep-alive into a reset."""
    got = await serve(NO, **on(row))

    assert [] == got.header(b"connection")


@pytest.mark.parametrize("value", [b"close", b"keep-alive"])
async def test_the_applications_own_connection_header_stays(value):
    app = answering(b"no", headers=[(b"Connection", value)])
    got = await served_badly(app, "doomed")

    assert ([value], []) == (got.header(b"Connection"), got.header(b"connection"))


async def test_other_bounds_of_the_application_decide_about_the_connection():
    """They hold for the drain, so they hold for what is said about it."""

    async def widened(scope, receive, send):
        scope[CONTROL_KEY].policy = DrainPolicy()
        await answering(b"a", b"b")(scope, receive, send)

    async def narrowed(scope, receive, send):
        scope[CONTROL_KEY].policy = DrainPolicy(max_bytes=500)
        await answering(b"a", b"b")(scope, receive, send)

    wide = await serve(widened, policy=DrainPolicy(max_bytes=500))
    narrow = await serve(narrowed)

    assert (Outcome.COMPLETE, []) == (wide.outcome, wide.header(b"connection"))
    assert [b"close"] == narrow.header(b"connection")


async def test_a_streaming_application_that_reads_its_doomed_body_keeps_its_connection():
    """It may read the rest itself."""

    async def app(scope, receive, send):
        await receive()
        await send(start(200))
        await send(body(b"a", True))
        await receive()
        await send(body(b"b"))

    got = await served_badly(app, "doomed")

    assert ([], []) == (got.header(b"connection"), got.reports)


# --- Content-Length -------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS)
async def test_a_whole_response_gets_its_content_length(row):
    """So that a client sees its end although the last message waits; none waits for less."""
    upload = [b"a" * 70_000]
    got = await serve(answering(b"abc", headers=[(b"x", b"y")]), upload, **on(row))

    assert ([b"3"], [b"y"]) == (got.header(b"content-length"), got.header(b"x"))


async def test_an_empty_response_gets_one_as_well():
    assert [b"0"] == (await serve(answering())).header(b"content-length")


@pytest.mark.parametrize(
    ("app", "fields"),
    [
        (answering(status=204), {}),
        (answering(status=304), {}),
        (answering(), {"method": "HEAD"}),
        (answering(b"a", b"b", status=200), {}),
        (answering(b"ab", end=False, status=200), {}),
        (answering(b"a", headers=[(b"Transfer-Encoding", b"chunked")]), {}),
        (sending(start(200, trailers=True), body(b"a"), {"type": "http.response.trailers"}), {}),
    ],
    ids=["204", "304", "HEAD", "streamed", "more to come", "transfer-encoding", "trailers"],
)
async def test_a_response_without_content_or_of_unknown_length_gets_none(app, fields):
    got = await serve(app, **fields)

    assert [] == got.header(b"content-length")
    assert got.connection.is_complete


def slowly(*messages, seconds):
    """Return an application that waits before each message but the first."""

    async def app(scope, receive, send):
        for at, message in enumerate(messages):
            if at:
                await anyio.sleep(seconds)
            await send(message)

    return app


IN_PIECES = [start(413), body(b"a", True), body(b"b", True), body()]


@pytest.mark.parametrize("row", [row for row in ROWS if not row.startswith("unknown")])
async def test_a_small_error_in_pieces_becomes_whole_if_they_come_within_some_milliseconds(row):
    """So that curl, which ends its upload at the sight of the status, has the answer's end, too."""
    got = await serve(slowly(*IN_PIECES, seconds=0.001), **on(row))

    assert ([b"2"], b"ab", Outcome.COMPLETE) == (
        got.header(b"content-length"),
        got.body,
        got.outcome,
    )


@pytest.mark.parametrize("row", ["uvicorn", "hypercorn", "gunicorn", "granian", "unknown"])
async def test_a_small_error_whose_pieces_come_slowly_goes_out_piece_by_piece(row):
    got = await serve(slowly(*IN_PIECES, seconds=0.5), [Silence(9), b"u"], **on(row))

    assert [] == got.header(b"content-length")
    assert ["start", "body 1 more", "body 1 more"] == got.events[:3]


@pytest.mark.parametrize("size", [64 * KIB - 1, 64 * KIB])
async def test_an_error_in_pieces_is_held_until_a_sockets_buffer_would_be_full(size):
    app = sending(start(413), body(b"a" * size, True), body(b"b", True), body())
    got = await serve(app)

    whole = [b"%d" % (size + 1)] if size < 64 * KIB else []
    assert (whole, size + 1) == (got.header(b"content-length"), len(got.body))


async def test_the_applications_own_content_length_stays():
    got = await serve(answering(b"abc", headers=[(b"content-length", b"3")]))

    assert [b"3"] == got.header(b"content-length")


async def test_the_applications_messages_and_headers_are_not_changed():
    headers = [(b"x", b"y")]
    messages = [start(413, headers), body(b"no")]
    kept = [dict(messages[0]), dict(messages[1])]
    await served_badly(sending(*messages), "doomed")

    assert kept == messages
    assert [(b"x", b"y")] == headers


HEADERS = {
    "tuple": tuple,
    "iterator": iter,
    "list of iterators": lambda pairs: [iter(pair) for pair in pairs],
    "iterator of iterators": lambda pairs: iter([iter(pair) for pair in pairs]),
}


@pytest.mark.parametrize("made", HEADERS.values(), ids=HEADERS)
async def test_headers_may_be_any_iterable(made):
    """The ASGI specification says so, and Starlette's ASGI types too."""
    message = start(413)
    message["headers"] = made([(b"x", b"y")])
    got = await serve(sending(message, body(b"no")))

    assert [(b"x", b"y"), (b"content-length", b"2")] == list(got.messages[0]["headers"])


@pytest.mark.parametrize("read", [False, True], ids=["unread", "read"])
@pytest.mark.parametrize("length", [None, 1000], ids=["no body", "a body"])
@pytest.mark.parametrize("made", HEADERS.values(), ids=HEADERS)
async def test_the_headers_of_a_scope_that_can_be_read_once_are_the_applications(
    made, length, read
):
    """As falcon's test client makes them."""
    told = []

    async def app(scope, receive, send):
        told.extend((bytes(name), bytes(value)) for name, value in scope["headers"])
        if read:
            await read_all(receive)
        await NO(scope, receive, send)

    async def outer(scope, receive, send):
        told.clear()
        fields = [(b"host", b"localhost")]
        if length is not None:
            fields.append((b"content-length", b"%d" % length))
        await DrainMiddleware(app)({**scope, "headers": made(fields)}, receive, send)
        assert fields == told

    assert (await serve(outer, wrap=None)).raised is None


@pytest.mark.parametrize("http_version", ["1.1", "2"])
async def test_a_scope_without_headers_has_none(http_version):
    """The specification lets a server leave them out."""

    async def outer(scope, receive, send):
        del scope["headers"]
        await DrainMiddleware(NO)(scope, receive, send)
        assert "headers" not in scope

    got = await serve(outer, wrap=None, http_version=http_version)

    assert (None, b"no") == (got.raised, got.body)


# --- rule 9: exceptions ---------------------------------------------------------------------------


class RefusedError(Exception):
    pass


def raising(error, *before):
    async def app(scope, receive, send):
        await sending(*before)(scope, receive, send)
        raise error

    return app


BEFORE = {
    "nothing": (),
    "the start": (start(200),),
    "some of the response": (start(200), body(b"a", True)),
    "a big piece": (start(200), body(BIG, True)),
}


@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
@pytest.mark.parametrize("row", ROWS)
async def test_what_the_application_raises_comes_out_itself_behind_the_discarding(row, before):
    """The server's own 500 must arrive, too; and it is no group of exceptions."""
    error = RefusedError()
    got = await serve(raising(error, *before), [b"a", Silence(1), b"b"], **on(row))

    assert error is got.raised
    assert (Outcome.COMPLETE, 2) == (got.outcome, got.connection.given)


async def test_what_ends_the_process_comes_out_itself_as_well():
    """It is no Exception; a nursery of trio's would put it into a group."""

    async def app(scope, receive, send):
        await send(start())
        raise SystemExit(3)

    with pytest.raises(SystemExit) as caught:
        await serve(app)

    assert 3 == caught.value.code
    assert 0 == process_capacity.active


async def test_an_exception_group_of_the_application_comes_out_itself_as_well():
    group = ExceptionGroup("two", [RefusedError(), RefusedError()])
    got = await serve(raising(group))

    assert group is got.raised


@pytest.mark.parametrize("row", FEW_ROWS)
async def test_an_exception_behind_the_whole_response_comes_out_at_once(row):
    error = RefusedError()
    got = await serve(raising(error, start(200), body(b"ok")), **on(row))

    assert (error, b"ok") == (got.raised, got.body)
    assert Outcome.COMPLETE == got.outcome


@pytest.mark.parametrize("before", list(BEFORE)[:3])
@pytest.mark.parametrize("row", FEW_ROWS)
async def test_an_application_that_ends_without_a_whole_response_is_left_to_the_server(row, before):
    got = await serve(sending(*BEFORE[before]), **on(row))

    assert (None, False) == (got.raised, got.connection.is_complete)
    assert Outcome.COMPLETE == got.outcome


@pytest.mark.parametrize("ends", ["returns", "raises"])
@pytest.mark.parametrize("row", ROWS)
async def test_a_message_that_was_sent_is_never_kept_from_the_client(row, ends):
    """Content-Length is reached with more_body true, and then the application fails."""
    before = (start(200, [(b"content-length", b"5")]), body(b"hello", True))
    app = sending(*before) if ends == "returns" else raising(RefusedError(), *before)
    got = await serve(app, **on(row))

    assert b"hello" == got.body


async def test_without_a_status_the_report_has_none():
    assert (await serve(raising(RefusedError()))).report.status is None


# --- a server that cannot send --------------------------------------------------------------------


ANSWERS = {
    "one message": NO,
    "streamed": answering(b"a", b"b", b"c"),
    "big": answering(BIG),
    "big and streamed": answering(BIG, b"x"),
    "empty last": answering(b"a", end=False),
}


@pytest.mark.parametrize("fails_at", [0, 1, 2])
@pytest.mark.parametrize("app", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("row", FEW_ROWS)
async def test_an_error_of_send_comes_out_itself_and_the_place_is_given_back(row, app, fails_at):
    got = await serve(app, [b"a", Silence(2), b"b"], fails_at=fails_at, **on(row))

    if got.raised is not None:
        assert OSError is type(got.raised)
        assert "the client is gone" == str(got.raised)
    else:
        assert len(got.messages) <= fails_at
    assert 0 == process_capacity.active
    assert 1 >= len(got.reports)


@pytest.mark.parametrize("fails_at", [0, 1])
@pytest.mark.parametrize("row", [row for row in FEW_ROWS if row != "unknown"])
async def test_behind_an_error_of_send_the_applications_receive_is_a_disconnect(row, fails_at):
    """It waits for the last send(), so that must end."""

    async def app(scope, receive, send):
        with pytest.raises(OSError, match="gone"):
            await NO(scope, receive, send)
        scope["test.exchange"].told.append((await receive())["type"])

    got = await serve(app, fails_at=fails_at, **on(row))

    assert (["http.disconnect"], None) == (got.told, got.raised)


@pytest.mark.parametrize("fails_at", [0, 1])
async def test_where_the_answer_waits_for_the_body_nobody_is_told_that_the_client_has_left(
    fails_at,
):
    """The application has been let go; it would learn of it only to forget it."""

    async def app(scope, receive, send):
        await NO(scope, receive, send)
        scope["test.exchange"].told.append((await receive())["type"])

    got = await serve(app, [b"a", Silence(1), b"b"], kind=UNKNOWN, fails_at=fails_at)

    assert (["http.disconnect"], None, 1) == (got.told, got.raised, len(got.reports))


@pytest.mark.parametrize("row", FEW_ROWS)
async def test_what_the_server_says_of_a_wrong_answer_comes_out_however_late(row):
    """Uvicorn raises RuntimeError for an answer that is longer or shorter than it said."""

    async def app(scope, receive, send):
        connection = scope["test.exchange"].connection
        original = connection._body

        async def refuse(message):
            if not message.get("more_body", False):
                raise RuntimeError("shorter than Content-Length")
            await original(message)

        connection._body = refuse
        await NO(scope, receive, send)

    got = await serve(app, [b"a", Silence(1), b"b"], **on(row))

    assert "shorter than Content-Length" == str(got.raised)
    assert 0 == process_capacity.active


# The application has been let go before the server sees the start of its answer.
LET_GO_BEFORE = {"hypercorn h2", "granian h2", "unknown", "unknown h2"}
NOT_LET_GO = [row for row in ROWS if row not in LET_GO_BEFORE]


@pytest.mark.parametrize(
    ("row", "instead"),
    [
        *itertools.product(ROWS, [None]),
        *itertools.product(NOT_LET_GO, [[b"sorry"], [b"sor", b"ry"]]),
    ],
)
async def test_where_the_server_refuses_a_start_another_answer_arrives(row, instead):
    """Its own 500, or one of the application's; hypercorn refuses headers that are no bytes."""

    async def app(scope, receive, send):
        connection = scope["test.exchange"].connection
        accept = connection._start

        def refuse(message):
            if message["status"] == 302:
                connection.sent.remove(message)
                raise TypeError("headers must be bytes")
            accept(message)

        connection._start = refuse
        try:
            await answering(b"moved", status=302)(scope, receive, send)
        except TypeError:
            if instead is None:
                raise
            await answering(*instead, status=500)(scope, receive, send)

    got = await serve(app, [b"a", Silence(1), b"b"], **on(row))

    assert (None if instead else TypeError) is (got.raised and type(got.raised))
    assert b"".join(instead or ()) == got.body
    assert (Outcome.COMPLETE, 2, 1.0) == (got.outcome, got.report.bytes_discarded, got.seconds)
    assert row in LET_GO_BEFORE or (500 if instead else None) == got.report.status


async def test_an_error_of_send_that_the_application_handles_leaves_one_report():
    async def app(scope, receive, send):
        with pytest.raises(OSError, match="gone"):
            await NO(scope, receive, send)

    got = await serve(app, [b"a", Silence(2), b"b"], fails_at=1)

    assert Outcome.DISCONNECTED == got.outcome


async def test_an_error_of_the_servers_receive_costs_nobody_the_answer():
    """Gunicorn's raises when it finds the body malformed."""

    async def app(scope, receive, send):
        async def broken():
            raise ValueError("bad chunk")

        scope["test.exchange"].connection._receive = broken
        await NO(scope, receive, send)

    got = await serve(app)

    assert (None, b"no", Outcome.ERROR, "ValueError: bad chunk") == (
        got.raised,
        got.body,
        got.outcome,
        got.report.detail,
    )


async def test_an_error_of_the_servers_receive_in_a_read_ahead_costs_nobody_the_answer():
    async def app(scope, receive, send):
        async def broken():
            await anyio.sleep(0.1)
            raise ValueError("bad chunk")

        scope["test.exchange"].connection._receive = broken
        await answering(BIG, b"end")(scope, receive, send)

    got = await serve(app, send_seconds=1)

    assert (None, BIG + b"end", Outcome.ERROR) == (got.raised, got.body, got.outcome)


@pytest.mark.parametrize("row", ROWS)
async def test_headers_that_can_be_read_once_arrive_where_the_body_was_refused(row):
    def refusing(app, policy, on_report):
        async def refuse():
            raise ValueError("too large")

        async def outer(scope, receive, send):
            await DrainMiddleware(app, policy, on_report=on_report)(scope, refuse, send)

        return outer

    async def app(scope, receive, send):
        with pytest.raises(ValueError, match="too large"):
            await receive()
        await send({**start(), "headers": iter([(b"content-length", b"2")])})
        await send(body(b"no"))

    got = await serve(app, wrap=refusing, **on(row))

    assert 2 == got.connection.length  # that the server has read


@pytest.mark.parametrize("after", [0, 1], ids=["with the last send", "in the drain"])
@pytest.mark.parametrize("answer", [[b"no"], [b"n", b"o"]], ids=len)
@pytest.mark.parametrize("row", ROWS)
async def test_a_receive_of_the_application_that_fails_ends_the_drain(row, answer, after):
    """An outer middleware may refuse the body to a task that still waits for some of it."""
    is_answering = anyio.Event()

    def refusing(app, policy, on_report):
        drained = DrainMiddleware(app, policy, on_report=on_report)

        async def outer(scope, receive, send):
            receives = 0

            async def limited():
                nonlocal receives
                receives += 1
                if receives > 1:
                    return await receive()
                await is_answering.wait()
                await anyio.sleep(after)
                raise ValueError("too large")

            await drained(scope, limited, send)

        return outer

    async def app(scope, receive, send):
        async def listen():
            with pytest.raises(ValueError, match="too large"):
                await receive()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await settle()
            await send(start())
            for piece in answer[:-1]:
                await send(body(piece, True))
            is_answering.set()
            await send(body(answer[-1]))

    got = await serve(app, [Silence(3), b"a"], wrap=refusing, send_seconds=2, **on(row))

    assert (None, b"".join(answer), True) == (got.raised, got.body, got.connection.is_complete)
    assert (Outcome.DECLINED, "receive() raised ValueError: too large") == (
        got.outcome,
        got.report.detail,
    )


# --- cancellation ---------------------------------------------------------------------------------


MOMENTS = [0.0, 0.2, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
SLOW_UPLOAD = [Silence(0.5), b"a", Silence(1), b"b", Silence(1), b"c", Silence(0.5), b"d"]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(
    "app",
    [NO, answering(b"a", b"b"), answering(BIG, b"x"), answering(BIG, BIG), raising(RefusedError())],
    ids=["one message", "streamed", "big and streamed", "big", "raising"],
)
@pytest.mark.parametrize("row", FEW_ROWS)
async def test_a_cancelled_request_leaves_nothing_behind(row, app, moment):
    """No place taken, no receive() running, at the most one report, and no other error."""
    got = await serve(
        app, SLOW_UPLOAD, cancel_after=moment, strict_client=True, send_seconds=0.7, **on(row)
    )

    assert 0 == process_capacity.active
    assert 1 >= len(got.reports)
    assert got.raised is None or isinstance(got.raised, RefusedError)


@pytest.mark.parametrize("row", FEW_ROWS)
async def test_a_drain_that_is_cancelled_is_reported(row):
    got = await serve(NO, SLOW_UPLOAD, cancel_after=1, **on(row))

    assert (Outcome.ERROR, "cancelled", 1.0) == (
        got.outcome,
        got.report.detail,
        got.report.seconds,
    )


@pytest.mark.parametrize("row", FEW_ROWS)
async def test_an_application_may_time_out_its_own_send_and_go_on(row):
    """asyncio.timeout() around a response is the application's right."""

    async def app(scope, receive, send):
        with anyio.move_on_after(1):
            await NO(scope, receive, send)
        scope["test.exchange"].told.append((await receive())["type"])

    got = await serve(app, SLOW_UPLOAD, **on(row))

    assert (None, ["http.disconnect"]) == (got.raised, got.told)
    assert 0 == process_capacity.active


@pytest.mark.parametrize("row", FEW_ROWS)
async def test_the_time_limit_of_an_application_does_not_strike_because_of_the_upload(row):
    async def app(scope, receive, send):
        with anyio.fail_after(1):
            await NO(scope, receive, send)

    got = await serve(app, SLOW_UPLOAD, **on(row))

    assert (None, b"no", Outcome.COMPLETE) == (got.raised, got.body, got.outcome)


@pytest.mark.parametrize("row", ["uvicorn", "hypercorn", "gunicorn"])
async def test_a_last_send_that_is_cut_short_still_ends_the_answer(row):
    """A strict client takes the page when its upload is over, which is later than the limit."""

    async def app(scope, receive, send):
        with anyio.move_on_after(1) as limit:
            await send(start(200))
            await send(body(BIG))
        scope["test.exchange"].told.append(limit.cancelled_caught)

    got = await serve(app, SLOW_UPLOAD, strict_client=True, **on(row))

    assert ([True], BIG, Outcome.COMPLETE) == (got.told, got.body, got.outcome)
    assert got.connection.is_complete


@pytest.mark.parametrize("row", FEW_ROWS)
async def test_what_is_sent_behind_the_end_is_the_servers_to_refuse(row):
    """And not before it has the end, or that would be what it refuses."""

    async def app(scope, receive, send):
        connection = scope["test.exchange"].connection
        await NO(scope, receive, send)
        connection.fails_at = 3 if row in ("uvicorn", "hypercorn h2") else 2
        with pytest.raises(OSError, match="gone"):
            await send(body(b"more"))

    got = await serve(app, [b"a", Silence(1), b"b"], **on(row))

    assert (b"no", True, 1.0) == (got.body, got.connection.is_complete, got.seconds)


async def test_what_on_report_raises_costs_nobody_the_answer(caplog):
    def on_report(report):
        raise LookupError

    got = await serve(DrainMiddleware(NO, on_report=on_report), wrap=None)

    assert (None, b"no", True) == (got.raised, got.body, got.connection.is_complete)
    assert "on_report raised" in caplog.text


# --- the middleware and its table -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((None,), "app must be an ASGI application"),
        ((NO, 5), "policy must be a DrainPolicy or None; got 5"),
        ((NO, {"max_bytes": 5}), "policy must be a DrainPolicy"),
    ],
)
async def test_a_middleware_made_wrongly_says_so_at_once(arguments, named):
    with pytest.raises(TypeError, match=named):
        DrainMiddleware(*arguments)


async def test_fields_are_taken_as_keywords_too():
    middleware = DrainMiddleware(NO, None, max_bytes=3)

    assert DrainPolicy(max_bytes=3) == middleware.policy


async def test_middleware_around_the_application_that_calls_it_says_what_to_write():
    class Framework:
        async def __call__(self, scope, receive, send):
            await self.asgi_app(scope, receive, send)

    app = Framework()
    app.asgi_app = NO
    app.asgi_app = DrainMiddleware(app)
    got = await serve(app, wrap=None)

    assert isinstance(got.raised, RuntimeError)
    assert "write app.asgi_app = DrainMiddleware(app.asgi_app), not" in str(got.raised)


async def test_on_report_must_be_callable():
    with pytest.raises(TypeError, match="on_report must be a callable or None; got 5"):
        DrainMiddleware(NO, on_report=5)


async def test_the_report_says_whose_request_it_was_and_no_query():
    report = (await serve(NO, kind=HYPERCORN)).report

    expected = ("HTTP/1.1", "hypercorn", "POST", "/upload", 413, 1000, 1000, 0)
    assert expected == (
        report.protocol,
        report.server,
        report.method,
        report.path,
        report.status,
        report.declared_bytes,
        report.bytes_discarded,
        report.bytes_read,
    )


@pytest.mark.parametrize("row", ROWS)
async def test_a_server_is_known_by_the_module_of_its_functions(row):
    assert row.split()[0] == (await serve(NO, **on(row))).report.server


def behind(connection):
    """Wrap a connection's functions as middleware does."""

    async def receive():
        return await connection.receive()

    async def send(message):
        await connection.send(message)

    receive.__module__ = send.__module__ = "some.middleware"
    return receive, send


def wrapped(app, policy, on_report):
    middleware = DrainMiddleware(app, policy, on_report=on_report)

    async def call(scope, receive, send):
        await middleware(scope, *behind(scope["test.exchange"].connection))

    return call


@pytest.mark.parametrize("kind", [UVICORN, HYPERCORN, GRANIAN], ids=lambda kind: kind.module)
async def test_behind_middleware_the_server_is_the_one_that_is_loaded(kind, monkeypatch):
    name = kind.module.split(".")[0]
    monkeypatch.setattr(servers_module, "_is_loaded", lambda server: server.name == name)
    got = await serve(NO, kind=kind, wrap=wrapped)

    assert (name, Outcome.COMPLETE) == (got.report.server, got.outcome)


async def test_behind_middleware_and_with_two_servers_loaded_it_is_unknown(monkeypatch):
    monkeypatch.setattr(
        servers_module, "_is_loaded", lambda server: server.name in ("uvicorn", "granian")
    )
    got = await serve(NO, kind=UNKNOWN, wrap=wrapped)

    assert ("unknown", ["receive 600", "receive 400", "start", "body 2"]) == (
        got.report.server,
        got.events,
    )


async def test_a_server_that_has_the_whole_body_needs_nothing():
    from dataclasses import replace

    daphne = replace(UVICORN, module="daphne.server")
    got = await serve(NO, kind=daphne)

    assert (["start", "body 2"], []) == (got.events, got.reports)


async def test_the_table_of_known_servers_does_not_grow_with_its_requests():
    for number in range(200):

        async def receive():
            return {"type": "http.disconnect"}

        receive.__module__ = f"forged{number}"
        servers_module.server_of(receive, receive)

    assert 64 >= len(servers_module._known)


@pytest.mark.parametrize("read", [False, True], ids=["unread", "read"])
async def test_a_client_that_left_costs_no_error(read):
    async def app(scope, receive, send):
        if read:
            while (await receive())["type"] != "http.disconnect":
                pass
        await NO(scope, receive, send)

    got = await serve(app, [b"a", Disconnect()], length=10)

    assert (None, Outcome.DISCONNECTED) == (got.raised, got.outcome)


async def test_a_fully_received_body_is_not_reported():
    async def app(scope, receive, send):
        await read_all(receive)
        await NO(scope, receive, send)

    assert [] == (await serve(app)).reports


# --- memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("app", "script"),
    [
        pytest.param(NO, [b"a", b"b"], id="complete"),
        pytest.param(NO, [b"a", Silence(100), b"b"], id="idle"),
        pytest.param(NO, [b"a" * 600, b"b" * 600], id="byte limit"),
        pytest.param(NO, [b"a", Disconnect()], id="disconnected"),
        pytest.param(answering(BIG, BIG), [b"a", Silence(1), b"b"], id="read ahead"),
        pytest.param(answering(BIG, BIG), [b"a", Silence(100), b"b"], id="silent in read-ahead"),
        pytest.param(sending(start(), body(BIG, True), body()), [b"a" * 600] * 2, id="streamed"),
    ],
)
@pytest.mark.parametrize("row", ROWS)
async def test_what_a_request_held_is_freed_with_it(row, app, script):
    """It does not wait for the garbage collector: granian may not reset a stream before."""
    policy = DrainPolicy(max_bytes=1000)
    gc.disable()
    try:
        got = await serve(app, script, policy=policy, send_seconds=2.0, **on(row))
        held = [one for one in gc.get_referrers(got.connection) if isinstance(one, MethodType)]
    finally:
        gc.enable()

    assert [] == held


@pytest.mark.parametrize("fails_at", [None, 0, 1])
@pytest.mark.parametrize(
    "app",
    [NO, answering(BIG, BIG), raising(RefusedError)],
    ids=["one message", "big and streamed", "raising"],
)
@pytest.mark.parametrize("row", ROWS)
async def test_what_a_request_held_is_freed_with_its_error(row, app, fails_at):
    gc.disable()
    try:
        got = await serve(app, fails_at=fails_at, **on(row))
        got.raised = None
        held = [one for one in gc.get_referrers(got.connection) if isinstance(one, MethodType)]
    finally:
        gc.enable()

    assert [] == held
