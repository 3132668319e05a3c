"""The combinations of one early answer under ASGI, and what happens in each.

The applications send their messages one behind the other and wait for nothing between them, unless
they receive. Nobody is cancelled, and no ``send()`` fails.
"""

import contextlib
import functools
import itertools
import logging
import sys
from dataclasses import dataclass, replace
from typing import Any

import anyio

from drainkit import CONTROL_KEY, DrainPolicy
from drainkit.testing import Silence
from drainkit_asgi import DrainMiddleware
from tests.adapters.asgi_server import (
    GRANIAN,
    GRANIAN_2,
    GUNICORN,
    HYPERCORN,
    KIB,
    UVICORN,
    Kind,
    backend,
    body,
    serve,
    start,
)

# --- servers --------------------------------------------------------------------------------------

AIOHTTP = Kind("aiohttp_asgi.resource", gives_after_end=True, invites_on_receive=False)
DAPHNE = Kind("daphne.server", invites_on_receive=False)
# A module of its own: drainkit may remember what it has found for others.
UNKNOWN = Kind("golden.unknown_server", ends_at_length=True)
UNKNOWN_2 = Kind("golden.unknown_server")

HTTP_1 = ("1.0", "1.1")


@dataclass(frozen=True)
class Row:
    """A server, and the versions of HTTP in which it is served.

    Attributes:
        http_1: How it behaves.
        later: How it behaves over HTTP/2 and HTTP/3.
        versions: Those that it speaks.
        invites_eagerly: It sends 100 Continue by itself, so that the body comes like any other.
        is_behind: Whether something wraps ``receive``, and not ``send``.
    """

    http_1: Kind
    later: Kind
    versions: tuple[str, ...]
    invites_eagerly: bool = False
    is_behind: bool = False


ROWS = {
    "uvicorn": Row(UVICORN, UVICORN, (*HTTP_1, "2")),
    "hypercorn": Row(HYPERCORN, HYPERCORN, (*HTTP_1, "2", "3"), invites_eagerly=True),
    "granian": Row(GRANIAN, GRANIAN_2, (*HTTP_1, "2")),
    "gunicorn": Row(GUNICORN, GUNICORN, (*HTTP_1, "2")),
    "aiohttp-asgi": Row(AIOHTTP, AIOHTTP, HTTP_1, invites_eagerly=True),
    "unknown": Row(UNKNOWN, UNKNOWN_2, (*HTTP_1, "2", "3")),
    "uvicorn behind": Row(UVICORN, UVICORN, ("1.1", "2"), is_behind=True),
    "granian behind": Row(GRANIAN, GRANIAN_2, ("1.1", "2"), is_behind=True),
    "daphne": Row(DAPHNE, DAPHNE, ("1.1",), invites_eagerly=True),
}

PACKAGES = ("uvicorn", "hypercorn", "granian", "gunicorn", "aiohttp_asgi", "daphne")


@contextlib.contextmanager
def no_server_loaded():
    """Let no server be loaded in this process: drainkit would take the unknown one for it."""
    hidden = {name for name in sys.modules if name.partition(".")[0] in PACKAGES}
    modules = {name: sys.modules.pop(name) for name in hidden}
    try:
        yield
    finally:
        sys.modules.update(modules)


# --- answers --------------------------------------------------------------------------------------


class ApplicationError(Exception):
    """Raised by an application on purpose."""


BIG = b"r" * (64 * KIB + 1)
PATHSEND = {"type": "http.response.pathsend", "path": "/etc/hostname"}
TRAILERS = {"type": "http.response.trailers", "headers": [(b"x", b"y")], "more_trailers": False}
HINT = {"type": "http.response.early_hint", "links": [b"</style.css>"]}
RAISES = ApplicationError


def _length(nbytes):
    return [(b"content-length", b"%d" % nbytes)]


def _trailers(status, headers=()):
    return start(status, headers, trailers=True)


# Each a function of the status, that returns the messages; an exception class is raised.
ANSWERS = {
    "whole": lambda s: [start(s), body(b"hello")],
    "whole empty": lambda s: [start(s), body()],
    "whole big": lambda s: [start(s), body(BIG)],
    "whole, length": lambda s: [start(s, _length(5)), body(b"hello")],
    "two": lambda s: [start(s), body(b"hel", True), body(b"lo")],
    "one, end": lambda s: [start(s), body(b"hello", True), body()],
    "two, end": lambda s: [start(s), body(b"hel", True), body(b"lo", True), body()],
    "empty, one": lambda s: [start(s), body(b"", True), body(b"hello")],
    "big, small": lambda s: [start(s), body(BIG, True), body(b"hello")],
    "small, big": lambda s: [start(s), body(b"hello", True), body(BIG)],
    "big, end": lambda s: [start(s), body(BIG, True), body()],
    "many, end": lambda s: [start(s), *[body(b"r" * 16 * KIB, True)] * 6, body()],
    "length, two": lambda s: [start(s, _length(5)), body(b"hel", True), body(b"lo")],
    "length, two, end": lambda s: [
        start(s, _length(5)),
        body(b"hel", True),
        body(b"lo", True),
        body(),
    ],
    "length, big, end": lambda s: [start(s, _length(len(BIG))), body(BIG, True), body()],
    "length, small, big": lambda s: [
        start(s, _length(5 + len(BIG))),
        body(b"hello", True),
        body(BIG),
    ],
    "pathsend": lambda s: [start(s), PATHSEND],
    "trailers": lambda s: [_trailers(s), TRAILERS],
    "one, trailers": lambda s: [_trailers(s), body(b"hello"), TRAILERS],
    "two, trailers": lambda s: [_trailers(s), body(b"hel", True), body(b"lo"), TRAILERS],
    "length, one, trailers": lambda s: [_trailers(s, _length(5)), body(b"hello"), TRAILERS],
    "big, trailers": lambda s: [_trailers(s), body(BIG), TRAILERS],
    "hint, whole": lambda s: [HINT, start(s), body(b"hello")],
    "nothing": lambda s: [],
    "raises": lambda s: [RAISES],
    "start": lambda s: [start(s)],
    "start, raises": lambda s: [start(s), RAISES],
    "one, raises": lambda s: [start(s), body(b"hello", True), RAISES],
    "one, no end": lambda s: [start(s), body(b"hello", True)],
    "length, two, no end": lambda s: [start(s, _length(5)), body(b"hel", True), body(b"lo", True)],
}
EMPTY = ("whole empty", "start", "start, raises")
# With a second message of the body, in front of which the application may receive.
IN_PIECES = tuple(
    name
    for name, answer in ANSWERS.items()
    if sum(m is RAISES or m["type"] == "http.response.body" for m in answer(200)) > 1
    and answer(200)[1] is not RAISES
)
BIG_ONES = tuple(name for name in ANSWERS if "big" in name or "many" in name)

# --- combinations ---------------------------------------------------------------------------------

# What the application receives: nothing; before its answer the first message, or all; behind the
# first piece of its answer the first message, or all; behind its answer one message.
USES = ("untouched", "first", "whole", "late first", "late", "after")
PROXIES = {
    "": [],
    "x-forwarded-host": [(b"x-forwarded-host", b"example.org")],
    "connection: close": [(b"connection", b"close")],
}
POLICIES = {
    "": DrainPolicy(),
    "max_bytes=100": DrainPolicy(max_bytes=100),
    "late_read_bytes=600": DrainPolicy(late_read_bytes=600),
    "declined": DrainPolicy(),
}
UPLOAD = [b"a" * 500, b"b" * 300, b"c" * 200]
# A moment passes before its first piece, and half a second while a big piece of the answer is sent:
# so what is received while it is sent is told behind it, in whichever order the tasks have run.
SOON = [Silence(0.001), *UPLOAD]
SEND_SECONDS = 0.5
SLOW = [Silence(1), UPLOAD[0], Silence(1), UPLOAD[1], Silence(1), UPLOAD[2]]


@dataclass(frozen=True)
class Scenario:
    """One combination.

    Attributes:
        row: The server's, of `ROWS`.
        version: Of HTTP.
        answer: Of `ANSWERS`.
        status: The status.
        use: What is received, of `USES`.
        expects: Whether the client waits for an invitation.
        proxy: What says that a proxy is in front, of `PROXIES`.
        has_length: Whether the upload has a Content-Length.
        is_slow: Whether a second passes before each piece of the upload.
        method: The method.
        policy: Of `POLICIES`.
    """

    row: str
    version: str
    answer: str
    status: int = 413
    use: str = "untouched"
    expects: bool = False
    proxy: str = ""
    has_length: bool = True
    is_slow: bool = False
    method: str = "POST"
    policy: str = ""

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
                    self.proxy,
                    "" if self.has_length else "no length",
                    "slow" if self.is_slow else "",
                    "" if self.method == "POST" else self.method,
                    self.policy,
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
        for version, answer in itertools.product(row.versions, ANSWERS):
            for scenario in _of(Scenario(name, version, answer)):
                found[scenario.key] = scenario
    return list(found.values())


def _of(base):
    early = ["untouched", "first"]
    # Who is invited by the start of the answer alone sends nothing: whoever then receives waits for
    # ever, with and without drainkit. So nobody who expects is received from late.
    late = ["late"] if base.answer in IN_PIECES else []
    for status, use in itertools.product((200, 413), early):
        now = replace(base, status=status, use=use)
        yield now
        yield replace(now, expects=True)
        # The length tells of doomed drains and of the last byte; neither has to do with a proxy.
        yield replace(now, has_length=False)
        # That proxy matters to answers that fit no buffer, and the field exists in HTTP/1 only.
        if base.version in HTTP_1 and base.answer in BIG_ONES:
            yield replace(now, proxy="connection: close")
    # The body has been received whole: neither status nor proxy is looked at any more.
    yield replace(base, status=200, use="whole")
    yield replace(base, status=200, use="whole", expects=True)
    yield replace(base, status=200, use="whole", has_length=False)
    if base.version == "1.0":
        # It is a proxy's sign, knows no Expect and no chunks, and nothing else in it is different.
        return
    for status, use in itertools.product((200, 413), early + late):
        now = replace(base, status=status, use=use)
        yield now
        yield replace(now, proxy="x-forwarded-host")
        yield replace(now, is_slow=True)
        yield replace(now, has_length=False)
    for status in (200, 413):
        yield replace(base, status=status, expects=True, proxy="x-forwarded-host")
        yield replace(base, status=status, expects=True, has_length=False)
    # 302 is below 400 as 200 is: with it only what an application does most.
    yield replace(base, status=302)
    yield replace(base, status=302, expects=True)
    yield replace(base, use="after")
    # Bounds and the application's word decide about `connection: close`, and about what is read
    # at all, not about the order: with one status.
    for policy, use in itertools.product(("max_bytes=100", "declined"), early + late):
        # Small pieces take no time, so what is received beside them is the event loop's business.
        if base.answer != "many, end" or use == "untouched":
            yield replace(base, use=use, policy=policy)
    yield replace(base, policy="max_bytes=100", has_length=False)
    if late:
        yield replace(base, use="late first")
        for status, is_slow in itertools.product((200, 413), (False, True)):
            yield replace(
                base, status=status, use="late", policy="late_read_bytes=600", is_slow=is_slow
            )
    # Responses that have no content, whatever is sent: no length is added.
    for expects in (False, True):
        yield replace(base, status=200, method="HEAD", expects=expects)
        if base.answer in EMPTY:
            yield replace(base, status=204, expects=expects)


# --- one exchange ---------------------------------------------------------------------------------


class Application:
    """Answers as a scenario says, and remembers what it was given."""

    def __init__(self, scenario):
        self._scenario = scenario
        self.messages = ANSWERS[scenario.answer](scenario.status)
        self.received = b""
        self.told = []

    async def __call__(self, scope, receive, send):
        use = self._scenario.use
        if self._scenario.policy == "declined" and CONTROL_KEY in scope:
            scope[CONTROL_KEY].policy = None
        if use in ("first", "whole"):
            await self._take(receive, to_end=use == "whole")
        first = True
        for message in self.messages:
            if message is RAISES:
                raise RAISES
            await send(message)
            if first and message["type"] == "http.response.body" and use.startswith("late"):
                first = False
                await self._take(receive, to_end=use == "late")
        if use == "after":
            await self._take(receive, to_end=False)

    async def _take(self, receive, *, to_end):
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                self.told.append(message["type"])
                return
            self.received += message["body"]
            more = message["more_body"]
            if not more:
                self.told.append("to its end")
            if not to_end:
                return


def _behind(app, policy, on_report):
    inner = DrainMiddleware(app, policy, on_report=on_report)

    async def wrapping(scope, receive, send):
        async def other_receive():
            return await receive()

        await inner(scope, other_receive, send)

    return wrapping


def _is_strict(scenario):
    """Tell whether the client reads nothing before it has sent everything.

    It and whoever leaves its body wait for each other for ever, with and without drainkit: so it
    is one only where drainkit takes bodies.
    """
    if scenario.policy in ("max_bytes=100", "declined") or scenario.row == "daphne":
        return False
    if scenario.has_length or scenario.version == "1.1":
        return True
    # Over HTTP/1.0 nobody can tell the body's end; over HTTP/2 uvicorn does not tell it.
    return scenario.version != "1.0" and not scenario.row.startswith("uvicorn")


async def happens(scenario, *, row=None):
    """Serve one scenario, and return what happens as one line.

    Args:
        scenario: The scenario.
        row: Another row than the scenario's.
    """
    row = row or ROWS[scenario.row]
    app = Application(scenario)
    headers = list(PROXIES[scenario.proxy])
    expects = scenario.expects
    # Neither a client that is invited at once nor one of HTTP/1.0 waits.
    if expects and (row.invites_eagerly or scenario.version == "1.0"):
        expects = False
        headers.append((b"expect", b"100-continue"))
    request: dict[str, Any] = {"chunked": not scenario.has_length and scenario.version in HTTP_1}
    if not scenario.has_length:
        request["length"] = None
    got = await serve(
        app,
        SLOW if scenario.is_slow else SOON,
        kind=row.http_1 if scenario.version in HTTP_1 else row.later,
        policy=POLICIES[scenario.policy],
        wrap=_behind if row.is_behind else DrainMiddleware,
        expects=expects,
        strict_client=_is_strict(scenario),
        send_seconds=SEND_SECONDS,
        http_version=scenario.version,
        headers=headers,
        method=scenario.method,
        **request,
    )
    return _told(app, got)


def _told(app, got):
    """Tell what happened, and what the reports and the application say of it."""
    told = list(got.events)
    if "start" in told:
        told[told.index("start")] = " ".join(["start", *_added(app.messages, got.messages)])
    answered = b"".join(m.get("body", b"") for m in app.messages if m is not RAISES)
    if not answered.startswith(got.body):
        told.append("WRONG ANSWER")
    if app.received or app.told:
        told.append(" ".join(["application received", f"{len(app.received)}", *app.told]))
        if not b"".join(UPLOAD).startswith(app.received):
            told.append("WRONG BODY")
    told += [f"reported {report.outcome.name} {report.bytes_discarded}" for report in got.reports]
    if got.raised is not None:
        told.append(f"raised {type(got.raised).__name__}")
    return "; ".join(told)


def _added(asked, sent):
    """Tell which fields drainkit has added to the response."""
    (before,) = (m for m in asked if m is not RAISES and m["type"] == "http.response.start")
    (after,) = (m for m in sent if m["type"] == "http.response.start")
    count = len(before["headers"])
    if {**after, "headers": after["headers"][:count]} != before:
        yield "OTHERWISE"
    for name, value in after["headers"][count:]:
        yield f"+ {name.decode()}: {value.decode()}"


def all_that_happens(chosen, *, backend_name="asyncio", row=None):
    """Serve these scenarios; return what happens in each."""
    name, options = backend(backend_name)
    sequences = {}

    async def main():
        for scenario in chosen:
            try:
                sequences[scenario] = await happens(scenario, row=row)
            except (AssertionError, TimeoutError) as error:
                text = " ".join(str(error).split())
                sequences[scenario] = f"{type(error).__name__}: {text}"

    logger = logging.getLogger("drainkit")
    with no_server_loaded():
        is_disabled, logger.disabled = logger.disabled, True
        try:
            anyio.run(main, backend=name, backend_options=options)
        finally:
            logger.disabled = is_disabled
    return sequences
