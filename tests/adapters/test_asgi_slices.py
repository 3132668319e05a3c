"""Over TLS a server takes all of a large answer at once, so it is given no more than is taken."""

import anyio
import pytest

from drainkit import DrainPolicy, Outcome, process_capacity
from drainkit.testing import Silence
from drainkit_asgi import DrainMiddleware
from tests.adapters.asgi_server import (
    BACKENDS,
    KIB,
    MIB,
    answering,
    backend,
    body,
    on,
    serve,
    start,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("only_the_rows_of_the_table")]

PAGE = b"0123456789abcdef" * (MIB // 16) + b"end"
SLICES = [64 * KIB] * 16 + [3]
# The servers of the table that are written for asyncio and send before the body has come.
ASYNCIO_ROWS = ["uvicorn", "uvicorn httptools", "hypercorn", "gunicorn"]


@pytest.fixture(params=BACKENDS)
def anyio_backend(request):
    return backend(request.param)


def taking(seconds, *, from_message=0, error=None):
    """Return a middleware around drainkit's whose server waits for its client.

    Args:
        seconds: How long before it takes each piece of the answer.
        from_message: The first of them; those before are taken at once.
        error: What it raises instead of taking one; ``None`` when it takes all.
    """

    def wrap(app, policy, on_report):
        drained = DrainMiddleware(app, policy, on_report=on_report)

        async def serve_slowly(scope, receive, send):
            connection = scope["test.exchange"].connection
            original = connection._body

            async def slow(message):
                if len(connection.sent) > from_message + 1 and message["more_body"]:
                    await anyio.sleep(seconds)
                    if error is not None:
                        raise error
                await original(message)

            connection._body = slow
            await drained(scope, receive, send)

        return serve_slowly

    return wrap


def pieces(got):
    """Return the sizes of the messages with content, and whether more was to come behind each."""
    return [
        (len(message["body"]), message["more_body"])
        for message in got.messages
        if message["type"] == "http.response.body"
    ]


@pytest.mark.parametrize("row", ASYNCIO_ROWS)
async def test_a_large_answer_over_tls_goes_out_as_the_client_takes_it(row):
    got = await serve(answering(PAGE), wrap=taking(1), scheme="https", **on(row))

    assert PAGE == got.body
    assert [(size, True) for size in SLICES] + [(0, False)] == pieces(got)
    assert [b"%d" % len(PAGE)] == got.header(b"content-length")
    assert len(SLICES) == got.seconds
    assert Outcome.COMPLETE is got.outcome


@pytest.mark.parametrize("row", ["uvicorn", "uvicorn httptools"])
async def test_uvicorn_is_told_to_wait_as_it_does_without_tls(row):
    sliced = await serve(answering(PAGE), scheme="https", **on(row))
    whole = await serve(answering(PAGE), **on(row))

    assert (64 * KIB, None) == tuple(got.connection.transport.most_bytes for got in (sliced, whole))


@pytest.mark.parametrize(
    ("scheme", "page"), [("http", PAGE), ("https", PAGE[: 512 * KIB])], ids=["plain", "smaller"]
)
@pytest.mark.parametrize("row", ASYNCIO_ROWS)
async def test_an_answer_that_no_server_ends_too_early_stays_one_piece(row, scheme, page):
    got = await serve(answering(page), scheme=scheme, **on(row))

    assert [(len(page), True), (0, False)] == pieces(got)


async def test_the_application_does_not_wait_for_the_client():
    async def app(scope, receive, send):
        began = anyio.current_time()
        await answering(PAGE)(scope, receive, send)
        scope["test.exchange"].told.append(anyio.current_time() - began)
        message = await receive()
        scope["test.exchange"].told.append(message["type"])

    got = await serve(app, wrap=taking(1), scheme="https")

    assert [0, "http.disconnect"] == got.told
    assert (PAGE, True) == (got.body, got.connection.is_complete)


async def test_the_slices_go_out_while_the_body_comes():
    upload = [piece for _ in range(10) for piece in (Silence(1), b"x" * 50_000)]
    got = await serve(answering(PAGE), upload, wrap=taking(0.5), scheme="https")

    assert (PAGE, Outcome.COMPLETE) == (got.body, got.outcome)
    assert 10 == got.seconds


async def test_a_strict_client_has_it_behind_its_body():
    upload = [piece for _ in range(100) for piece in (Silence(1), b"x" * 50_000)]
    got = await serve(answering(PAGE), upload, strict_client=True, scheme="https")

    assert (PAGE, Outcome.COMPLETE) == (got.body, got.outcome)


@pytest.mark.parametrize(("seconds", "is_complete"), [(59, True), (121, False)])
async def test_a_client_that_takes_nothing_for_two_minutes_is_given_up(seconds, is_complete):
    """As asyncio gives it up when it has the whole answer; and no application hangs."""
    got = await serve(answering(PAGE), wrap=taking(seconds, from_message=3), scheme="https")

    assert is_complete == got.connection.is_complete
    assert got.raised is None
    assert 0 == process_capacity.active
    if not is_complete:
        assert 60 < got.seconds <= 180


async def test_it_is_given_up_behind_a_bound_of_the_drain_too_and_the_connection_is_closed():
    upload = [b"x" * 1000] * 5
    policy = DrainPolicy(max_bytes=2000)
    got = await serve(answering(PAGE), upload, policy=policy, wrap=taking(999), scheme="https")

    assert Outcome.BYTE_LIMIT is got.outcome
    assert not got.connection.is_complete
    assert 1 == got.connection.transport.closed


async def test_a_client_that_leaves_is_no_error_of_the_applications():
    got = await serve(
        answering(PAGE), wrap=taking(1, from_message=3, error=OSError("gone")), scheme="https"
    )

    assert (None, False) == (got.raised, got.connection.is_complete)
    assert 1 == len(got.reports)


async def test_another_error_of_the_server_s_is_told():
    error = RuntimeError("too long")
    got = await serve(answering(PAGE), wrap=taking(1, from_message=3, error=error), scheme="https")

    assert (error, False) == (got.raised, got.connection.is_complete)


@pytest.mark.parametrize("moment", [0.0, 0.5, 2.5, 5.5])
async def test_a_cancelled_request_leaves_no_slice_behind(moment):
    async def app(scope, receive, send):
        await answering(PAGE)(scope, receive, send)
        await anyio.sleep(100)

    upload = [Silence(3), b"u"]
    got = await serve(app, upload, wrap=taking(1), cancel_after=moment, scheme="https")
    sent = len(got.messages)
    await anyio.sleep(50)

    assert sent == len(got.messages)
    assert not got.connection.is_complete
    assert 0 == process_capacity.active


async def test_what_was_the_last_piece_of_several_is_sliced_too():
    app_messages = [start(200), body(b"first", more=True), body(PAGE)]

    async def app(scope, receive, send):
        for message in app_messages:
            await send(message)

    got = await serve(app, scheme="https")

    assert b"first" + PAGE == got.body
    assert max(size for size, _ in pieces(got)) <= 64 * KIB


@pytest.mark.parametrize("kind", [bytearray, memoryview])
@pytest.mark.parametrize("row", ["uvicorn", "hypercorn", "unknown"])
async def test_who_uses_a_buffer_again_behind_send_changes_no_answer(row, kind):
    """Whether it is sent in slices, or, on a server that nobody knows, behind the body."""

    async def app(scope, receive, send):
        buffer = bytearray(PAGE)
        await send(start(413))
        await send(body(buffer if kind is bytearray else memoryview(buffer)))
        buffer[:] = b"-" * len(buffer)

    got = await serve(app, wrap=taking(1), scheme="https", **on(row))

    assert (PAGE, None) == (got.body, got.raised)


async def test_who_uses_a_buffer_again_behind_a_piece_that_is_held_changes_no_answer():
    async def app(scope, receive, send):
        buffer = bytearray(b"first ")
        await send(start(413))
        await send(body(buffer, True))
        buffer[:] = b"------"
        await send(body(b"last"))

    got = await serve(app, **on("uvicorn"))

    assert b"first last" == got.body


async def test_a_transport_that_is_closed_ends_no_request():
    """That of uvloop raises, where asyncio's does nothing."""

    async def app(scope, receive, send):
        def closed(**limits):
            raise RuntimeError("the transport is closed")

        scope["test.exchange"].connection.transport.set_write_buffer_limits = closed
        await answering(PAGE)(scope, receive, send)

    got = await serve(app, scheme="https", **on("uvicorn"))

    assert (PAGE, None, Outcome.COMPLETE) == (got.body, got.raised, got.outcome)
