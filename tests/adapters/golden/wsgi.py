"""The combinations of one early answer under WSGI, and what happens in each.

Nothing waits, but for the few combinations in which a client is quiet: half a second each.
"""

import contextlib
import functools
import io
import itertools
import logging
import sys
import types
from dataclasses import dataclass, replace

from drainkit import CONTROL_KEY, DrainPolicy
from drainkit.testing import ScriptedBody
from drainkit_wsgi import DrainMiddleware
from tests.adapters.wsgi_server import KIB, MODULES, Result, input_class, reachable, serve

# --- servers --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A server, and the protocols in which it is served.

    Attributes:
        server: Its name in the harness.
        module: The module that defines the class of its ``wsgi.input``.
        later: Whether it speaks HTTP/2, or says so of requests that came by it.
        socket: Where the connection is found: the key in the environ; ``"fileno"`` and ``"rfile"``,
            attributes of ``wsgi.input``; ``None`` where it cannot be reached.
    """

    server: str
    module: str
    later: bool = False
    socket: str | None = None


def _row(server, **more):
    return Row(server, MODULES.get(server, "_io"), **more)


ROWS = {
    "gunicorn": _row("gunicorn", later=True),
    "gunicorn reachable": _row("gunicorn", later=True, socket="gunicorn.socket"),
    "cheroot": _row("cheroot"),
    "cheroot reachable": _row("cheroot", socket="rfile"),
    "granian": _row("granian", later=True),
    "gevent": _row("gevent"),
    "gevent reachable": _row("gevent", socket="rfile"),
    "uwsgi": _row("uwsgi", later=True),
    "uwsgi reachable": _row("uwsgi", socket="fileno"),
    "werkzeug": _row("werkzeug"),
    "werkzeug reachable": _row("werkzeug", socket="werkzeug.socket"),
    "wsgiref": _row("wsgiref"),
    "wsgiref reachable": _row("wsgiref", socket="fileno"),
    "runserver": Row("runserver", "django.core.handlers.wsgi"),
    "unknown": _row("unknown", later=True),
    "waitress": _row("waitress"),
}


class Gateway:
    """What ``start_response`` is a method of, in the shape of each server's own.

    Attributes:
        req: cheroot's request.
        conn: The connection of that.
    """

    def __init__(self, start_response, events, connection):
        self.__dict__.update(_start_response=start_response, _events=events)
        if connection is not None:
            self.__dict__["conn"] = types.SimpleNamespace(socket=connection)
        self.__dict__["req"] = self

    def start_response(self, *arguments, **more):
        return self._start_response(*arguments, **more)

    def force_close(self):
        """Take note of it: gunicorn's."""
        self._events.append("refuse reuse")

    close_connection = False

    def __setattr__(self, name, value):
        assert (name, value) == ("close_connection", True)
        self._events.append("refuse reuse")


# --- answers --------------------------------------------------------------------------------------


class ApplicationError(Exception):
    """Raised by an application on purpose."""


BIG = b"r" * (64 * KIB + 1)
RAISES = ApplicationError


@dataclass(frozen=True)
class Answer:
    """What an application answers.

    Attributes:
        kind: What it returns: ``"list"``, ``"iterable"`` or ``"file"``.
        pieces: Of the answer; an exception class is raised.
        length: Whether it has a Content-Length.
        written: Pieces that are given to ``write()`` before.
        raises: Whether the call raises: ``"at once"``, ``"started"``; or ``"in close"``.
        again: How ``start_response`` is called again: ``"at once"`` with ``exc_info``, ``"late"``
            behind the first piece with it, ``"wrongly"`` without; ``"first late"``: called only
            when the first piece is asked for.
    """

    kind: str
    pieces: tuple = ()
    length: bool = False
    written: tuple = ()
    raises: str = ""
    again: str = ""

    @property
    def data(self):
        """All bytes."""
        return b"".join(piece for piece in (*self.written, *self.pieces) if piece is not RAISES)


ANSWERS = {
    "list": Answer("list", (b"hello",)),
    "list, length": Answer("list", (b"hello",), length=True),
    "empty list": Answer("list"),
    "list of empty": Answer("list", (b"",)),
    "list of two": Answer("list", (b"hel", b"lo")),
    "big list": Answer("list", (BIG,)),
    "big list of two": Answer("list", (b"r" * 40_000,) * 2),
    "big list, length": Answer("list", (BIG,), length=True),
    "none": Answer("iterable"),
    "one": Answer("iterable", (b"hello",)),
    "two": Answer("iterable", (b"hel", b"lo")),
    "empty, one": Answer("iterable", (b"", b"hello")),
    "big": Answer("iterable", (BIG,)),
    "big, empty": Answer("iterable", (BIG, b"")),
    "big, small": Answer("iterable", (BIG, b"hello")),
    "small, big": Answer("iterable", (b"hello", BIG)),
    "many": Answer("iterable", (b"r" * 16 * KIB,) * 6),
    "length, one": Answer("iterable", (b"hello",), length=True),
    "length, two": Answer("iterable", (b"hel", b"lo"), length=True),
    "length, big": Answer("iterable", (BIG,), length=True),
    "length, small, big": Answer("iterable", (b"hello", BIG), length=True),
    "write": Answer("list", written=(b"hello",)),
    "write, list": Answer("list", (b"lo",), written=(b"hel",)),
    "write, iterable": Answer("iterable", (b"lo",), written=(b"hel",)),
    "write big": Answer("list", written=(BIG,)),
    "length, write": Answer("list", written=(b"hel", b"lo"), length=True),
    "file": Answer("file", (b"hello",)),
    "big file": Answer("file", (BIG,)),
    "file, length": Answer("file", (b"hello",), length=True),
    "raises": Answer("list", raises="at once"),
    "start, raises": Answer("list", raises="started"),
    "raises at first": Answer("iterable", (RAISES,)),
    "one, raises": Answer("iterable", (b"hello", RAISES)),
    "big, raises": Answer("iterable", (BIG, RAISES)),
    "two, raises in close": Answer("iterable", (b"hel", b"lo"), raises="in close"),
    "starts again, list": Answer("list", (b"hello",), again="at once"),
    "one, starts again": Answer("iterable", (b"hel", b"lo"), again="late"),
    "starts twice": Answer("list", (b"hello",), again="wrongly"),
    "starts late": Answer("iterable", (b"hel", b"lo"), again="first late"),
}
EMPTY = ("empty list", "none")


def _is_in_pieces(answer):
    return (answer.kind == "iterable" and len(answer.pieces) > 1) or bool(answer.written)


IN_PIECES = tuple(name for name, answer in ANSWERS.items() if _is_in_pieces(answer))

# --- combinations ---------------------------------------------------------------------------------

STATUSES = {
    200: "200 OK",
    204: "204 No Content",
    302: "302 Found",
    401: "401 Unauthorized",
    413: "413 Content Too Large",
}
# What the application reads: nothing; a part, or all, before its answer; a part, or all, behind the
# first piece of it.
USES = ("untouched", "part", "whole", "late part", "late")
PART_BYTES = 100
POLICIES = {
    "": DrainPolicy(),
    "max_bytes=50": DrainPolicy(max_bytes=50),
    "late_read_bytes=120": DrainPolicy(late_read_bytes=120),
    "declined": DrainPolicy(),
}
FRAMINGS = ("length", "chunked", "chunked, unterminated", "none")
UPLOAD = (b"a" * 150, b"b" * 100, b"c" * 50)
# More than the last 64 KiB: only then does it matter what has arrived.
QUIET_UPLOAD = (b"a" * 100_000, b"b" * 100_000)


@dataclass(frozen=True)
class Scenario:
    """One combination.

    Attributes:
        row: The server's, of `ROWS`.
        version: Of HTTP.
        answer: Of `ANSWERS`.
        status: Of `STATUSES`.
        use: What is read, of `USES`.
        expects: Whether the client says Expect: 100-continue.
        is_behind_proxy: Whether there is an X-Forwarded-Host.
        framing: Of the upload, of `FRAMINGS`.
        method: The method.
        policy: Of `POLICIES`.
        is_quiet: Whether the connection shows nothing more to read.
    """

    row: str
    version: str
    answer: str
    status: int = 413
    use: str = "untouched"
    expects: bool = False
    is_behind_proxy: bool = False
    framing: str = "length"
    method: str = "POST"
    policy: str = ""
    is_quiet: bool = False

    @functools.cached_property
    def group(self):
        return f"{self.row} {self.version}: {self.answer}"

    @functools.cached_property
    def rest(self):
        return ", ".join(
            filter(
                None,
                (
                    f"{self.status}",
                    self.use,
                    "expects" if self.expects else "",
                    "x-forwarded-host" if self.is_behind_proxy else "",
                    "" if self.framing == "length" else self.framing,
                    "" if self.method == "POST" else self.method,
                    self.policy,
                    "quiet" if self.is_quiet else "",
                ),
            )
        )

    @functools.cached_property
    def key(self):
        return f"{self.group} | {self.rest}"


def scenarios():
    """Return all combinations, in the order of the table."""
    found = {}
    for name, row in ROWS.items():
        versions = ("1.0", "1.1", "2") if row.later else ("1.0", "1.1")
        for version, answer in itertools.product(versions, ANSWERS):
            for scenario in _of(Scenario(name, version, answer)):
                found[scenario.key] = scenario
    return list(found.values())


def _of(base):
    early = ["untouched", "part"]
    late = ["late"] if base.answer in IN_PIECES else []
    yield replace(base, status=200)
    yield replace(base, status=413)
    yield replace(base, status=413, expects=True)
    if base.version == "1.0":
        # It knows no Expect and no chunks; nothing else in it is different.
        return
    if base.row == "waitress":
        return  # which has the body, so nothing is done
    # Over HTTP/2 there may be neither.
    unlike = ["none"] if base.version == "2" else ["chunked", "chunked, unterminated"]
    for status, use in itertools.product((200, 413), early + late):
        now = replace(base, status=status, use=use)
        yield now
        yield replace(now, expects=True)
        yield replace(now, is_behind_proxy=True)
        yield replace(now, framing=unlike[0])
    for framing in unlike[1:]:
        yield replace(base, framing=framing)
        yield replace(base, status=200, use="part", framing=framing)
    yield replace(base, expects=True, is_behind_proxy=True)
    # The body has been read whole: the status is looked at no more.
    yield replace(base, status=200, use="whole")
    yield replace(base, status=200, use="whole", expects=True)
    yield replace(base, status=200, use="whole", framing=unlike[0])
    # cheroot treats 413 unlike every other status; 302 is below 400 as 200 is.
    yield replace(base, status=302)
    yield replace(base, status=401)
    yield replace(base, status=401, use="part")
    # Bounds and the application's word decide about what is read at all: with one status.
    for policy, use in itertools.product(("max_bytes=50", "declined"), early + late):
        yield replace(base, use=use, policy=policy)
    if late:
        yield replace(base, use="late part")
        for status in (200, 413):
            yield replace(base, status=status, use="late", policy="late_read_bytes=120")
    # Responses that have no content, whatever is sent: no length is added.
    yield replace(base, status=200, method="HEAD")
    if base.answer in EMPTY:
        yield replace(base, status=204)
    # Each of these takes half a second.
    if base.row == "gunicorn reachable" and base.version == "1.1" and base.answer == "big, small":
        yield replace(base, status=200, is_quiet=True)
        yield replace(base, status=413, is_quiet=True)
        yield replace(base, status=200, use="late", is_quiet=True)


# --- one exchange ---------------------------------------------------------------------------------


class Application:
    """Answers as a scenario says, and remembers what it was given."""

    def __init__(self, scenario):
        self._scenario = scenario
        self._answer = ANSWERS[scenario.answer]
        self._is_late = False
        self.received = b""
        self.headers = []
        if self._answer.length:
            self.headers.append(("Content-Length", str(len(self._answer.data))))
        self.result = None

    def __call__(self, environ, start_response):
        scenario, answer = self._scenario, self._answer
        if scenario.policy == "declined" and CONTROL_KEY in environ:
            environ[CONTROL_KEY].policy = None
        self._read(environ, scenario.use)
        if answer.raises == "at once":
            raise RAISES
        if answer.again != "first late":
            write = start_response(STATUSES[scenario.status], list(self.headers))
            if answer.again == "at once":
                self._start_again(start_response)
            if answer.again == "wrongly":
                start_response(STATUSES[scenario.status], list(self.headers))
            for piece in answer.written:
                write(piece)
                self._read_late(environ)
        if answer.raises == "started":
            raise RAISES
        self.result = self._returned(environ, start_response)
        return self.result

    def _returned(self, environ, start_response):
        answer = self._answer
        if answer.kind == "list":
            return list(answer.pieces)
        if answer.kind == "file":
            return environ["wsgi.file_wrapper"](io.BytesIO(answer.data))
        raises = RAISES() if answer.raises == "in close" else None
        return Result(environ, self._pieces(environ, start_response), raises)

    def _pieces(self, environ, start_response):
        answer = self._answer
        if answer.again == "first late":
            start_response(STATUSES[self._scenario.status], list(self.headers))
        for piece in answer.pieces:
            if piece is RAISES:
                raise RAISES
            yield piece
            self._read_late(environ)
            if answer.again == "late":
                self._start_again(start_response)

    def _start_again(self, start_response):
        try:
            raise RAISES
        except RAISES:
            start_response("500 Internal Server Error", list(self.headers), sys.exc_info())

    def _read_late(self, environ):
        use = self._scenario.use
        if use.startswith("late") and not self._is_late:
            self._is_late = True
            environ["test.events"].append("application asks")
            self._read(environ, use.replace("late part", "part").replace("late", "whole"))

    def _read(self, environ, use):
        if use not in ("part", "whole"):
            return
        if _has_uwsgi_chunks(self._scenario):
            read = sys.modules["uwsgi"].chunked_read
            self.received += read() if use == "part" else b"".join(iter(read, b""))
            return
        stream = environ["wsgi.input"]
        self.received += stream.read(PART_BYTES) if use == "part" else stream.read()


def _has_uwsgi_chunks(scenario):
    return scenario.framing.startswith("chunked") and ROWS[scenario.row].server == "uwsgi"


def _request(scenario):
    fields = {
        "SERVER_PROTOCOL": f"HTTP/{scenario.version}",
        "REQUEST_METHOD": scenario.method,
    }
    if scenario.framing != "length":
        fields["length"] = None
    if scenario.framing.startswith("chunked"):
        fields["HTTP_TRANSFER_ENCODING"] = "chunked"
    if scenario.framing == "chunked":
        fields["wsgi.input_terminated"] = True
    if scenario.expects:
        fields["HTTP_EXPECT"] = "100-continue"
    if scenario.is_behind_proxy:
        fields["HTTP_X_FORWARDED_HOST"] = "example.org"
    return fields


def happens(scenario, *, row=None):
    """Serve one scenario, and return what happens as one line.

    Args:
        scenario: The scenario.
        row: Another row than the scenario's.
    """
    row = row or ROWS[scenario.row]
    app = Application(scenario)
    upload = QUIET_UPLOAD if scenario.is_quiet else UPLOAD
    source = ScriptedBody(upload)
    request = _request(scenario)

    with contextlib.ExitStack() as stack:
        connection = None
        if row.socket is not None:
            sends = b"" if scenario.is_quiet else b"x"
            connection = stack.enter_context(reachable(sends))["gunicorn.socket"]
            if row.socket.endswith(".socket"):
                request[row.socket] = connection
        if _has_uwsgi_chunks(scenario):
            stack.enter_context(_uwsgi_module(upload))

        def wrap(inner, policy, on_report):
            drained = DrainMiddleware(inner, policy, on_report=on_report)

            def serving(environ, start_response):
                events = environ["test.events"]
                environ["wsgi.input"] = _input(row, source, events, connection)
                if _has_uwsgi_chunks(scenario):
                    sys.modules["uwsgi"].events = events
                return drained(environ, Gateway(start_response, events, connection).start_response)

            return serving

        got = serve(
            app,
            source,
            policy=POLICIES[scenario.policy],
            wrap=wrap,
            server=row.server,
            **request,
            **({"CONTENT_LENGTH": str(sum(map(len, upload)))} if "length" not in request else {}),
        )
    return _told(app, got, b"".join(upload), ANSWERS[scenario.answer].data)


def _input(row, source, events, connection):
    stream = input_class(row.module)(source, events)
    if row.socket == "fileno":
        stream.fileno = connection.fileno
    elif row.socket == "rfile":
        stream.rfile = types.SimpleNamespace(fileno=connection.fileno)
    elif row.server == "uwsgi":
        stream.fileno = lambda: -1
    return stream


@contextlib.contextmanager
def _uwsgi_module(upload):
    """Let a process of uWSGI seem to be this one: its module reads chunked bodies."""
    module = types.ModuleType("uwsgi")
    chunks = list(upload)

    def chunked_read():
        module.events.append("read")
        return chunks.pop(0) if chunks else b""

    module.chunked_read = chunked_read
    before = sys.modules.get("uwsgi")
    sys.modules["uwsgi"] = module
    try:
        yield
    finally:
        del sys.modules["uwsgi"]
        if before is not None:
            sys.modules["uwsgi"] = before


_MERGED = ("read", "refuse reuse")


def _told(app, got, upload, answer):
    """Tell what happened, and what the reports and the application say of it."""
    told = []
    for event in got.events:
        if not (told and told[-1] == event and event in _MERGED):
            told.append(event)
    if "start" in told:
        at = len(told) - 1 - told[::-1].index("start")
        told[at] = " ".join(["start", *_added(app.headers, got.headers)])
    if not answer.startswith(got.body):
        told.append("WRONG ANSWER")
    if app.received:
        told.append(f"application read {len(app.received)}")
        if not upload.startswith(app.received):
            told.append("WRONG BODY")
    if app.result is not None and got.result is app.result:
        told.append("returned as it is")
    told += [f"reported {report.outcome.name} {report.bytes_discarded}" for report in got.reports]
    if got.raised is not None:
        told.append(f"raised {type(got.raised).__name__}")
    return "; ".join(told)


def _added(before, after):
    """Tell which fields drainkit has added to the response."""
    if after[: len(before)] != before:
        yield "OTHERWISE"
    for name, value in after[len(before) :]:
        yield f"+ {name}: {value}"


def all_that_happens(chosen, *, row=None):
    """Serve these scenarios; return what happens in each."""
    logger = logging.getLogger("drainkit")
    is_disabled, logger.disabled = logger.disabled, True
    try:
        return {scenario: happens(scenario, row=row) for scenario in chosen}
    finally:
        logger.disabled = is_disabled
