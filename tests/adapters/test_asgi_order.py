"""Rules 1 to 4 and 8 of the design's section 6: what is sent when, on each server."""

import asyncio
import sys
import traceback
import types
from pathlib import Path

import anyio
import pytest

from drainkit import CONTROL_KEY, DrainPolicy, Outcome
from drainkit.testing import Silence
from drainkit_asgi import DrainMiddleware
from tests.adapters.asgi_server import (
    BACKENDS,
    BODY,
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
    start,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("only_the_rows_of_the_table")]

BIG = b"r" * (64 * KIB + 1)
UPLOAD = [b"u" * (64 * KIB)] * 8


@pytest.fixture(params=BACKENDS)
def anyio_backend(request):
    return backend(request.param)


# --- rule 1: nothing to do ------------------------------------------------------------------------


@pytest.mark.parametrize("length", [None, 0, b"", b"0"], ids=["no length", "0", "empty", "'0'"])
@pytest.mark.parametrize("http_version", ["1.0", "1.1"])
async def test_without_a_body_nothing_is_wrapped(length, http_version):
    seen = []

    async def app(scope, receive, send):
        seen.extend([receive, send, CONTROL_KEY in scope])
        await answering(b"no")(scope, receive, send)

    got = await serve(app, [b""], length=length, http_version=http_version)

    assert [got.connection.receive, got.connection.send, False] == seen
    assert (["start", "body 2"], []) == (got.events, got.reports)


@pytest.mark.parametrize("row", [row for row in ROWS if ROWS[row][1] == "2"])
async def test_http_2_needs_no_header_field_for_a_body(row):
    got = await serve(answering(b"no"), length=None, **on(row))

    assert (Outcome.COMPLETE, 1000, "HTTP/2") == (
        got.outcome,
        got.report.bytes_discarded,
        got.report.protocol,
    )


@pytest.mark.parametrize("row", ROWS)
async def test_with_the_body_received_messages_pass_at_once_and_unchanged(row):
    messages = [start(200), body(b"a", True), body(b"b", True), body(b"")]

    async def app(scope, receive, send):
        scope["test.exchange"].told.append(await read_all(receive))
        await sending(*messages)(scope, receive, send)

    got = await serve(app, **on(row))

    assert ([b"".join(BODY)], messages, []) == (got.told, got.messages, got.reports)


async def test_a_response_begun_before_the_body_was_received_ends_at_once_behind_it():
    async def app(scope, receive, send):
        await send(start(200))
        await read_all(receive)
        await send(body(b"a", True))
        await send(body(b"b"))

    got = await serve(app, [b"a" * 600, Silence(1), b"b" * 400])

    assert {"receive 600", "start"} == set(got.events[:2])
    assert ["receive 400", "body 1 more", "body 1"] == got.events[2:]
    assert [] == got.reports


@pytest.mark.parametrize("row", ROWS)
async def test_a_body_received_between_the_two_halves_of_a_response_leaves_it_whole(row):
    """Content-Length is reached with more_body true, then the body is received, then the end."""

    async def app(scope, receive, send):
        await send(start(200, [(b"content-length", b"5")]))
        await send(body(b"hello", True))
        await read_all(receive)
        await send(body(b""))

    got = await serve(app, **on(row))

    assert (None, b"hello") == (got.raised, got.body)
    assert "http.response.start" == got.messages[0]["type"]


# --- rule 2 and 3: the order belongs to the server ------------------------------------------------


EXPECTED = {
    "hold the end": ["start", "body 2 more", "receive 600", "receive 400", "body 0"],
    "end first": ["start", "body 2", "receive 600", "receive 400"],
    "discard first": ["receive 600", "receive 400", "start", "body 2"],
}


def refusing_factory(loop, coroutine, **more):
    coroutine.close()
    raise AssertionError("the loop's factory was asked for a task")


FACTORIES = {"none is asked": refusing_factory}
if sys.version_info >= (3, 12):
    FACTORIES["eager"] = asyncio.eager_task_factory


@pytest.mark.parametrize("anyio_backend", [backend("asyncio")])
@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
@pytest.mark.parametrize("row", ROWS)
async def test_an_event_loop_whose_tasks_run_at_once_changes_no_order(row, factory):
    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)
    try:
        got = await serve(answering(b"no"), **on(row))
    finally:
        loop.set_task_factory(None)

    assert EXPECTED[ROWS[row][2]] == got.events


@pytest.mark.parametrize("row", ROWS)
async def test_an_early_answer_goes_in_its_servers_order_and_the_body_is_taken(row):
    got = await serve(answering(b"no"), **on(row))

    assert EXPECTED[ROWS[row][2]] == got.events
    assert (Outcome.COMPLETE, 1000, b"no", 413) == (
        got.outcome,
        got.report.bytes_discarded,
        got.body,
        got.report.status,
    )


@pytest.mark.parametrize("row", [row for row in ROWS if ROWS[row][2] != "discard first"])
async def test_without_drainkit_the_same_server_loses_the_body(row):
    """Otherwise the tests above could not fail."""
    got = await serve(answering(b"no"), wrap=None, **on(row))

    assert (["start", "body 2"], 0) == (got.events, got.connection.given)


@pytest.mark.parametrize("row", [row for row in ROWS if ROWS[row][2] == "hold the end"])
async def test_the_obvious_loop_does_nothing_on_a_server_that_holds(row):
    """Once the last message is sent, receive() is http.disconnect."""

    async def obvious(scope, receive, send):
        await answering(b"no")(scope, receive, send)
        scope["test.exchange"].told.append((await receive())["type"])

    assert ["http.disconnect"] == (await serve(obvious, wrap=None, **on(row))).told


@pytest.mark.parametrize("end", [True, False], ids=["last chunk", "empty last message"])
@pytest.mark.parametrize("chunks", [(b"a", b"b"), (b"", b"ab"), (b"ab",)], ids=str)
@pytest.mark.parametrize("row", ROWS)
async def test_a_streamed_answer_arrives_whole_and_the_body_is_taken(row, chunks, end):
    got = await serve(answering(*chunks, end=end, status=200), **on(row))

    assert (b"ab", Outcome.COMPLETE) == (got.body, got.outcome)
    assert got.connection.is_complete


@pytest.mark.parametrize("end", [True, False], ids=["last chunk", "empty last message"])
@pytest.mark.parametrize("row", ROWS)
async def test_a_streamed_answer_with_content_length_arrives_whole_on_each_server(row, end):
    """At its length granian drops a connection whose body has not been taken."""
    headers = [(b"content-length", b"4")]
    got = await serve(answering(b"ab", b"cd", end=end, headers=headers), **on(row))

    assert "connection dropped" not in got.events
    assert (b"abcd", Outcome.COMPLETE) == (got.body, got.outcome)


@pytest.mark.parametrize("row", ROWS)
async def test_an_empty_answer_is_sent_and_the_body_is_taken(row):
    got = await serve(answering(), **on(row))

    assert (b"", Outcome.COMPLETE, True) == (got.body, got.outcome, got.connection.is_complete)


async def test_a_message_without_its_optional_keys_is_the_end():
    got = await serve(
        sending({"type": "http.response.start", "status": 401}, {"type": "http.response.body"})
    )

    assert (Outcome.COMPLETE, 401, True) == (got.outcome, got.status, got.connection.is_complete)


@pytest.mark.parametrize("row", ["uvicorn", "granian"])
async def test_an_eager_client_has_its_answer_before_its_upload_is_over(row):
    got = await serve(answering(b"no"), [b"a", Silence(3), b"b"], **on(row))

    assert got.events.index("start") < got.events.index("receive 1")
    assert 3.0 == got.seconds


# --- rule 4: while, not after ---------------------------------------------------------------------


RESPONSES = {
    "one big message": answering(BIG),
    "big with an empty last": answering(BIG, end=False),
    "many": answering(*[b"r" * (16 * KIB)] * 12),
    "big first": answering(BIG, b"r", b"r"),
    "big last": answering(b"r", BIG),
    "with length": answering(BIG, BIG, headers=[(b"content-length", b"131074")]),
    "with length, then empty": answering(BIG, end=False, headers=[(b"content-length", b"65537")]),
}


@pytest.mark.parametrize("app", RESPONSES.values(), ids=RESPONSES)
@pytest.mark.parametrize("row", ROWS)
async def test_a_strict_client_and_a_big_response_do_not_wait_for_each_other(row, app):
    """send() blocks until the client reads, and it reads when its body has been taken."""
    got = await serve(app, UPLOAD, strict_client=True, **on(row))

    assert got.raised is None
    assert got.seconds < 1
    assert got.connection.is_complete
    assert len(b"".join(UPLOAD)) == got.connection.given
    assert Outcome.COMPLETE == got.outcome


async def test_without_drainkit_the_two_wait_for_each_other():
    """Otherwise the tests above could not fail."""
    with pytest.raises(TimeoutError):
        await serve(answering(BIG), UPLOAD, strict_client=True, wrap=None)


@pytest.mark.parametrize("row", ROWS)
async def test_what_was_read_ahead_is_the_applications(row):
    async def app(scope, receive, send):
        await send(start(200))
        await send(body(BIG, True))
        scope["test.exchange"].told.append(await read_all(receive))
        await send(body(b"end"))

    got = await serve(app, UPLOAD, strict_client=True, **on(row))

    assert ([b"".join(UPLOAD)], None) == (got.told, got.raised)
    assert BIG + b"end" == got.body


@pytest.mark.parametrize("row", ROWS)
async def test_a_transform_that_receives_and_sends_loses_nothing(row):
    async def app(scope, receive, send):
        await send(start(200))
        more = True
        while more:
            message = await receive()
            more = message["more_body"]
            await send(body(message["body"].upper(), more))

    got = await serve(app, UPLOAD, **on(row))

    assert (b"".join(UPLOAD).upper(), []) == (got.body, got.reports)


# --- rule 8: everything else passes ---------------------------------------------------------------


@pytest.mark.parametrize("kind", ["websocket", "lifespan", "something.new"])
async def test_another_protocol_is_passed_on(kind):
    seen = []

    async def app(scope, receive, send):
        seen.extend([scope, receive, send])

    async def receive():
        raise AssertionError

    async def send(message):
        raise AssertionError

    scope = {"type": kind}
    await DrainMiddleware(app)(scope, receive, send)

    assert [scope, receive, send] == seen
    assert {"type": kind} == scope


HINT = {"type": "http.response.early_hint", "links": [b"</style.css>"]}
DEBUG = {"type": "http.response.debug", "info": {"template": "x"}}
PUSH = {"type": "http.response.push", "path": "/x", "headers": []}
PATHSEND = {"type": "http.response.pathsend", "path": "/etc/hostname"}
TRAILERS = {"type": "http.response.trailers", "headers": [(b"x", b"y")], "more_trailers": False}


@pytest.mark.parametrize("read", [False, True], ids=["unread", "read"])
@pytest.mark.parametrize("message", [HINT, DEBUG, PUSH], ids=lambda m: m["type"])
@pytest.mark.parametrize("row", ROWS)
async def test_a_message_before_the_start_passes_unharmed_and_in_its_place(row, message, read):
    async def app(scope, receive, send):
        if read:
            await read_all(receive)
        await sending(message, start(200), body(b"ok"))(scope, receive, send)

    got = await serve(app, **on(row))

    assert message == got.messages[0]
    assert ("http.response.start", b"ok") == (got.messages[1]["type"], got.body)


@pytest.mark.parametrize("read", [False, True], ids=["unread", "read"])
@pytest.mark.parametrize("row", ROWS)
async def test_a_sent_file_passes_unharmed_and_is_the_end(row, read):
    async def app(scope, receive, send):
        if read:
            await read_all(receive)
        await sending(start(200), PATHSEND)(scope, receive, send)

    got = await serve(app, **on(row))

    assert ["http.response.start", "http.response.pathsend"] == [m["type"] for m in got.messages]
    assert PATHSEND == got.messages[1]
    assert [] == got.reports if read else Outcome.COMPLETE == got.outcome
    if not read:
        assert "receive" == got.order[0]


@pytest.mark.parametrize("chunks", [(b"a",), (b"a", b"b"), (BIG,)], ids=["one", "two", "big"])
@pytest.mark.parametrize("length", [False, True], ids=["no length", "length"])
@pytest.mark.parametrize("row", ["uvicorn", "hypercorn", "hypercorn h2", "granian", "unknown h2"])
async def test_trailers_pass_unharmed_and_are_the_end(row, length, chunks):
    data = b"".join(chunks)
    headers = [(b"content-length", b"%d" % len(data))] if length else []
    bodies = [body(chunk, more=at < len(chunks) - 1) for at, chunk in enumerate(chunks)]
    got = await serve(
        sending(start(200, headers, trailers=True), *bodies, TRAILERS), UPLOAD, **on(row)
    )

    assert (None, data, TRAILERS) == (got.raised, got.body, got.messages[-1])
    assert 1 == sum(message["type"] == "http.response.trailers" for message in got.messages)
    assert Outcome.COMPLETE == got.outcome


async def test_several_trailers_end_with_the_last():
    more = {**TRAILERS, "more_trailers": True}
    got = await serve(sending(start(200, trailers=True), body(b"a"), more, TRAILERS))

    assert [more, TRAILERS] == got.messages[-2:]
    assert Outcome.COMPLETE == got.outcome


async def test_trailers_behind_a_body_that_was_received_pass_at_once():
    async def app(scope, receive, send):
        await read_all(receive)
        await sending(start(200, trailers=True), body(b"a"), TRAILERS)(scope, receive, send)

    got = await serve(app)

    assert [start(200, trailers=True), body(b"a"), TRAILERS] == got.messages


async def test_a_message_that_does_not_fit_reaches_the_server_which_says_so():
    """Drainkit is no referee; but it must not swallow what the server would complain about."""
    got = await serve(sending(start(200), {"type": "http.response.nonsense"}, body(b"x")))

    assert "http.response.nonsense" in [message["type"] for message in got.messages]


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "200"},
        {"headers": None},
        {"headers": [b"x"]},
        {"headers": [(1, b"x")]},
        {"headers": [(b"content-length", 1)]},
        {"headers": [(b"content-length", b"1" * 5000)]},
    ],
)
async def test_a_start_that_is_no_such_thing_reaches_the_server_which_says_so(fields):
    """An error that is raised inside drainkit would send people the wrong way."""
    begin = {**start(200), **fields}
    got = await serve(sending(begin, body(b"x")))

    assert begin == got.messages[0]
    if got.raised is not None:
        raised_in = traceback.extract_tb(got.raised.__traceback__)[-1].filename
        assert Path(raised_in).name == "asgi_server.py"
    assert got.report.outcome is Outcome.COMPLETE


async def test_a_second_start_is_an_error():
    got = await serve(sending(start(200), start(201), body(b"x")))

    assert isinstance(got.raised, RuntimeError)


# --- nested, and the application's word -----------------------------------------------------------


async def test_nested_middlewares_discard_once():
    inner = []
    got = await serve(
        DrainMiddleware(answering(b"no"), DrainPolicy(max_bytes=0), on_report=inner.append)
    )

    assert ([], Outcome.COMPLETE) == (inner, got.outcome)


@pytest.mark.parametrize("row", ROWS)
async def test_the_application_may_decline(row):
    async def app(scope, receive, send):
        dict(scope)[CONTROL_KEY].policy = None
        await answering(b"no")(scope, receive, send)

    got = await serve(app, **on(row))

    assert (Outcome.DECLINED, 0) == (got.outcome, got.connection.given)
    assert ["start", "body 2"] == got.events
    assert [] == got.header(b"connection")


@pytest.mark.parametrize("row", ROWS)
async def test_a_big_streamed_answer_of_an_application_that_declined_is_reported_once(row):
    async def app(scope, receive, send):
        scope[CONTROL_KEY].policy = None
        await answering(BIG, BIG, status=200)(scope, receive, send)

    got = await serve(app, **on(row))

    assert (Outcome.DECLINED, 0) == (got.outcome, got.connection.given)


@pytest.mark.parametrize("row", ROWS)
async def test_the_application_may_set_other_bounds(row):
    async def app(scope, receive, send):
        scope[CONTROL_KEY].policy = DrainPolicy(max_bytes=1000)
        await answering(b"no")(scope, receive, send)

    got = await serve(app, policy=DrainPolicy(max_bytes=0), **on(row))

    assert (Outcome.COMPLETE, 1000) == (got.outcome, got.report.bytes_discarded)


# --- the unlucky: full queues ---------------------------------------------------------------------


async def test_a_client_that_reads_nothing_and_goes_on_sending_is_not_read_for_ever():
    """The last message waits for it, and with the message whoever makes room for that."""
    received = 0

    async def receive():
        nonlocal received
        received += 1000
        await anyio.sleep(0 if received < 4 * 1024 * 1024 else 10)
        return {"type": "http.request", "body": b"u" * 1000, "more_body": True}

    async def send(message):
        if message["type"] == "http.response.body" and not message["more_body"]:
            with anyio.move_on_after(0.5):
                await anyio.sleep_forever()

    for function in (receive, send):
        function.__module__ = HYPERCORN.module
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/",
        "headers": [(b"transfer-encoding", b"chunked")],
    }
    await DrainMiddleware(answering(b"no"), DrainPolicy(max_bytes=5000))(scope, receive, send)

    assert received <= 2 * 1024 * 1024


async def test_the_end_of_the_response_is_sent_although_the_servers_queue_is_full():
    """Hypercorn ends its queue of messages with one that finds no room if it is full."""
    upload = [b"u" * 1000] * 50

    async def full_queue(scope, receive, send):
        connection = scope["test.exchange"].connection

        async def send_into_queue(message):
            last = message["type"] == "http.response.body" and not message["more_body"]
            while last and len(connection.script) > 10:
                await anyio.sleep(0.1)
            await send(message)

        await DrainMiddleware(
            answering(b"no"),
            DrainPolicy(max_bytes=5000),
            on_report=scope["test.exchange"].reports.append,
        )(scope, receive, _named(send_into_queue))

    def _named(function):
        function.__module__ = HYPERCORN.module
        return function

    got = await serve(
        full_queue,
        upload,
        kind=HYPERCORN,
        wrap=None,
        chunked=True,
        length=None,
    )

    assert (Outcome.BYTE_LIMIT, True, None) == (
        got.outcome,
        got.connection.is_complete,
        got.raised,
    )
    assert got.seconds < 10


@pytest.mark.parametrize("kind", [UVICORN, HYPERCORN, GRANIAN, UNKNOWN], ids=lambda k: k.module)
@pytest.mark.parametrize(
    ("policy", "closed"),
    [(DrainPolicy(), 0), (DrainPolicy(max_bytes=500), 1), (DrainPolicy(max_seconds=0.5), 1)],
    ids=["complete", "byte limit", "time limit"],
)
async def test_uvicorn_is_told_to_close_behind_an_incomplete_drain_and_only_then(
    kind, policy, closed
):
    """It would go on discarding by itself, without a bound."""
    got = await serve(
        answering(b"no"),
        [b"a" * 600, Silence(1), b"b" * 400],
        kind=kind,
        policy=policy,
        chunked=True,
    )

    assert (closed if kind is UVICORN else 0) == got.connection.transport.closed
    assert (Outcome.COMPLETE is got.outcome) == (closed == 0)
    assert got.connection.is_complete


@pytest.mark.parametrize("how", ["application", "policy"])
async def test_a_declined_body_is_left_to_uvicorn_which_delivers_by_itself(how):
    """Closing the connection would reset an answer that arrives without drainkit."""

    async def app(scope, receive, send):
        if how == "application":
            scope[CONTROL_KEY].policy = None
        await answering(b"no")(scope, receive, send)

    policy = DrainPolicy(max_bytes=0) if how == "policy" else None
    got = await serve(app, kind=UVICORN, policy=policy)

    assert (Outcome.DECLINED, 0) == (got.outcome, got.connection.transport.closed)


# --- behind a proxy -------------------------------------------------------------------------------

GO = {"headers": [(b"x-forwarded-host", b"site.example")]}
NGINX = {"headers": [(b"connection", b"close")]}
OLD_NGINX = {"http_version": "1.0"}


@pytest.mark.parametrize(
    ("proxy", "data", "is_first"),
    [
        pytest.param(GO, b"no", True, id="Go, small"),
        pytest.param(GO, b"", True, id="Go, empty"),
        pytest.param(GO, BIG, True, id="Go, big"),
        pytest.param(NGINX, BIG, True, id="nginx, big"),
        pytest.param(OLD_NGINX, BIG, True, id="nginx over HTTP/1.0, big"),
        pytest.param(NGINX, b"no", False, id="nginx, small"),
        pytest.param(OLD_NGINX, b"no", False, id="nginx over HTTP/1.0, small"),
        pytest.param({}, BIG, False, id="nobody, big"),
    ],
)
@pytest.mark.parametrize("kind", [UVICORN, GRANIAN], ids=["uvicorn", "granian"])
async def test_the_body_goes_first_where_a_proxy_would_not_read_it_afterwards(
    kind, proxy, data, is_first
):
    got = await serve(answering(data), UPLOAD, kind=kind, **proxy)
    last_taken = max(i for i, event in enumerate(got.events) if event.startswith("receive"))
    started = next(i for i, event in enumerate(got.events) if event.startswith("start"))

    assert Outcome.COMPLETE == got.report.outcome
    assert is_first == (last_taken < started)


# --- HTTP/2 on uvicorn ----------------------------------------------------------------------------


async def test_without_a_content_length_nothing_is_received_where_a_body_has_no_end():
    """Uvicorn's zttp does not tell of the end of a request over HTTP/2 that has no body."""
    got = await serve(answering(b"no"), [], kind=UVICORN, length=None, http_version="2")

    assert (0, [], b"no") == (got.connection.receives, got.reports, got.body)


@pytest.mark.parametrize("pending_bytes", [0, 10])
async def test_at_a_bound_over_http_2_the_stream_is_reset_and_not_the_connection_closed(
    pending_bytes,
):
    """And not while the client has no credit for the rest of the response."""
    done = []

    class Stream:
        def __init__(self):
            self.pending_bytes = pending_bytes

        def reset(self, code):
            done.append(f"reset {code}")

    async def app(scope, receive, send):
        connection = scope["test.exchange"].connection
        connection.stream = Stream()
        connection.conn = types.SimpleNamespace(data_to_send=lambda: b"frame")
        connection.transport.write = done.append
        await answering(b"no")(scope, receive, send)

    got = await serve(app, [b"a" * 600, Silence(100), b"b"], kind=UVICORN, http_version="2")

    assert ([] if pending_bytes else ["reset 0", b"frame"]) == done
    assert 0 == got.connection.transport.closed
