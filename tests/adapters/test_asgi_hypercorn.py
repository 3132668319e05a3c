"""What hypercorn does with the rest of a body that is left: its own protocol, in process."""

import asyncio
import contextlib

import anyio
import pytest

from drainkit import DrainPolicy, Outcome
from drainkit_asgi import DrainMiddleware
from drainkit_asgi.servers import SERVERS, _hypercorn
from tests.adapters.asgi_server import (
    BACKENDS,
    KIB,
    answering,
    backend,
    body,
    read_all,
    settle,
    start,
)

pytest.importorskip("hypercorn", reason="needs hypercorn")
pytest.importorskip("h2", reason="needs h2")

import h2.config
import h2.connection
import h2.events
import hypercorn.asyncio.task_group
import hypercorn.asyncio.worker_context
import hypercorn.trio.task_group
import hypercorn.trio.worker_context
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, RawData
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import ConnectionState

pytestmark = pytest.mark.anyio


@pytest.fixture(params=BACKENDS)
def anyio_backend(request):
    return backend(request.param)


FRAME_BYTES = 16 * KIB
NO = answering(b"no")
NO_ERROR, INTERNAL_ERROR, ENHANCE_YOUR_CALM = 0, 2, 11


class Client:
    """One end of a connection whose other end is hypercorn's protocol."""

    def __init__(self, app, protocol_class, tasks, context):
        self.protocol = protocol_class(
            ASGIWrapper(app),
            Config(),
            context,
            tasks,
            ConnectionState({}),
            False,
            ("127.0.0.1", 1),
            ("127.0.0.1", 2),
            self._from_server,
        )
        self.events = []
        self.is_closed = False
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))

    async def _from_server(self, event):
        # At once, and only then let others run: hypercorn's own sends are in order, too.
        if isinstance(event, Closed):
            self.is_closed = True
        elif isinstance(event, RawData) and isinstance(self.protocol, H2Protocol):
            self.events += self.h2.receive_data(event.data)
        await anyio.lowlevel.checkpoint()

    async def push(self):
        """Hand what there is to the server, as one read of its socket."""
        data = self.h2.data_to_send()
        if data:
            await self.protocol.handle(RawData(data))

    def ask(self, path="/", *, ends=False):
        stream_id = self.h2.get_next_available_stream_id()
        fields = {":method": "POST", ":path": path, ":authority": "a", ":scheme": "http"}
        self.h2.send_headers(stream_id, list(fields.items()), end_stream=ends)
        return stream_id

    async def upload(self, stream_id, frames):
        """Send DATA frames as flow control allows; stop at a reset; return how many were sent."""
        for sent in range(frames):
            for _ in range(100):
                if self.reset(stream_id) is not None:
                    return sent
                if self.h2.local_flow_control_window(stream_id) >= FRAME_BYTES:
                    break
                await self.push()
                await anyio.sleep(0.01)
            else:
                raise AssertionError("no credit")
            self.h2.send_data(stream_id, b"u" * FRAME_BYTES)
            await self.push()
            await anyio.sleep(0.001)
        return frames

    def reset(self, stream_id):
        return next(
            (
                event.error_code
                for event in self.events
                if isinstance(event, h2.events.StreamReset) and event.stream_id == stream_id
            ),
            None,
        )

    async def answered(self, stream_id):
        """Wait for the end of a response; return its status and body."""
        with anyio.fail_after(60):
            while not self._has_ended(stream_id):
                await anyio.sleep(0.1)
        mine = [event for event in self.events if getattr(event, "stream_id", 0) == stream_id]
        status = next(
            dict(event.headers)[":status"]
            for event in mine
            if isinstance(event, h2.events.ResponseReceived)
        )
        return status, b"".join(e.data for e in mine if isinstance(e, h2.events.DataReceived))

    def _has_ended(self, stream_id):
        return any(
            isinstance(event, h2.events.StreamEnded) and event.stream_id == stream_id
            for event in self.events
        )

    def endings(self, stream_id):
        """Return how the stream ended, in order."""
        kinds = (h2.events.StreamEnded, h2.events.StreamReset)
        return [
            type(event).__name__
            for event in self.events
            if isinstance(event, kinds) and event.stream_id == stream_id
        ]


@contextlib.asynccontextmanager
async def connected(app, protocol_class=H2Protocol):
    """Serve an application on one connection; whatever its reader or a task raises is raised."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        tasks = hypercorn.trio.task_group.TaskGroup()
        context = hypercorn.trio.worker_context.WorkerContext(None)
    else:
        tasks = hypercorn.asyncio.task_group.TaskGroup(loop)
        context = hypercorn.asyncio.worker_context.WorkerContext(None)
    async with tasks:
        client = Client(app, protocol_class, tasks, context)
        client.h2.initiate_connection()
        await client.protocol.initiate()
        if protocol_class is H2Protocol:
            await client.push()
        with anyio.fail_after(600):
            yield client
        await client.protocol.handle(Closed())


def drained(app, reports, **fields):
    return DrainMiddleware(app, DrainPolicy(**fields), on_report=reports.append)


# Each bound, and the outcome that it has.
BOUNDS = {
    "bytes": ({"max_bytes": 100 * KIB}, Outcome.BYTE_LIMIT),
    "declined": ({"max_bytes": 0}, Outcome.DECLINED),
    "time": ({"max_seconds": 0.001}, Outcome.TIME_LIMIT),
    "idle": ({"idle_seconds": 0.001}, Outcome.IDLE),
    "rate": ({"min_bytes_per_second": 2**40, "grace_seconds": 0.001}, Outcome.TOO_SLOW),
}
bounds = pytest.mark.parametrize("bound", BOUNDS)


async def test_without_drainkit_data_behind_the_end_of_a_response_is_a_key_error():
    """On trio nothing catches it, and the process ends."""

    async def upload():
        async with connected(NO) as client:
            stream_id = client.ask()
            await client.push()
            await client.answered(stream_id)
            await client.upload(stream_id, 1)

    with pytest.raises(BaseExceptionGroup) as raised:
        await upload()

    assert raised.group_contains(KeyError)


@bounds
@pytest.mark.parametrize("app", [NO, answering(b"no", status=200)], ids=["413", "200"])
async def test_a_stream_whose_body_is_left_is_reset_behind_its_response(bound, app):
    """RFC 9113 section 8.1; the connection and its other streams go on."""
    fields, outcome = BOUNDS[bound]
    reports = []
    async with connected(drained(app, reports, **fields)) as client:
        stream_id = client.ask()
        await client.push()
        await anyio.sleep(0.01)
        sent = await client.upload(stream_id, 100)
        answer = await client.answered(stream_id)
        other = client.ask(ends=True)
        await client.push()
        answer_beside = await client.answered(other)

    assert (outcome, b"no") == (reports[0].outcome, answer[1])
    assert ["StreamEnded", "StreamReset"] == client.endings(stream_id)
    assert NO_ERROR == client.reset(stream_id)
    assert sent < 100
    assert answer == answer_beside


async def test_a_full_house_leaves_a_body_too():
    reports = []
    app = drained(NO, reports, max_concurrent=1)
    async with connected(app) as client:
        first, second = client.ask(), client.ask()
        await client.push()
        await client.answered(second)
        await client.upload(second, 50)
        client.h2.end_stream(first)
        await client.push()
        await client.answered(first)

    assert [Outcome.AT_CAPACITY, Outcome.COMPLETE] == [report.outcome for report in reports]
    assert (NO_ERROR, None) == (client.reset(second), client.reset(first))


async def test_a_complete_drain_resets_nothing():
    reports = []
    async with connected(drained(NO, reports)) as client:
        stream_id = client.ask()
        await client.upload(stream_id, 20)
        client.h2.end_stream(stream_id)
        await client.push()
        await client.answered(stream_id)
        await settle()

    assert [Outcome.COMPLETE] == [report.outcome for report in reports]
    assert ["StreamEnded"] == client.endings(stream_id)


async def test_the_answer_of_the_server_to_an_exception_is_followed_by_a_reset_too():
    async def failing(scope, receive, send):
        raise RuntimeError("as the test asked")

    async with connected(drained(failing, [], max_bytes=0)) as client:
        stream_id = client.ask()
        await client.upload(stream_id, 50)
        status, _ = await client.answered(stream_id)

    assert ("500", NO_ERROR) == (status, client.reset(stream_id))


async def test_a_response_that_breaks_off_is_no_complete_one():
    """By itself hypercorn would leave the client waiting for its end."""

    async def failing(scope, receive, send):
        await send(start(200))
        await send(body(b"begun", more=True))
        raise RuntimeError("as the test asked")

    async with connected(drained(failing, [], max_bytes=0)) as client:
        stream_id = client.ask()
        await client.upload(stream_id, 50)

    assert ["StreamReset"] == client.endings(stream_id)
    assert INTERNAL_ERROR == client.reset(stream_id)


async def test_data_that_was_read_with_that_of_a_slow_stream_is_no_key_error():
    """The reader waits for room in one stream's queue, with a frame of another one in hand."""

    async def slow_or_no(scope, receive, send):
        if scope["path"] == "/slow":
            await anyio.sleep(5)
            await read_all(receive)
        await NO(scope, receive, send)

    async with connected(drained(slow_or_no, [], max_bytes=0, idle_seconds=60)) as client:
        slow = client.ask("/slow")
        left = client.ask()
        for _ in range(15):
            client.h2.send_data(slow, b"s")
        client.h2.send_data(slow, b"", end_stream=True)
        for _ in range(3):
            client.h2.send_data(left, b"l" * 1000)
        await client.push()
        answers = [await client.answered(left), await client.answered(slow)]

    assert [("413", b"no")] * 2 == answers


async def test_a_client_that_reads_nothing_may_not_upload_for_ever(monkeypatch):
    monkeypatch.setattr(_hypercorn, "_MOST_LEFT_BYTES", 1024 * KIB)
    page = answering(b"p" * 1024 * KIB)
    async with connected(drained(page, [], max_bytes=0)) as client:
        stream_id = client.ask()
        await client.push()
        sent = await client.upload(stream_id, 1000)

    assert ENHANCE_YOUR_CALM == client.reset(stream_id)
    assert 64 <= sent <= 80


@pytest.mark.parametrize("app", [NO, "raises"], ids=["answers", "raises"])
async def test_over_http_1_the_task_of_an_application_that_reads_nothing_ends(app):
    """Without drainkit it waits for ever for room in its full queue, and holds the connection."""
    ended = []

    async def late(scope, receive, send):
        await anyio.sleep(1)
        if app == "raises":
            raise RuntimeError("as the test asked")
        await NO(scope, receive, send)

    async def watched(scope, receive, send):
        try:
            await drained(late, [], max_bytes=0)(scope, receive, send)
        finally:
            ended.append(True)

    async with connected(watched, H11Protocol) as client:
        head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n"

        async def read():
            for data in (head, *[b"u" * 1000] * 15):
                await client.protocol.handle(RawData(data))

        async with anyio.create_task_group() as reader:
            reader.start_soon(read)
            with anyio.move_on_after(30):
                while not client.is_closed:
                    await anyio.sleep(0.1)
            reader.cancel_scope.cancel()

    assert [True] == ended
    assert client.is_closed


async def test_a_send_that_is_not_hypercorns_own_is_left_alone():
    async def send(message):
        pass

    SERVERS[1].connection(send, send).leave()

    assert "hypercorn" == SERVERS[1].name
