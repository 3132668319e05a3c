"""Case, client and address in; a verdict out."""

from __future__ import annotations

import ssl
from collections import Counter
from dataclasses import dataclass
from typing import Any, Protocol

from drainkit_clients import Answer, Upload, check_count, check_positive, eager, is_count, strict

from ._cases import Case

TRIES = 5
TIMEOUT_SECONDS = 20.0

_CLIENTS = {"strict": strict, "eager": eager}


class Client(Protocol):
    """Whatever uploads once, on a connection of its own, and tells what it had.

    `drainkit_clients.strict` and `drainkit_clients.eager` are clients; a function around an HTTP
    library is another.
    """

    def __call__(
        self,
        address: tuple[str, int],
        upload: Upload,
        *,
        timeout_seconds: float,
        ssl_context: ssl.SSLContext | None = None,
    ) -> Answer:
        """Upload; a loss is an `Answer` with an error, not an exception.

        Args:
            address: Host and port.
            upload: What to send.
            timeout_seconds: The longest that it may take.
            ssl_context: Speak TLS with this context, plain TCP when None.
        """
        ...


@dataclass(frozen=True, slots=True)
class Try:
    """One upload, as it was judged.

    Attributes:
        problem: What was wrong with the answer; None if it was the right one, whole.
        first_byte_seconds: When the client had the first byte of an answer; None if it had none.
        seconds: How long the exchange took.
        sent_bytes: The body bytes that the client had handed over in the end.
    """

    problem: str | None
    first_byte_seconds: float | None
    seconds: float
    sent_bytes: int

    @classmethod
    def of(cls, case: Case, answer: Answer) -> Try:
        """Judge an answer.

        Args:
            case: What was asked.
            answer: What came.
        """
        return cls(
            case.problem(answer), answer.first_byte_seconds, answer.seconds, answer.sent_bytes
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a case.

    Attributes:
        case: Which one.
        tries: Its tries, in order.
    """

    case: Case
    tries: tuple[Try, ...]

    @property
    def delivered(self) -> int:
        """How many tries brought the right answer, whole."""
        return sum(one.problem is None for one in self.tries)

    @property
    def passed(self) -> bool:
        """Whether every try did."""
        return self.delivered == len(self.tries)

    @property
    def problems(self) -> dict[str, int]:
        """What was seen instead, and how often; the most frequent first."""
        seen = Counter(one.problem for one in self.tries if one.problem is not None)
        return dict(seen.most_common())

    def __str__(self) -> str:
        """Say it in one line."""
        told = [f"{self.case.name}: {self.delivered} of {len(self.tries)} delivered"]
        told += [f"{count} x {problem}" for problem, count in self.problems.items()]
        return "; ".join(told)


def judge(
    case: Case,
    address: tuple[str, int],
    *,
    client: Client | None = None,
    tries: int = TRIES,
    timeout_seconds: float = TIMEOUT_SECONDS,
    ssl_context: ssl.SSLContext | None = None,
) -> Verdict:
    """Upload a case a few times, each on a connection of its own.

    Args:
        case: One of `CASES`, or of your own.
        address: Host and port of the server.
        client: Who uploads; the raw client that the case names when None.
        tries: How often.
        timeout_seconds: The longest that one try may take.
        ssl_context: Speak TLS with this context, plain TCP when None.

    Raises:
        TypeError: *case* is no `Case`, its upload no `Upload`, or *client* no client.
        ValueError: Another argument, or a field of *case*, is not allowed. The message names it,
            the value and what is allowed.
    """
    _check_case(case, client)
    check_count("tries", tries, least=1)
    check_positive("timeout_seconds", timeout_seconds)
    _check_address(address)
    upload = client or _CLIENTS[case.client]
    answers = (
        upload(address, case.upload, timeout_seconds=timeout_seconds, ssl_context=ssl_context)
        for _ in range(tries)
    )
    return Verdict(case, tuple(Try.of(case, answer) for answer in answers))


def _check_case(case: Any, client: object) -> None:
    if not isinstance(case, Case):
        raise TypeError(f"case must be a Case, such as one of CASES; got {case!r}")
    upload: Any = case.upload
    if not isinstance(upload, Upload):
        raise TypeError(f"upload must be a drainkit_clients.Upload; got {upload!r}")
    path: Any = upload.path
    # RFC 9112 section 3.2: a path, a whole URL, or an asterisk.
    if not isinstance(path, str) or not path.startswith(("/", "http://", "https://", "*")):
        raise ValueError(f"path must be a text that begins with '/'; got {path!r}")
    status: Any = case.status
    if not is_count(status, least=200) or status > 999:
        raise ValueError(f"status must be an integer of 200 or more, such as 413; got {status!r}")
    body: Any = case.body
    if body is not None and not isinstance(body, bytes) and not callable(body):
        instead = f": write {body.encode()!r}" if isinstance(body, str) else ""
        raise ValueError(f"body must be bytes, or None for any; got {body!r}{instead}")
    if client is None and case.client not in _CLIENTS:
        raise ValueError(f"client must be one of {', '.join(_CLIENTS)}; got {case.client!r}")
    if client is not None and not callable(client):
        raise TypeError(
            f"client must be a function such as drainkit_clients.strict, or None for that of the "
            f"case; got {client!r}"
        )


def _check_address(address: Any) -> None:
    if (
        not isinstance(address, (tuple, list))
        or len(address) != 2
        or not isinstance(address[0], str)
        or not isinstance(address[1], int)
    ):
        raise ValueError(
            f"address must be a host and a port, such as ('127.0.0.1', 8000); got {address!r}"
        )
