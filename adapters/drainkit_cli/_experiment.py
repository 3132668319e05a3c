"""The experiment of the demonstration: uploads without drainkit and with it, seen from both ends.

Rule 1: loopback only. No name is looked up and nothing but 127.0.0.1 is bound or called.
Rule 2: what is told was seen in this run; whatever happens, the server has ended when an upload
returns.
"""

from __future__ import annotations

import contextlib
import io
import socketserver
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from drainkit import DrainReport
from drainkit_clients import Answer, Upload, strict
from drainkit_wsgi import DrainMiddleware

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

LOOPBACK = "127.0.0.1"
STATUS = 413
PAGE = b"This file is too large. Please choose a smaller one.\n"

# The whole drain is over after DrainPolicy.max_seconds (20); the rest is for a slow machine.
TIMEOUT_SECONDS = 30.0

# How soon the server sees that it is to end; each upload waits for that once.
_POLL_SECONDS = 0.02


def answering_early(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer 413 and leave the body unread, as an upload limit or a login check does."""
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(PAGE)))]
    start_response(f"{STATUS} Content Too Large", headers)
    return [PAGE]


@dataclass(frozen=True, slots=True)
class Setting:
    """What the uploads go to.

    Attributes:
        server: The server that calls the application.
        proxy: What stands in front of it. ``None`` means nothing does.
        versions: The versions of both, where they are known, by name.
    """

    server: str = "wsgiref"
    proxy: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """Say it: ``gunicorn 27.0.1 behind nginx 1.22.1``."""
        names = [self.server, *([self.proxy] if self.proxy else [])]
        return " behind ".join(f"{name} {self.versions.get(name, '')}".strip() for name in names)


@dataclass(frozen=True, slots=True)
class Try:
    """One upload and what became of it.

    Attributes:
        answer: What the client got.
        report: What drainkit reported; ``None`` without drainkit, or when no body was left unread.
    """

    answer: Answer
    report: DrainReport | None

    @property
    def arrived(self) -> bool:
        """Whether the client has the application's answer, whole, and met no error."""
        answer = self.answer
        return answer.delivered and answer.status == STATUS and answer.body == PAGE


_ALONE = Setting()


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that one run saw.

    Attributes:
        size_bytes: The length of each upload's body.
        without: The uploads to the bare application.
        drained: The uploads to the application with drainkit around it.
        setting: What they went to.
        proxy_errors: What the proxy wrote into its log of errors, and how often.
    """

    size_bytes: int
    without: tuple[Try, ...]
    drained: tuple[Try, ...]
    setting: Setting = _ALONE
    proxy_errors: Mapping[str, int] = field(default_factory=dict)

    @property
    def lost_without(self) -> int:
        """How many answers were lost without drainkit."""
        return sum(not one.arrived for one in self.without)

    @property
    def arrived_drained(self) -> int:
        """How many answers arrived with drainkit."""
        return sum(one.arrived for one in self.drained)

    @property
    def convincing(self) -> bool:
        """Whether a loss was seen without drainkit, and with it every answer arrived."""
        return self.lost_without > 0 and self.arrived_drained == len(self.drained) > 0


class Uploader(Protocol):
    """Makes one upload to the application of the demonstration."""

    def __call__(self, size_bytes: int, *, drained: bool) -> Try:
        """Return what became of an upload of so many bytes, with drainkit there or not."""
        ...


class Teller(Protocol):
    """Is told of each upload: whether drainkit was there, its number from 1, what was seen."""

    def __call__(self, drained: bool, number: int, one: Try, /) -> object:
        """Note one upload."""
        ...


def observe(size_bytes: int, tries: int, *, upload: Uploader, tell: Teller) -> Observation:
    """Upload without drainkit, then with it.

    Args:
        size_bytes: The length of each upload's body.
        tries: How many uploads each way; the loss is a race, and one upload may win it.
        upload: Makes one upload.
        tell: Told of each upload.

    Raises:
        OSError: No port of the loopback interface could be bound.
    """
    halves: list[tuple[Try, ...]] = []
    for drained in (False, True):
        half = []
        for number in range(1, tries + 1):
            one = upload(size_bytes, drained=drained)
            half.append(one)
            tell(drained, number, one)
        halves.append(tuple(half))
    without, drained_ones = halves
    return Observation(size_bytes, without, drained_ones)


def upload(size_bytes: int, application: WSGIApplication, *, drained: bool) -> Try:
    """Serve an application for one upload, and make that upload.

    Raises:
        OSError: No port of the loopback interface could be bound.
    """
    reports: list[DrainReport] = []
    if drained:
        application = DrainMiddleware(application, on_report=reports.append)
    with serving(application) as address:
        answer = ask(address, size_bytes)
    # The server has finished the request by now, so the report is here if there is one.
    return Try(answer, reports[0] if reports else None)


def ask(address: tuple[str, int], size_bytes: int) -> Answer:
    """Upload as a client that sends everything before it reads, on a connection of its own."""
    return strict(address, Upload(size_bytes=size_bytes), timeout_seconds=TIMEOUT_SECONDS)


class _Server(WSGIServer):
    def server_bind(self) -> None:
        # As HTTPServer.server_bind, without its question to the resolver for our own name.
        socketserver.TCPServer.server_bind(self)
        self.server_name = LOOPBACK
        self.server_port = self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that lost its answer is what the demonstration is about."""


class _Handler(WSGIRequestHandler):
    # A client that was interrupted must not hold the server.
    timeout = TIMEOUT_SECONDS

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the screen belongs to the demonstration."""

    def get_stderr(self) -> io.StringIO:
        return io.StringIO()


@contextlib.contextmanager
def serving(application: WSGIApplication) -> Iterator[tuple[str, int]]:
    """Serve on a free port until the block ends; then the request, thread and socket have ended."""
    server = _Server((LOOPBACK, 0), _Handler)
    server.set_app(application)

    def serve() -> None:
        # Closed here: a Ctrl-C may come before anybody could wait for this thread.
        with server:
            server.serve_forever(_POLL_SECONDS)

    # Daemonic for the sake of an impatient second Ctrl-C.
    thread = threading.Thread(target=serve, name="drainkit demo", daemon=True)
    try:
        thread.start()
        yield (LOOPBACK, server.server_port)
    finally:
        if thread.is_alive():
            server.shutdown()
            thread.join()
