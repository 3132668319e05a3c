"""A server that runs: what is uploaded to it, and what is said when an answer does not arrive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from drainkit_clients import Upload
from drainkit_conformance import TIMEOUT_SECONDS, Case, Verdict, judge

MIB = 1024 * 1024

# More than the buffers of both kernels hold; with 1 MiB a loss is a matter of luck.
SIZE_BYTES = 8 * MIB
TRIES = 3
_LOG_BYTES = 2000


class ServerError(RuntimeError):
    """A server did not start, or ended; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class _Way:
    """One way of uploading, by which some servers lose an answer and others do not."""

    client: Literal["strict", "eager"]
    connection: Literal["keep-alive", "close"]

    def __str__(self) -> str:
        return f"{self.client} client, connection: {self.connection}"


# A browser writes all of it and then reads; curl reads while it writes. uvicorn, for one, loses
# nothing while the connection is kept.
_WAYS = (_Way("strict", "keep-alive"), _Way("strict", "close"), _Way("eager", "keep-alive"))


@dataclass(frozen=True, slots=True)
class Site:
    """A server that answers.

    Attributes:
        command: What was started, the address filled in.
        address: Host and port where it listens.
        log_path: The file that has what it printed; gone at the session's end.
    """

    command: tuple[str, ...]
    address: tuple[str, int]
    log_path: Path

    def assert_arrives(
        self,
        upload: str | Upload,
        *,
        status: int,
        body: bytes | None = None,
        tries: int = TRIES,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """Upload a few times in each of three ways, and fail unless every answer arrives whole.

        The ways: a client that sends everything before it reads, as browsers do, over a connection
        that is to be kept and over one that is to be closed; and one that reads while it sends, as
        curl does.

        Args:
            upload: The path, to which 8 MiB are then sent with POST; or what exactly to send.
            status: The status of the right answer.
            body: Its whole body. ``None`` takes any.
            tries: How often in each way.
            timeout_seconds: The longest that one try may take.

        Raises:
            AssertionError: An answer was lost, cut or another one; the message says how often, in
                which way and what was seen instead, with the end of the server's log.
            TypeError: *upload* is neither a text nor an `Upload`.
            ValueError: A path does not begin with ``/``, or another argument is not allowed.
        """
        __tracebackhide__ = True
        verdicts = self.judge(
            upload, status=status, body=body, tries=tries, timeout_seconds=timeout_seconds
        )
        if not all(verdict.passed for verdict in verdicts):
            raise AssertionError("\n".join(self._told(status, verdicts)))

    def judge(
        self,
        upload: str | Upload,
        *,
        status: int,
        body: bytes | None = None,
        tries: int = TRIES,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> list[Verdict]:
        """Do as `assert_arrives` does, and return what came of each way.

        Args:
            upload: The path, to which 8 MiB are then sent with POST; or what exactly to send.
            status: The status of the right answer.
            body: Its whole body. ``None`` takes any.
            tries: How often in each way.
            timeout_seconds: The longest that one try may take.

        Raises:
            TypeError: *upload* is neither a text nor an `Upload`.
            ValueError: A path does not begin with ``/``, or another argument is not allowed.
        """
        __tracebackhide__ = True
        sent = _as_upload(upload)
        verdicts = []
        for way in _WAYS:
            case = Case(
                row="yours",
                name=f"{sent.method} {sent.path}, {way}",
                upload=replace(sent, connection=way.connection),
                status=status,
                body=body,
                client=way.client,
            )
            verdicts.append(judge(case, self.address, tries=tries, timeout_seconds=timeout_seconds))
        return verdicts

    def log(self) -> str:
        """Return the end of what the server printed."""
        return tail(self.log_path)

    def _told(self, status: int, verdicts: Sequence[Verdict]) -> Iterator[str]:
        yield f"not every answer arrived whole, with status {status}:"
        yield from (f"  {verdict}" for verdict in verdicts)
        yield f"from: {' '.join(self.command)}"
        if log := self.log().strip():
            yield "which printed in the end:"
            yield log


def _as_upload(upload: Any) -> Upload:
    __tracebackhide__ = True
    if isinstance(upload, Upload):
        return upload
    if not isinstance(upload, str):
        raise TypeError(
            f"upload must be a path, such as '/upload', or a drainkit_clients.Upload; got "
            f"{upload!r}"
        )
    if not upload.startswith("/"):
        raise ValueError(f"a path must begin with '/'; got {upload!r}: write {'/' + upload!r}")
    return Upload(path=upload, size_bytes=SIZE_BYTES)


def tail(path: Path) -> str:
    """Return the end of a file."""
    try:
        return path.read_bytes()[-_LOG_BYTES:].decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
