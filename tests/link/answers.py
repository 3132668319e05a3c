"""When a client has its answer over each link, and what it sent for it: ``docs/links.json``.

An upload that is refused at once, to a server with drainkit and with what a site could take
instead. What a client sends is counted on the link, with IP headers: it is what a person pays for.
"""

import contextlib
import dataclasses
import datetime
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from drainkit_clients import Answer, Upload, eager
from tests.bench.alternatives import DRAINKIT, HANDLER, NONE, SNIPPET
from tests.clients.browser import BrowserError, Browsers
from tests.clients.clients import Kit
from tests.link.emulated import Emulated, emulated
from tests.link.links import LINKS, Link
from tests.revision import recorded
from tests.servers import harness, proxies

ROOT = Path(__file__).resolve().parents[2]

BUFFERED = "nginx as it comes"
CONTENDERS = (NONE, DRAINKIT, SNIPPET, HANDLER, BUFFERED)
SERVER = "gunicorn-gthread"
CLIENTS = ("eager", "chromium-form")
STATUS = 413
SIZE_BYTES = 200_000_000

# Where the served application finds itself and tests.bench.alternatives.
_PYTHONPATH = os.pathsep.join(
    [str(ROOT / "tests" / "bench" / "apps"), str(ROOT), str(ROOT / "adapters")]
)
_NGINX = "nginx-buffered"
_FIRST = Upload(path="/hello", size_bytes=1)
# A busy machine may start a browser too slowly.
_START_TRIES = 3
# Programs that start at a time: they are what needs a processor.
_STARTING_AT_ONCE = 2

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One upload.

    Attributes:
        link: Over which link.
        contender: What was on the server.
        client: Who uploaded.
        status: What the client was told; None if nothing.
        error: What it had instead of an answer; None with one.
        seconds: When it had the answer, or knew that there was none.
        sent_bytes: What it had sent over the link until then, with IP headers.
    """

    link: str
    contender: str
    client: str
    status: int | None
    error: str | None
    seconds: float
    sent_bytes: int


class Measuring:
    """Uploads over links, several at once.

    Attributes:
        missing: What was asked for and could not be measured: link, contender and client.
    """

    def __init__(self, kit: Kit, *, size_bytes: int, limit_seconds: float, say: Say) -> None:
        """Upload nothing yet.

        Args:
            kit: What the clients need.
            size_bytes: How much is uploaded.
            limit_seconds: When a client that has no answer is stopped.
            say: Told how it goes.
        """
        self._kit = kit
        self._upload = Upload(path="/early", size_bytes=size_bytes)
        self._limit_seconds = limit_seconds
        self._say = say
        self._starting = threading.BoundedSemaphore(_STARTING_AT_ONCE)
        self.missing: list[str] = []

    def rows(
        self,
        links: Sequence[str],
        contenders: Sequence[str],
        clients: Sequence[str],
        *,
        at_once: int,
    ) -> Iterator[Row]:
        """Return what came of each upload, as soon as it has come."""
        for upload in (_FIRST, self._upload):
            self._kit.file(upload)  # before several ask for it at once
        with ThreadPoolExecutor(at_once) as pool:
            asked = [
                pool.submit(self._row_or_none, LINKS[link], contender, client)
                for link in links
                for contender in contenders
                for client in clients
            ]
            for made in as_completed(asked):
                if (row := made.result()) is not None:
                    yield row

    def _row_or_none(self, link: Link, contender: str, client: str) -> Row | None:
        """Upload until the browser and the server did start, three times at most; None if not."""
        for left in reversed(range(_START_TRIES)):
            try:
                return self.row(link, contender, client)
            except (BrowserError, RuntimeError, OSError, subprocess.SubprocessError) as error:
                again = "once more" if left else "given up"
                self._say(f"{link.name}, {contender}, {client}: {error}; {again}")
        self.missing.append(f"{link.name}, {contender}, {client}")
        return None

    def row(self, link: Link, contender: str, client: str) -> Row:
        """Upload once."""
        upload = self._upload
        if contender == HANDLER:
            upload = dataclasses.replace(upload, path="/handler")
        with contextlib.ExitStack() as stack:
            there = stack.enter_context(emulated(link))
            with self._starting:
                address = stack.enter_context(_served(there, contender))
                uploads = stack.enter_context(self._client(there, client))
                # Until a browser has uploaded once it is busy with itself.
                uploads(address, _FIRST, timeout_seconds=self._limit_seconds)
            before = there.counts().up.arrived_bytes
            answer = uploads(address, upload, timeout_seconds=self._limit_seconds)
            sent = there.counts().up.arrived_bytes - before
        row = Row(
            link.name,
            contender,
            client,
            answer.status if answer.delivered else None,
            None if answer.delivered else answer.error or "not whole",
            round(answer.seconds, 2),
            sent,
        )
        self._say(
            f"{link.name}, {contender}, {client}: {row.status or row.error}, "
            f"{row.seconds:.1f} s, {sent / 1e6:.2f} MB"
        )
        return row

    @contextlib.contextmanager
    def _client(self, there: Emulated, client: str) -> Iterator[Callable[..., Answer]]:
        if client == "eager":
            yield lambda *where, **how: there.client.call(eager, *where, **how)
            return
        # One of its own, in the namespace of this link's client.
        browsers = Browsers()
        try:
            uploads = browsers.client("form", http2=False, file_of=self._kit.file)
            yield lambda *where, **how: there.client.call(uploads, *where, **how)
        finally:
            browsers.close()


@contextlib.contextmanager
def _served(there: Emulated, contender: str) -> Iterator[tuple[str, int]]:
    plain = contender in (HANDLER, BUFFERED)
    env = {"PYTHONPATH": _PYTHONPATH, "BENCH_CONTENDER": NONE if plain else contender}
    server = harness.serving(SERVER, "bench_wsgi", env)
    with contextlib.ExitStack() as stack:
        stack.enter_context(there.server.entered())
        address = stack.enter_context(harness.running(server, wrap=False)).address
        if contender == BUFFERED:
            address = stack.enter_context(proxies.in_front_of(address, _NGINX))
        yield address


def missing() -> str | None:
    """Return the first thing that is needed and not here; None if all is."""
    absent = harness.ALL_SERVERS[SERVER].missing() or proxies.missing(_NGINX)
    return absent or (None if harness.find_program("chromium") else "chromium")


def different(record: dict[str, Any], said: dict[str, Any]) -> list[str]:
    """Return what a record says of all its rows and a run would not, by name.

    Args:
        record: What stands there; an empty one takes any run.
        said: What is told of the run.
    """
    return [name for name in said if name in record and record[name] != said[name]]


def merged(
    record: dict[str, Any], rows: Sequence[Row], *, command: str, **said: Any
) -> dict[str, Any]:
    """Return a record with rows in the place of those of the same upload.

    Args:
        record: What stood there.
        rows: What was measured. Each keeps when and with what command.
        command: What repeats the run.
        said: What else is told, of all rows: `different` says whether that may be.
    """
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    told = [
        {**dataclasses.asdict(row), "date": date, "command": command, **recorded()} for row in rows
    ]
    new = {(row["link"], row["contender"], row["client"]) for row in told}
    kept = [
        row
        for row in record.get("rows", [])
        if (row["link"], row["contender"], row["client"]) not in new
    ]
    order = {
        (link, contender, client): number
        for number, (link, contender, client) in enumerate(
            (link, contender, client)
            for link in LINKS
            for contender in CONTENDERS
            for client in CLIENTS
        )
    }
    return {
        "server": SERVER,
        **said,
        "rows": sorted(
            [*kept, *told],
            key=lambda row: order[row["link"], row["contender"], row["client"]],
        ),
    }
