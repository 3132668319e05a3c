"""Any application, any arrival of the body, any policy, in every server's order.

The model knows what the application sent and what the client did, and nothing of drainkit.
"""

import contextlib

import anyio
import pytest
from hypothesis import event, given, target
from hypothesis import strategies as st

from drainkit import DrainPolicy, LateReadError, Outcome, process_capacity
from drainkit.testing import Disconnect, Silence
from tests.adapters.asgi_server import BACKENDS, ROWS, backend, body, serve, start

# --- what an application does ---------------------------------------------------------------------


class ApplicationError(Exception):
    """Raised by an application on purpose."""


@st.composite
def programs(draw):
    """Steps: a number of bytes is a piece of the response, the rest say what they are."""
    step = st.sampled_from(
        [
            *("receive", "receive", "receive all", "spawn a receiver", "sleep"),
            *(0, 1, 1000, 65_536, 65_537, 200_000),
        ]
    )
    before = draw(st.lists(step.filter(lambda step: isinstance(step, str)), max_size=2))
    steps = [*before, "start", *draw(st.lists(step, max_size=6))]
    if draw(st.integers(0, 3)) == 0:
        steps.insert(draw(st.integers(0, len(steps))), "raise")
    end = draw(st.sampled_from(["end", "end with a piece", "no end"]))
    return {
        "steps": steps,
        "end": end,
        "length": end != "no end" and draw(st.booleans()),
        "status": draw(st.sampled_from([200, 413])),
        "behind": draw(st.sampled_from([None, "receive", "raise"])),
    }


class Application:
    """A program that runs; it writes down what it received, and what it sent."""

    def __init__(self, program):
        self.program = program
        self.received = []
        self.sent = b""
        self.ended = self.body_ended = False
        self.receivers = 0
        self.behind = "http.disconnect"

    async def __call__(self, scope, receive, send):
        async with anyio.create_task_group() as tasks:
            try:
                await self.run(receive, send, tasks)
            finally:
                tasks.cancel_scope.cancel()

    async def run(self, receive, send, tasks):
        program = self.program
        for step in program["steps"]:
            await self.do(step, receive, send, tasks)
        if program["end"] == "end with a piece":
            self.sent += piece(1000)
            self.ended = True
            await send(body(piece(1000)))
        elif program["end"] == "end":
            self.ended = True
            await send(body())
        if program["behind"] == "receive" and self.ended and not self.receivers:
            self.behind = (await receive())["type"]
        elif program["behind"] == "raise":
            raise ApplicationError("behind")

    async def do(self, step, receive, send, tasks):
        if step == "start":
            headers = [(b"x-kind", b"fuzz")]
            if self.program["length"]:
                headers.append((b"content-length", b"%d" % self.size))
            await send(start(self.program["status"], headers))
        elif step in ("receive", "receive all"):
            # A second one that waits while another gets the last message waits for ever.
            while not self.body_ended and not self.receivers:
                await self.receive(receive)
                if step == "receive":
                    break
        elif step == "spawn a receiver":
            if self.receivers < 2:
                self.receivers += 1
                tasks.start_soon(self.receive_in_background, receive)
                await anyio.lowlevel.checkpoint()
        elif step == "sleep":
            await anyio.sleep(2)
        elif step == "raise":
            raise ApplicationError("on purpose")
        else:
            self.sent += piece(step)
            await send(body(piece(step), more=True))

    @property
    def size(self):
        pieces = [step for step in self.program["steps"] if isinstance(step, int)]
        return sum(pieces) + 1000 * (self.program["end"] == "end with a piece")

    async def receive(self, receive):
        message = await receive()
        if message["type"] == "http.request":
            self.received.append(message.get("body", b""))
        self.body_ended = not message.get("more_body", False)

    async def receive_in_background(self, receive):
        with contextlib.suppress(LateReadError):
            while not self.body_ended:
                await self.receive(receive)


def piece(size):
    return bytes(number % 251 for number in range(min(size, 300))).ljust(size, b"r")


# --- strategies -----------------------------------------------------------------------------------


@st.composite
def uploads(draw):
    size = draw(st.sampled_from([1, 10, 300, 2000, 20_000]))
    data = b"".join(b"%d," % number for number in range(size))[: max(1, size)]
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))
    script = [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    for _ in range(draw(st.integers(0, 2))):
        seconds = draw(st.sampled_from([0.1, 1.0, 4.9, 5.5, 30.0]))
        script.insert(draw(st.integers(0, len(script))), Silence(seconds))
    if draw(st.integers(0, 3)) == 0:
        script[draw(st.integers(0, len(script))) :] = [Disconnect()]
    fields = {"expects": draw(st.integers(0, 4)) == 0}
    if draw(st.booleans()):
        fields["length"] = len(data)
    else:
        fields |= {"length": None, "chunked": True}
    return script, fields, data


POLICIES = st.builds(
    DrainPolicy,
    max_bytes=st.sampled_from([None, None, 0, 1, 1000, 50_000]),
    max_seconds=st.sampled_from([0.5, 20.0]),
    idle_seconds=st.sampled_from([0.5, 5.0]),
    min_bytes_per_second=st.sampled_from([0, 240, 1e6]),
    grace_seconds=st.sampled_from([0.0, 5.0]),
    max_concurrent=st.sampled_from([1, 64]),
    late_read_bytes=st.sampled_from([0, 1, 100, 1000, 2**20]),
)

PATIENT = DrainPolicy(max_bytes=None, max_seconds=1000, idle_seconds=1000, min_bytes_per_second=0)

# --- the property ---------------------------------------------------------------------------------


def run(application, upload, row, policy, on, **more):
    """Serve one request in virtual time; return what happened."""
    script, fields, _ = upload
    kind, version, _ = ROWS[row]
    name, options = backend(on)
    if version != "1.1":
        fields = {**fields, "chunked": False}
    if not kind.invites_on_receive:
        fields = {**fields, "expects": False}  # that server invites before it calls

    async def serve_one():
        return await serve(
            application, script, kind=kind, policy=policy, http_version=version, **fields, **more
        )

    return anyio.run(serve_one, backend=name, backend_options=options)


def innermost(error):
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    return error


@pytest.mark.parametrize("on", BACKENDS)
@given(
    program=programs(),
    upload=uploads(),
    row=st.sampled_from(sorted(ROWS)),
    policy=POLICIES,
    strict_client=st.booleans(),
    fails_at=st.sampled_from([None, None, None, 0, 1, 2]),
    send_seconds=st.sampled_from([0.0, 0.0, 1.0, 7.0]),
    has_arrived=st.booleans(),
)
def test_whatever_happens_the_bytes_add_up_and_nothing_is_left_running(
    on, program, upload, row, policy, strict_client, fails_at, send_seconds, has_arrived
):
    if strict_client:
        # It reads nothing before its body has been taken, which a bound may leave.
        policy = PATIENT
    application = Application(program)
    more = {
        "strict_client": strict_client,
        "fails_at": fails_at,
        "send_seconds": send_seconds,
        "has_arrived": has_arrived,
    }
    try:
        got = run(application, upload, row, policy, on, **more)
    except TimeoutError:
        # An hour of virtual time: only where the application waits for a client that waits for
        # it, which drainkit does not change.
        assert may_wait_for_ever(program, upload)
        return
    whole = upload[2]
    received = b"".join(application.received)
    error = innermost(got.raised)
    event(f"raised {type(error).__name__}")
    event(f"outcome {[report.outcome.name for report in got.reports]}")
    target(float(len(application.received)), label="messages")

    # What the application received is the body, in order, without a hole.
    assert whole.startswith(received)

    # Nothing is raised but what the application or the connection raised, or a late read.
    if error is not None and not isinstance(error, LateReadError):
        raises = "raise" in program["steps"] or program["behind"] == "raise"
        is_application = isinstance(error, ApplicationError) and raises
        is_client = str(error) == "the client is gone" and fails_at is not None
        assert is_application or is_client, repr(error)

    # Behind the response there is no body any more, unless it was left: then the server may give
    # it, or have given it to a receive() that was under way at the end (asyncio).
    if application.behind != "http.disconnect":
        assert Outcome.COMPLETE is not got.outcome
        assert ROWS[row][0].gives_after_end or on == "asyncio"

    # The response is the application's, byte for byte, and its only added field is the length.
    # Where it waits for the body, nobody is told that it could not be sent.
    if error is None and application.ended and "send fails" not in got.events:
        assert application.sent == got.body
    else:
        assert application.sent.startswith(got.body)
    for message in got.messages:
        if message["type"] == "http.response.start":
            added = {name for name, _ in message["headers"]} - {b"x-kind"}
            assert added <= {b"content-length", b"connection"}
            lengths = [value for name, value in message["headers"] if name == b"content-length"]
            assert lengths in ([], [b"%d" % application.size])

    # Read by the application, discarded, and left: exactly the body.
    assert len(got.reports) <= 1
    for report in got.reports:
        assert report.bytes_read + report.bytes_discarded <= got.connection.given
        if report.outcome is Outcome.COMPLETE:
            assert len(whole) == report.bytes_read + report.bytes_discarded
    if not got.reports and application.ended and error is None:
        assert whole == received

    # And nothing is left running; serve() itself sees that no receive() is.
    assert 0 == process_capacity.active


def may_wait_for_ever(program, upload):
    """Whether the application itself may wait for something that never comes."""
    steps = program["steps"]
    receives = {"receive", "receive all"} & set(steps[steps.index("start") :])
    return bool(receives) and upload[1]["expects"]
