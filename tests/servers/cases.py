"""The acceptance table: what the application does, what is uploaded, which answer is right."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from drainkit_clients import Answer, Connection, Upload

KIB = 1024
MIB = 1024 * KIB

TRIES = 5
# Without drainkit a loss may be a race: so many tries must show one.
TRIES_WITHOUT = 20
TIMEOUT_SECONDS = 20.0
# A 4 MB page without drainkit stops both sides for good: no need to watch it for long.
TIMEOUT_WITHOUT_SECONDS = 2.0

_FRAMINGS: tuple[Literal["length", "chunked"], ...] = ("length", "chunked")

PAGE = b"".join(bytes([ord("a") + index % 26]) * 64 * KIB for index in range(64))


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One upload and its right answer.

    Attributes:
        row: Which row of the table it belongs to.
        name: What the tests call it.
        upload: What is sent.
        status: The status of the right answer.
        body: Its body; None where the server writes one of its own.
        client: How it is sent.
    """

    row: str
    name: str
    upload: Upload
    status: int
    body: bytes | None
    client: Literal["strict", "eager"] = "strict"

    def run(self, connection: Connection, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Answer:
        """Upload once over a connection."""
        if self.client == "eager":
            return connection.eager(self.upload, timeout_seconds=timeout_seconds)
        return connection.strict(self.upload, timeout_seconds=timeout_seconds)

    def problem(self, answer: Answer) -> str | None:
        """Return what is wrong with an answer; None if it is the right one, whole."""
        if not answer.delivered:
            return f"lost: {answer.error}"
        if answer.status != self.status:
            return f"status {answer.status} instead of {self.status}"
        if self.body is not None and answer.body != self.body:
            return f"{_shown(answer.body)} instead of {_shown(self.body)}"
        return None


def _shown(body: bytes) -> str:
    return repr(body) if len(body) < 40 else f"{len(body)} bytes ({body[:20]!r}...)"


def _size(size_bytes: int) -> str:
    return f"{size_bytes // MIB}MiB" if size_bytes >= MIB else f"{size_bytes // KIB}KiB"


def _all() -> Iterator[Case]:
    too_large = b"too large\n"
    for size in (64 * KIB, MIB, 16 * MIB):
        for framing in _FRAMINGS:
            for connection in ("keep-alive", "close"):
                yield Case(
                    row="413",
                    name=f"413-{_size(size)}-{framing}-{connection}",
                    upload=Upload(
                        path="/413", size_bytes=size, framing=framing, connection=connection
                    ),
                    status=413,
                    body=too_large,
                )
    for size in (100 * KIB, MIB):
        yield Case(
            row="pause",
            name=f"pause-{_size(size)}",
            upload=Upload(path="/413", size_bytes=size, pause_seconds=0.05),
            status=413,
            body=too_large,
        )
    yield Case(
        row="other-status",
        name="302",
        upload=Upload(path="/302", size_bytes=8 * MIB),
        status=302,
        body=b"",
    )
    yield Case(
        row="other-status",
        name="200",
        upload=Upload(path="/200", size_bytes=8 * MIB),
        status=200,
        body=b"200 ",
    )
    for path in ("/page", "/page-stream"):
        yield Case(
            row="page",
            name=path[1:],
            upload=Upload(path=path, size_bytes=16 * MIB),
            status=413,
            body=PAGE,
        )
    yield Case(
        row="422",
        name="422",
        upload=Upload(path="/422", size_bytes=4 * MIB),
        status=422,
        body=b"10 bytes were enough",
    )
    yield Case(
        row="raise",
        name="raise",
        upload=Upload(path="/raise", size_bytes=8 * MIB),
        status=500,
        body=None,
    )
    yield Case(
        row="late",
        name="late",
        upload=Upload(path="/late", size_bytes=MIB),
        status=200,
        body=b"start:%d" % MIB,
    )
    for framing in _FRAMINGS:
        upload = Upload(path="/upper", size_bytes=16 * MIB, framing=framing)
        yield Case(
            row="transform",
            name=f"transform-{framing}",
            upload=upload,
            status=200,
            body=upload.body().upper(),
            client="eager",
        )
    yield Case(
        row="read-all",
        name="read-all",
        upload=Upload(path="/identity", size_bytes=4 * MIB),
        status=200,
        body=b"%d" % (4 * MIB),
    )


CASES: dict[str, Case] = {case.name: case for case in _all()}
