"""Why a cell is not whole with drainkit over a link: only what fits its error and its time.

A row holds for a cell if all of its columns do. A cell that no row fits has no reason, and the page
then says what its client saw.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tests.matrix.deployments import reason

# The exchange ended in the middle of the answer: each client has its own words for that.
CUT_OFF = (
    r"connection closed after \.\.\. bytes of the response's body"
    r"|ConnectionResetError while (sending|reading)"
    r"|ChunkedEncodingError: .*IncompleteRead"
    r"|RemoteProtocolError: peer closed connection without sending complete message body"
    r"|ClientPayloadError: Response payload is not completed"
    r"|curl: \((18|56)\)"
    r"|ECONNRESET"
    r"|net::ERR_(CONTENT_LENGTH_MISMATCH|CONNECTION_RESET)"
)
_STREAM_ERROR = r"curl: \(92\) HTTP/2 stream \d+ was not closed cleanly: PROTOCOL_ERROR"

_PLAIN_AND_TLS = ("h1", "tls")
_HTTP2 = ("h2c", "h2")
_PAGE = ("page",)
# What an application answers in a few bytes.
_SHORT = ("200", "302", "413", "422")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """Why some cells are not whole.

    Attributes:
        why: The reason, as the page says it.
        servers: Which servers; None for all.
        protocols: In which protocols of the matrix.
        clients: Which clients; None for all.
        cases: Which answers.
        error: A regular expression that is found in each error of the cell.
        least_seconds: No try that was lost ends before it.
    """

    why: str
    servers: Collection[str] | None = None
    protocols: Collection[str] = _PLAIN_AND_TLS
    clients: Collection[str] | None = None
    cases: Collection[str]
    error: str
    least_seconds: float = 0.0

    def fits(self, deployment: str, client: str, case: str, cell: dict[str, Any]) -> bool:
        """Return whether this is why a cell is not whole."""
        # Nothing of this table is about a proxy in front; its name would stand before the server's.
        server, _, protocol = deployment.partition(":")
        return (
            (self.servers is None or server in self.servers)
            and (protocol or "h1") in self.protocols
            and (self.clients is None or client in self.clients)
            and case in self.cases
            and bool(cell["instead"])
            and all(re.search(self.error, error) for error in cell["instead"])
            and lost_seconds(cell) >= self.least_seconds
        )


def lost_seconds(cell: dict[str, Any]) -> float:
    """Return when the tries that were lost had ended, as far as a cell tells.

    It has the least, the median and the greatest time of all its tries. If all were lost, the least
    is when the first of them had ended; else only the greatest can be of one that was.
    """
    least, _, greatest = cell["seconds"]
    return float(greatest if cell["delivered"] else least)


REASONS = (
    Reason(
        why=(
            "curl 7.88.1 sends 32 or 48 KiB of the body twice, and so more than its "
            "Content-Length, when its socket was full; the server resets the stream (RFC 9113, "
            "8.1.1)"
        ),
        protocols=_HTTP2,
        clients=("curl",),
        cases=(*_SHORT, *_PAGE),
        error=_STREAM_ERROR,
        # The whole body was sent before: 2 MB take longer on the links where it happens.
        least_seconds=1.0,
    ),
    # What cuts a page that takes longer than the server has patience, with an upload or without.
    Reason(
        why="gunicorn ends a sync worker after its `timeout`, 30 s, whatever it is sending",
        servers=("gunicorn-sync",),
        cases=_PAGE,
        error=CUT_OFF,
        least_seconds=30.0,
    ),
    Reason(
        why="cheroot gives up when a write takes longer than its `timeout`, 10 s",
        servers=("cheroot",),
        cases=_PAGE,
        error=CUT_OFF,
        least_seconds=10.0,
    ),
    Reason(
        why=(
            "Twisted closes a connection on which nothing came for 60 s, and 15 s later drops what "
            "is left to send; daphne has the whole body before it calls the application, and "
            "drainkit does nothing there"
        ),
        servers=("daphne",),
        cases=_PAGE,
        error=CUT_OFF,
        least_seconds=75.0,
    ),
    Reason(
        why=(
            "uWSGI gives up when a write takes longer than its `socket-timeout`, 4 s; with "
            "`--socket-timeout 120` the page arrived over hotel Wi-Fi"
        ),
        servers=("uwsgi-http-socket", "uwsgi-http"),
        cases=_PAGE,
        error=CUT_OFF,
        least_seconds=4.0,
    ),
    Reason(
        why=(
            "granian closes what has brought no next request after `--http1-header-read-timeout`, "
            "30 s, though it is still sending; so it does without drainkit where an application "
            "answers before it reads"
        ),
        servers=("granian-asgi", "granian-wsgi"),
        cases=_PAGE,
        error=CUT_OFF,
        least_seconds=30.0,
    ),
    Reason(
        why=(
            "once the server closes, asyncio has 30 s (`ssl_shutdown_timeout`) for what it holds "
            "itself of an answer over TLS, up to a megabyte; and the server closes when the "
            "connection was not used again for 5 s, though that has not been sent"
        ),
        servers=(
            *("uvicorn-h11", "uvicorn-httptools", "uvicorn-zttp", "hypercorn-asyncio"),
            *("gunicorn-asgi", "gunicorn-uvicorn"),
        ),
        protocols=("tls", "h2"),
        cases=_PAGE,
        error=CUT_OFF,
        least_seconds=30.0,
    ),
)


def why_not(deployment: str, client: str, case: str, cell: dict[str, Any]) -> str | None:
    """Return why a cell is not whole over a link; None where that is not known.

    Args:
        deployment: Its name in the matrix.
        client: The client's.
        case: The answer's.
        cell: What came of it.
    """
    for one in REASONS:
        if one.fits(deployment, client, case, cell):
            return one.why
    return reason(deployment, client, case)
