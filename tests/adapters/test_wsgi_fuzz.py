"""Any application, any arrival of the body, any policy, on every server: with drainkit as without.

The model is the same application on the same server without drainkit. What may differ is named in
the test, and nothing else may.
"""

import contextlib
from dataclasses import dataclass, field
from types import SimpleNamespace

from hypothesis import event, example, given, target
from hypothesis import strategies as st

from drainkit import DrainPolicy, LateReadError, Outcome, process_capacity
from drainkit.testing import Disconnect, FakeClock, ScriptedBody, Silence
from drainkit_wsgi import _come as come_module
from drainkit_wsgi import _exchange as exchange_module
from drainkit_wsgi import _reading as reading_module
from drainkit_wsgi import _upload as upload_module
from drainkit_wsgi._input import Discarded, Input
from drainkit_wsgi.servers._cheroot import CherootConnection
from drainkit_wsgi.servers._gunicorn import GunicornConnection
from tests.adapters.wsgi_server import MODULES, SOFTWARE, reachable, serve

# --- what an application does ---------------------------------------------------------------------


class ApplicationError(Exception):
    """Raised by an application on purpose."""


class WorkerEnds(BaseException):
    """Raised through an application by what ends its worker."""


@dataclass
class Program:
    """What one application does, step by step.

    Attributes:
        before: Steps before the response's iterable is returned.
        kind: What the iterable is.
        behind: Steps of the iterable; a number of bytes is a piece of the response.
        length: Whether the response has a Content-Length.
        closes: What the iterable's ``close()`` does.
        status: The status line.
    """

    before: list
    kind: str
    behind: list
    length: bool
    closes: str
    status: str


@dataclass
class Told:
    """What one application saw."""

    reads: list = field(default_factory=list)
    in_time: int | None = None
    closed: int = 0
    stream: object = None

    @property
    def is_late(self):
        return self.in_time is not None

    @property
    def reads_in_time(self):
        return self.reads[: self.in_time]


READS = {
    "read": lambda stream, size: stream.read(*size),
    "readline": lambda stream, size: stream.readline(*size),
    "readlines": lambda stream, size: b"".join(stream.readlines(*size)),
    "iterate": lambda stream, size: next(iter(stream), b""),
}
ERRORS = {"error": ApplicationError, "worker ends": WorkerEnds}


class Application:
    """A program that runs, on a server or behind drainkit."""

    def __init__(self, program):
        self.program = program
        self.told = Told()

    def __call__(self, environ, start_response):
        self.told.stream = environ["wsgi.input"]
        program, write = self.program, None
        for step in program.before:
            if step == "start":
                headers = [("X-Kind", program.kind)]
                if program.length:
                    headers.append(("Content-Length", str(self.size)))
                write = start_response(program.status, headers)
            elif isinstance(step, int):
                if write is not None:
                    write(piece(step))
            else:
                self.do(step)
        if program.kind in ("list", "tuple"):
            items = [piece(step) for step in program.behind if isinstance(step, int)]
            return items if program.kind == "list" else tuple(items)
        steps = self.steps()
        return steps if program.kind == "generator" else Closing(steps, self)

    @property
    def size(self):
        before = [step for step in self.program.before if isinstance(step, int)]
        behind = [step for step in self.program.behind if isinstance(step, int)]
        return sum(before) + sum(behind)

    def do(self, step):
        if step in ERRORS:
            raise ERRORS[step](step)
        kind, size = step
        try:
            self.told.reads.append(READS[kind](self.told.stream, size))
        except LateReadError:
            if not self.told.is_late:
                self.told.in_time = len(self.told.reads)
            raise

    def steps(self):
        try:
            for step in self.program.behind:
                if isinstance(step, int):
                    yield piece(step)
                else:
                    self.do(step)
        finally:
            if self.program.kind == "generator":
                self.closes()

    def closes(self):
        self.told.closed += 1
        if self.program.closes in ERRORS:
            raise ERRORS[self.program.closes]("close")
        if self.program.closes == "reads":
            self.do(("read", (10,)))


class Closing:
    """An iterable with a ``close()``."""

    def __init__(self, steps, application):
        self._steps = steps
        self.close = application.closes

    def __iter__(self):
        return self._steps


def piece(size):
    return bytes(number % 251 for number in range(min(size, 300))).ljust(size, b"r")


def body_of(size):
    """Return a body of which every part shows where it stood, in lines of all lengths."""
    return b"".join(b"%d%s" % (number, b"\n" if number % 7 == 0 else b"") for number in range(size))


# --- strategies -----------------------------------------------------------------------------------

SIZES = st.sampled_from([(), (0,), (1,), (7,), (100,), (5000,), (-1,)])
A_READ = st.tuples(st.sampled_from(["read", "readline"]), SIZES) | st.tuples(
    st.sampled_from(["readlines", "iterate"]), st.sampled_from([(), (1,), (50,)])
)
AN_ERROR = st.sampled_from(list(ERRORS))
A_PIECE = st.sampled_from([0, 1, 10, 5000, 65_536, 65_537, 100_000])


@st.composite
def programs(draw):
    before = draw(st.lists(A_READ, max_size=2))
    before.append("start")
    before += draw(st.lists(A_READ | A_PIECE, max_size=2))
    kind = draw(st.sampled_from(["list", "tuple", "generator", "iterator"]))
    behind = draw(st.lists(A_PIECE | A_READ, max_size=5))
    if draw(st.integers(0, 3)) == 0:
        where = draw(st.sampled_from([before, behind]))
        where.insert(draw(st.integers(0, len(where))), draw(AN_ERROR))
    return Program(
        before,
        kind,
        behind,
        length=draw(st.booleans()),
        closes=draw(st.sampled_from(["well", "well", "error", "worker ends", "reads"])),
        status=draw(st.sampled_from(["200 OK", "413 Content Too Large", "204 No Content"])),
    )


class Part(bytes):
    """Part of a body that is told by its ends alone: Hypothesis warns of what is long."""

    def __repr__(self):
        return super().__repr__() if len(self) < 100 else f"{self[:20]!r}...{self[-20:]!r}"


def _size(script):
    return sum(len(step) for step in script if isinstance(step, bytes))


@st.composite
def uploads(draw):
    """A body, how it arrives, and how it is framed."""
    body = body_of(draw(st.sampled_from([1, 10, 100, 1000, 20_000, 40_000])))
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=5)))
    ends_at = zip([0, *cuts], [*cuts, len(body)], strict=True)
    script = [Part(body[start:end]) for start, end in ends_at]
    for _ in range(draw(st.integers(0, 2))):
        seconds = draw(st.sampled_from([0.1, 1.0, 4.9, 5.5, 30.0]))
        script.insert(draw(st.integers(0, len(script))), Silence(seconds))
    fields = {}
    ends = draw(st.sampled_from(["well", "well", "well", "disconnect", "short"]))
    if ends == "disconnect":
        script[draw(st.integers(0, len(script))) :] = [Disconnect()]
    if draw(st.booleans()):
        fields["length"] = len(body) + (5 if ends == "short" else 0)
        if isinstance(script[-1], Disconnect) and _size(script) == len(body):
            del script[-1]  # no server looks there
    else:
        fields["length"] = None
        fields["HTTP_TRANSFER_ENCODING"] = "chunked"
        if draw(st.integers(0, 3)):
            fields["wsgi.input_terminated"] = True
    if draw(st.integers(0, 4)) == 0:
        fields["HTTP_EXPECT"] = "100-continue"
    return script, fields


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

# --- the property ---------------------------------------------------------------------------------


@contextlib.contextmanager
def virtual_time(clock):
    """Time that moves only with the script, and a client that is quiet at once."""
    modules = exchange_module, reading_module, upload_module
    own = [module.time for module in modules]
    own_seconds = reading_module._QUIET_SECONDS, come_module._SOON_SECONDS
    for module in modules:
        module.time = SimpleNamespace(monotonic=clock, sleep=clock.advance)
    reading_module._QUIET_SECONDS = come_module._SOON_SECONDS = 0.0
    try:
        yield
    finally:
        for module, time in zip(modules, own, strict=True):
            module.time = time
        reading_module._QUIET_SECONDS, come_module._SOON_SECONDS = own_seconds


@contextlib.contextmanager
def shown(source):
    """Let gunicorn and cheroot show how much of a scripted body has come."""

    def has_come(environ, stream, nbytes):
        come = len(source._buffer)
        for step in source._script:
            if not isinstance(step, bytes):
                break
            come += len(step)
        return come >= nbytes

    connections = GunicornConnection, CherootConnection
    own = [connection.__dict__["has_come"] for connection in connections]
    for connection in connections:
        connection.has_come = staticmethod(has_come)
    try:
        yield
    finally:
        for connection, was in zip(connections, own, strict=True):
            connection.has_come = was


def served(program, upload, server, connected, *, policy=None, wrap=True, is_shown=False):
    """Serve a program once; return what happened and what it saw."""
    script, fields = upload
    application = Application(program)
    clock = FakeClock(1000.0)
    source = ScriptedBody(list(script), clock)
    with contextlib.ExitStack() as stack:
        stack.enter_context(virtual_time(clock))
        if is_shown:
            stack.enter_context(shown(source))
        more = {"server": server, **fields}
        if connected is not None and server in ("unknown", "gunicorn"):
            more |= stack.enter_context(reachable(sends=connected))
        got = serve(application, source, policy=policy, **more, **({} if wrap else {"wrap": None}))
    return got, application.told


def assert_told_of_what_was_left(reports, drain, is_interrupted):
    # One report of a body that was left, none of one that was read; of an ending worker's
    # body there may be one.
    was_left = not drain.finished or drain.bytes_discarded > 0
    if reports and not was_left:
        # Its end had to be looked for, or the application took the rest behind the report.
        length = drain.framing.length
        assert length is None or reports[0].bytes_read < length
    else:
        assert was_left == bool(reports) or is_interrupted


@example(
    program=Program(["start"], "generator", [("read", ())], False, "well", "413 No"),
    upload=([b"0\n"], {"length": 2}),
    server="cheroot",
    connected=None,
    policy=DrainPolicy(),
    is_shown=False,
)
@example(
    program=Program(["start"], "generator", [("read", ())], False, "well", "413 No"),
    upload=([b"0\n"], {"length": 2, "HTTP_EXPECT": "100-continue"}),
    server="granian",
    connected=None,
    policy=DrainPolicy(),
    is_shown=False,
)
@example(
    program=Program(["start"], "iterator", [1, "worker ends"], False, "error", "200 OK"),
    upload=([b"0\n"], {"length": 2}),
    server="cheroot",
    connected=None,
    policy=DrainPolicy(),
    is_shown=False,
)
@example(
    program=Program(["start", 100_000, ("read", ())], "list", [], True, "well", "200 OK"),
    upload=([Disconnect()], {"length": 2, "HTTP_EXPECT": "100-continue"}),
    server="wsgiref",
    connected=None,
    policy=DrainPolicy(),
    is_shown=False,
)
@example(
    program=Program(["start"], "iterator", [], False, "reads", "200 OK"),
    upload=([Disconnect()], {"length": 2}),
    server="cheroot",
    connected=None,
    policy=DrainPolicy(),
    is_shown=False,
)
@given(
    program=programs(),
    upload=uploads(),
    server=st.sampled_from(sorted({*MODULES, *SOFTWARE})),
    connected=st.sampled_from([None, b"", b"x" * 100]),
    policy=POLICIES,
    is_shown=st.booleans(),
)
def test_an_application_behind_drainkit_is_served_as_without(
    program, upload, server, connected, policy, is_shown
):
    bare, saw = served(program, upload, server, connected, wrap=False)
    got, told = served(program, upload, server, connected, policy=policy, is_shown=is_shown)
    whole = b"".join(step for step in upload[0] if isinstance(step, bytes))
    is_late = told.is_late
    # close() may have raised behind it.
    raised = [got.raised, got.raised and got.raised.__context__]
    is_interrupted = any(isinstance(one, WorkerEnds) for one in raised)
    event(f"raised {type(got.raised).__name__}")
    event(f"outcome {[report.outcome.name for report in got.reports]}")
    target(float(len(told.reads)), label="reads")

    # What the application reads is the body, in order, as it asked for it; or an error, behind
    # which it may read on in other pieces, and without those that were lost with a failed read.
    assert saw.reads == told.reads or is_late
    assert saw.reads[: len(told.reads_in_time)] == told.reads_in_time
    assert whole.startswith(b"".join(told.reads)) or saw.reads == told.reads

    # Nothing is raised that the application did not raise, or was told of late.
    if not is_late:
        assert type(bare.raised) is type(got.raised)
        assert str(bare.raised) == str(got.raised)

    # The response is the application's, byte for byte.
    assert got.status or got.raised is not None
    if is_late or is_interrupted:
        assert bare.body.startswith(got.body)
    else:
        assert bare.body == got.body
    if got.status:  # a start that is held when the application raises is the server's 500
        assert bare.status == got.status
        said = [("Connection", "close")] if server == "uwsgi" else []
        added = [one for one in got.headers if one not in [*bare.headers, *said]]
        assert [one for one in got.headers if one not in [*added, *said]] == bare.headers
        assert added in ([], [("Content-Length", str(len(bare.body)))])

    # close() once, if the server calls it.
    assert saw.closed == told.closed or is_late
    assert told.closed <= 1

    # Read by the application, discarded, and left: exactly the body.
    if isinstance(told.stream, Input):
        drain = told.stream._drain
        read_bytes = len(b"".join(told.reads))
        # A read that raised had taken some, and so had one whose bytes are lost with its worker.
        is_counted = got.raised is None
        if drain is None and isinstance(told.stream._stream, Discarded):
            event("what has come is taken")
            (report,) = got.reports
            assert Outcome.COMPLETE is report.outcome
            assert read_bytes == report.bytes_read or not is_counted
            assert got.source.given_bytes == report.bytes_read + report.bytes_discarded
        elif drain is None:
            assert told.stream.left_bytes <= 0 or is_interrupted
            assert read_bytes == got.source.given_bytes or not is_counted
            assert [] == got.reports
        else:
            taken_bytes = drain.bytes_read + drain.bytes_discarded
            assert read_bytes == drain.bytes_read or not is_counted
            assert taken_bytes == got.source.given_bytes or not is_counted
            assert_told_of_what_was_left(got.reports, drain, is_interrupted)
    assert len(got.reports) <= 1
    for report in got.reports:
        assert report.bytes_read + report.bytes_discarded <= len(whole)
        assert policy.max_bytes is None or report.bytes_discarded <= policy.max_bytes
        if report.outcome is Outcome.COMPLETE and got.raised is None:
            # What a read that raised had taken is in no count.
            assert len(whole) == report.bytes_read + report.bytes_discarded

    # And nothing is left running.
    assert 0 == process_capacity.active
