"""The acceptance table: what the application does, what is uploaded, which answer is right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from drainkit_clients import Answer, Connection, Upload

from ._replies import FIRST_BYTES, TOO_LARGE, page, page_pieces

__all__ = ["CASES", "Case", "page", "page_pieces"]

KIB = 1024
MIB = 1024 * KIB

_FRAMINGS: tuple[Literal["length", "chunked"], ...] = ("length", "chunked")
_CONNECTIONS: tuple[Literal["keep-alive", "close"], ...] = ("keep-alive", "close")
# A longer body is told by its length and beginning.
_SHOWN_BYTES = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One upload and its right answer.

    Attributes:
        row: Which row of the table it belongs to.
        name: What it is called.
        upload: What is sent.
        status: The status of the right answer.
        body: Its body, or what makes it of the upload; None where the server writes one of its own.
        client: Which of the two raw clients sends it, unless told otherwise.
    """

    row: str
    name: str
    upload: Upload
    status: int
    body: bytes | Callable[[Upload], bytes] | None
    client: Literal["strict", "eager"] = "strict"

    def run(self, connection: Connection, *, timeout_seconds: float = 20.0) -> Answer:
        """Upload once over a connection that is there.

        Args:
            connection: It may have served other cases, if their answers arrived.
            timeout_seconds: The longest that the exchange may take.
        """
        if self.client == "eager":
            return connection.eager(self.upload, timeout_seconds=timeout_seconds)
        return connection.strict(self.upload, timeout_seconds=timeout_seconds)

    def problem(self, answer: Answer) -> str | None:
        """Return what is wrong with an answer; None if it is the right one, whole.

        Args:
            answer: What a client had.
        """
        if not answer.delivered:
            return f"lost: {answer.error}"
        if answer.status != self.status:
            return f"status {answer.status} instead of {self.status}"
        body = self.body(self.upload) if callable(self.body) else self.body
        if body is not None and answer.body != body:
            return f"{_shown(answer.body)} instead of {_shown(body)}"
        return None


def _shown(body: bytes) -> str:
    if len(body) <= _SHOWN_BYTES:
        return repr(body)
    return f"{len(body)} bytes ({body[: _SHOWN_BYTES // 2]!r}...)"


def _size(size_bytes: int) -> str:
    return f"{size_bytes // MIB}MiB" if size_bytes >= MIB else f"{size_bytes // KIB}KiB"


def _page(upload: Upload) -> bytes:
    return page()


def _upper(upload: Upload) -> bytes:
    return upload.body().upper()


def _all() -> Iterator[Case]:
    for size in (64 * KIB, MIB, 16 * MIB):
        for framing in _FRAMINGS:
            for connection in _CONNECTIONS:
                yield Case(
                    row="413",
                    name=f"413-{_size(size)}-{framing}-{connection}",
                    upload=Upload(
                        path="/413", size_bytes=size, framing=framing, connection=connection
                    ),
                    status=413,
                    body=TOO_LARGE,
                )
    for size in (100 * KIB, MIB):
        yield Case(
            row="pause",
            name=f"pause-{_size(size)}",
            upload=Upload(path="/413", size_bytes=size, pause_seconds=0.05),
            status=413,
            body=TOO_LARGE,
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
            body=_page,
        )
    yield Case(
        row="422",
        name="422",
        upload=Upload(path="/422", size_bytes=4 * MIB),
        status=422,
        body=FIRST_BYTES,
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
        yield Case(
            row="transform",
            name=f"transform-{framing}",
            upload=Upload(path="/upper", size_bytes=16 * MIB, framing=framing),
            status=200,
            body=_upper,
            client="eager",
        )
    yield Case(
        row="read-all",
        name="read-all",
        upload=Upload(path="/length", size_bytes=4 * MIB),
        status=200,
        body=b"%d" % (4 * MIB),
    )


CASES: dict[str, Case] = {case.name: case for case in _all()}
