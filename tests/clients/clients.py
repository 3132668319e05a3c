"""The clients that people use, as clients of the conformance kit: ``CLIENTS``, by name.

Each uploads once, on a connection of its own, and tells what it had; a loss is an `Answer` with an
error. What a client raises when it has no answer is told in its own words, without the address.
"""

import asyncio
import contextlib
import dataclasses
import functools
import gc
import http.client
import importlib.util
import json
import ssl
import subprocess
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Literal

from drainkit_clients import Answer, Upload, eager, strict
from drainkit_conformance import CASES, Case, Client
from tests.clients import browser
from tests.servers.harness import find_program

Address = tuple[str, int]
Protocol = Literal["h1", "tls", "h2c", "h2"]
PROTOCOLS: tuple[Protocol, ...] = ("h1", "tls", "h2c", "h2")

_PIECE_BYTES = 64 * 1024
# So long after a client's own limit it is killed.
_GRACE_SECONDS = 3.0
_TOLD_CHARACTERS = 160


@dataclass
class _Counted:
    """A body that tells how much of it was taken: a file to some clients, pieces to others."""

    upload: Upload
    taken_bytes: int = 0

    def read(self, size: int = -1) -> bytes:
        data = self.upload.slice(self.taken_bytes, self.upload.size_bytes if size < 0 else size)
        self.taken_bytes += len(data)
        return data

    def __iter__(self) -> Iterator[bytes]:
        while data := self.read(_PIECE_BYTES):
            yield data

    async def pieces(self) -> AsyncIterator[bytes]:
        for data in self:
            yield data

    def __len__(self) -> int:
        return self.upload.size_bytes


@dataclass
class _Seen:
    """What a client had so far."""

    started: float = field(default_factory=time.monotonic)
    status: int | None = None
    body: bytes = b""
    first_byte_seconds: float | None = None

    def first_byte(self, status: int) -> None:
        self.status = status
        self.first_byte_seconds = time.monotonic() - self.started

    def answer(self, sent_bytes: int, error: str | None = None) -> Answer:
        return Answer(
            status=self.status,
            headers=(),
            body=self.body,
            complete=error is None,
            sent_bytes=sent_bytes,
            error=error,
            first_byte_seconds=self.first_byte_seconds,
            sent_at_first_byte_bytes=None,
            seconds=time.monotonic() - self.started,
            ended="open",
        )


def _url(address: Address, upload: Upload, context: ssl.SSLContext | None) -> str:
    scheme = "http" if context is None else "https"
    return f"{scheme}://{address[0]}:{address[1]}{upload.path}"


def _told(error: BaseException, address: Address) -> str:
    """Return an error in words that are the same in each try."""
    words = str(error).replace(f"{address[0]}:{address[1]}", "the server")
    return f"{type(error).__name__}: {words}"[:_TOLD_CHARACTERS].rstrip(": ")


def _in_python(
    exchange: Callable[[_Seen, _Counted, Address, Upload, float, ssl.SSLContext | None], None],
) -> Client:
    """Make a client of a function that uploads and fills in what it saw, or raises."""

    @functools.wraps(exchange)
    def client(
        address: Address,
        upload: Upload,
        *,
        timeout_seconds: float,
        ssl_context: ssl.SSLContext | None = None,
    ) -> Answer:
        seen, body = _Seen(), _Counted(upload)
        try:
            exchange(seen, body, address, upload, timeout_seconds, ssl_context)
        except Exception as error:
            # Whatever a library raises is what its user has instead of an answer.
            return seen.answer(body.taken_bytes, _told(error, address))
        return seen.answer(body.taken_bytes)

    return client


@_in_python
def _http_client(
    seen: _Seen,
    body: _Counted,
    address: Address,
    upload: Upload,
    timeout_seconds: float,
    context: ssl.SSLContext | None,
) -> None:
    connection = (
        http.client.HTTPConnection(*address, timeout=timeout_seconds, blocksize=_PIECE_BYTES)
        if context is None
        else http.client.HTTPSConnection(
            *address, timeout=timeout_seconds, blocksize=_PIECE_BYTES, context=context
        )
    )
    with contextlib.closing(connection):
        length = {"Content-Length": str(upload.size_bytes)}
        connection.request(upload.method, upload.path, body=body, headers=length)
        answer = connection.getresponse()
        seen.first_byte(answer.status)
        seen.body = answer.read()


@_in_python
def _requests(
    seen: _Seen,
    body: _Counted,
    address: Address,
    upload: Upload,
    timeout_seconds: float,
    context: ssl.SSLContext | None,
) -> None:
    import requests

    with requests.Session() as session, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nobody has signed the certificate, and it says so
        session.trust_env = False
        with session.request(
            upload.method,
            _url(address, upload, context),
            data=body,
            allow_redirects=False,
            timeout=timeout_seconds,
            stream=True,
            verify=False,
        ) as answer:
            seen.first_byte(answer.status_code)
            seen.body = answer.content


def _httpx(*, http2: bool) -> Client:
    @_in_python
    def exchange(
        seen: _Seen,
        body: _Counted,
        address: Address,
        upload: Upload,
        timeout_seconds: float,
        context: ssl.SSLContext | None,
    ) -> None:
        import httpx

        length = {"Content-Length": str(upload.size_bytes)}
        with (
            httpx.Client(
                trust_env=False,
                timeout=timeout_seconds,
                verify=context or False,
                http1=not http2,
                http2=http2,
            ) as client,
            client.stream(
                upload.method,
                _url(address, upload, context),
                content=iter(body),
                headers=length,
            ) as answer,
        ):
            seen.first_byte(answer.status_code)
            seen.body = answer.read()

    return exchange


@_in_python
def _aiohttp(
    seen: _Seen,
    body: _Counted,
    address: Address,
    upload: Upload,
    timeout_seconds: float,
    context: ssl.SSLContext | None,
) -> None:
    import aiohttp

    async def exchange() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                upload.method,
                _url(address, upload, context),
                data=body.pieces(),
                headers={"Content-Length": str(upload.size_bytes)},
                allow_redirects=False,
                ssl=context or False,
            ) as answer,
        ):
            seen.first_byte(answer.status)
            seen.body = await answer.read()

    with warnings.catch_warnings():
        # aiohttp leaves a connection that it had to give up in mid-upload to the collector.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            asyncio.run(asyncio.wait_for(exchange(), timeout_seconds))
        finally:
            gc.collect()


@_in_python
def _raw_http2(
    seen: _Seen,
    body: _Counted,
    address: Address,
    upload: Upload,
    timeout_seconds: float,
    context: ssl.SSLContext | None,
) -> None:
    from tests.servers.http2_client import Http2Connection

    deadline = time.monotonic() + timeout_seconds
    with Http2Connection(address, ssl_context=context) as connection:
        stream = connection.request(upload.path, upload.size_bytes, method=upload.method)
        try:
            connection.run(
                lambda: stream.status is not None or stream.is_over,
                timeout_seconds=timeout_seconds,
            )
            if stream.status is not None:
                seen.first_byte(stream.status)
                if stream.status >= HTTPStatus.BAD_REQUEST:
                    # As the raw client of HTTP/1.1 does: it sends no more, and waits for the end.
                    stream.first_bytes = stream.sent_bytes
                    stream.is_sent = True
                connection.run(lambda: stream.is_over, timeout_seconds=deadline - time.monotonic())
        finally:
            body.taken_bytes = stream.sent_bytes
        seen.body = stream.body
        if not stream.is_complete:
            raise ConnectionError(
                f"stream reset with {stream.reset}"
                if stream.reset is not None
                else connection.closed or "timed out"
            )


# --- programs ------------------------------------------------------------------------------------


def _curl(kit: "Kit", *version: str) -> Client:
    def client(
        address: Address,
        upload: Upload,
        *,
        timeout_seconds: float,
        ssl_context: ssl.SSLContext | None = None,
    ) -> Answer:
        body = kit.folder / "curl-body"
        body.unlink(missing_ok=True)
        done = subprocess.run(
            [
                *(str(find_program("curl")), "--silent", "--show-error", "--insecure", *version),
                *("--max-time", str(timeout_seconds), "--noproxy", "*", "--header", "Expect:"),
                *("--request", upload.method, "--upload-file", str(kit.file(upload))),
                *("--output", str(body), "--write-out", "%{json}"),
                _url(address, upload, ssl_context),
            ],
            capture_output=True,
            timeout=timeout_seconds + _GRACE_SECONDS,
            check=False,
        )
        said = json.loads(done.stdout)
        seen = _Seen(started=time.monotonic() - said["time_total"])
        seen.status = said["http_code"] or None
        # Its time_starttransfer is when it began to send: when it had the first byte is not told.
        seen.body = body.read_bytes() if body.exists() else b""
        error = None if done.returncode == 0 else done.stderr.decode().strip()
        return seen.answer(said["size_upload"], error and error.partition("\n")[0])

    return client


# What both do: read the file, upload it, and print one line about it with the body behind it.
_NODE = """
import {readFileSync, writeSync} from "node:fs";
import http from "node:http";
import https from "node:https";
const [how, url, file, method] = process.argv.slice(1);
const body = readFileSync(file);
let first = null, status = null;
const started = performance.now();
const since = (then) => then === null ? null : (then - started) / 1000;
const told = (error, pieces) => {
  const line = {status, error, first: since(first), seconds: since(performance.now())};
  let out = Buffer.concat([Buffer.from(JSON.stringify(line) + "\\n"), ...pieces]);
  while (out.length) out = out.subarray(writeSync(1, out));
  process.exit(0);
};
const why = (error) => String(error.cause?.code ?? error.code ?? error.cause ?? error);
if (how === "fetch") {
  try {
    const answer = await fetch(url, {method, body, redirect: "manual"});
    [first, status] = [performance.now(), answer.status];
    told(null, [Buffer.from(await answer.arrayBuffer())]);
  } catch (error) { told(why(error), []); }
} else {
  const request = (url.startsWith("https") ? https : http).request(
    url, {method, headers: {"Content-Length": body.length}, rejectUnauthorized: false});
  request.on("error", (error) => told(why(error), []));
  request.on("response", (answer) => {
    [first, status] = [performance.now(), answer.statusCode];
    const pieces = [];
    answer.on("data", (piece) => pieces.push(piece));
    answer.on("error", (error) => told(why(error), pieces));
    answer.on("end", () => told(null, pieces));
  });
  request.end(body);
}
"""


def _node(kit: "Kit", how: Literal["fetch", "http"]) -> Client:
    def client(
        address: Address,
        upload: Upload,
        *,
        timeout_seconds: float,
        ssl_context: ssl.SSLContext | None = None,
    ) -> Answer:
        seen = _Seen()
        try:
            done = subprocess.run(
                [
                    *(str(find_program("node")), "--input-type=module", "--eval", _NODE, how),
                    *(_url(address, upload, ssl_context), str(kit.file(upload)), upload.method),
                ],
                capture_output=True,
                env={"NODE_TLS_REJECT_UNAUTHORIZED": "0", "NODE_NO_WARNINGS": "1"},
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return seen.answer(0, "timed out")
        line, _, seen.body = done.stdout.partition(b"\n")
        if not line:
            words = done.stderr.decode().strip().splitlines() or ["ended without a word"]
            return seen.answer(0, words[-1][:_TOLD_CHARACTERS])
        said = json.loads(line)
        seen.started = time.monotonic() - said["seconds"]
        seen.status, seen.first_byte_seconds = said["status"], said["first"]
        return seen.answer(0, said["error"])

    return client


# --- the table -----------------------------------------------------------------------------------


class Kit:
    """What the clients need while they run: a folder, the bodies in files, Chromium."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(
            prefix="drainkit-clients-", ignore_cleanup_errors=True
        )
        self.folder = Path(self._folder.name)
        self.browsers = browser.Browsers()

    def __enter__(self) -> "Kit":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self._folder.cleanup)
            stack.callback(self.browsers.close)

    def file(self, upload: Upload) -> Path:
        """Return the file that holds an upload's body; it is written once."""
        path = self.folder / f"{upload.size_bytes}.bin"
        if not path.exists():
            path.write_bytes(upload.body())
        return path


def _closing(client: Client) -> Client:
    """Return a client that says ``Connection: close``."""

    def closing(
        address: Address,
        upload: Upload,
        *,
        timeout_seconds: float,
        ssl_context: ssl.SSLContext | None = None,
    ) -> Answer:
        return client(
            address,
            dataclasses.replace(upload, connection="close"),
            timeout_seconds=timeout_seconds,
            ssl_context=ssl_context,
        )

    return closing


Make = Callable[["Kit"], Client]


def _same(client: Client) -> Make:
    return lambda kit: client


def _chromium(how: browser.How, *, http2: bool) -> Make:
    return lambda kit: kit.browsers.client(how, http2=http2, file_of=kit.file)


@dataclass(frozen=True, slots=True)
class RealClient:
    """One row of the table.

    Attributes:
        name: What the tests and the matrix call it.
        http1: Makes the client for HTTP/1.1, plain or over TLS.
        http2: Makes it for HTTP/2; None where it speaks none.
        requires: The modules without which it cannot run.
        programs: The programs without which it cannot run.
        reads_early: Whether it reads while it sends.
        counts: Whether it knows how many bytes it sent; its ``sent_bytes`` are 0 if not.
        any_upload: Whether it can send each upload as it is described; the others send the body
            with its Content-Length on a connection that may stay open.
    """

    name: str
    http1: Make | None
    http2: Make | None = None
    requires: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    reads_early: bool = False
    counts: bool = True
    any_upload: bool = False

    def missing(self) -> str | None:
        """Return the first thing that it needs and that is not here; None if it can run."""
        modules = [name for name in self.requires if importlib.util.find_spec(name) is None]
        programs = [name for name in self.programs if find_program(name) is None]
        return next(iter(modules + programs), None)

    def maker(self, protocol: Protocol) -> Make | None:
        """Return what makes the client for a protocol; None where it does not speak that."""
        return self.http1 if protocol in ("h1", "tls") else self.http2

    def can_send(self, upload: Upload) -> bool:
        """Return whether it can send an upload as it is described."""
        plain = Upload(path=upload.path, method=upload.method, size_bytes=upload.size_bytes)
        return self.any_upload or upload == plain


CLIENTS: dict[str, RealClient] = {
    client.name: client
    for client in (
        RealClient("strict", _same(strict), any_upload=True),
        RealClient("strict-close", _same(_closing(strict)), any_upload=True),
        RealClient(
            "eager", _same(eager), _same(_raw_http2), ("h2",), reads_early=True, any_upload=True
        ),
        RealClient("eager-close", _same(_closing(eager)), reads_early=True, any_upload=True),
        RealClient("http.client", _same(_http_client)),
        RealClient("requests", _same(_requests), requires=("requests",)),
        RealClient("httpx", _same(_httpx(http2=False)), _same(_httpx(http2=True)), ("httpx", "h2")),
        RealClient("aiohttp", _same(_aiohttp), requires=("aiohttp",), reads_early=True),
        RealClient(
            "curl",
            lambda kit: _curl(kit, "--http1.1"),
            lambda kit: _curl(kit, "--http2-prior-knowledge"),
            programs=("curl",),
            reads_early=True,
        ),
        RealClient(
            "node-fetch",
            lambda kit: _node(kit, "fetch"),
            programs=("node",),
            reads_early=True,
            counts=False,
        ),
        RealClient(
            "node-http",
            lambda kit: _node(kit, "http"),
            programs=("node",),
            reads_early=True,
            counts=False,
        ),
        RealClient(
            "chromium-form",
            _chromium("form", http2=False),
            _chromium("form", http2=True),
            programs=("chromium",),
            counts=False,
        ),
        RealClient(
            "chromium-fetch",
            _chromium("fetch", http2=False),
            _chromium("fetch", http2=True),
            programs=("chromium",),
            counts=False,
        ),
    )
}


def answers(size_bytes: int) -> dict[str, Case]:
    """Return what every client should have, by name: a 200, a 302, a 413 and a page of 4 MB.

    Args:
        size_bytes: How much is uploaded for it.
    """
    same = [CASES[name] for name in ("200", "302", "413-16MiB-length-keep-alive", "page")]
    return {
        (name := case.upload.path[1:]): dataclasses.replace(
            case,
            row="answers",
            name=name,
            upload=dataclasses.replace(case.upload, size_bytes=size_bytes),
        )
        for case in same
    }


def insecure_context() -> ssl.SSLContext:
    """Return a context for servers whose certificate nobody has signed."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
