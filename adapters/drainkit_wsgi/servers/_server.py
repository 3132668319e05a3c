"""What a row says of its server."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from drainkit import BodyKind, Framing, Moment, Moments, Resource

from ._connection import Connection


class Invitation(enum.Enum):
    """When a server sends ``100 Continue`` (PEP 3333 allows each of the three)."""

    SENT = "before it calls the application"
    ON_READ = "when the body is first read, or perhaps so"
    NEVER = "never"


ANSWER_FIRST = Moments(whole=Moment.BEHIND, pieces=Moment.BEHIND)
"""The answer goes out first, and the body is discarded in the iterable's ``close()``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """How one server treats bodies and connections.

    Attributes:
        name: The server's name in reports.
        input_module: The module that defines the class of its ``wsgi.input``; ``None`` when that
            is a class of the standard library.
        input_class: The class of its ``wsgi.input`` or a base of it, for those of the standard
            library; ``None`` where others have such a one, too.
        software: How its ``SERVER_SOFTWARE`` begins, for requests whose ``wsgi.input`` another
            middleware has replaced; ``None`` when the site chooses it.
        buffers_body: The server has the whole body before it calls the application, so nothing
            is left on the connection.
        invitation: When it sends ``100 Continue``. Where the first read might send it, an
            untouched body that waits for it is not read.
        moments: When a body may be discarded.
        moments_with_length: The same, for a body whose length is known; ``None`` is *moments*.
        ends_behind_close: Whether it writes the last chunk of an answer without a Content-Length
            only when it has called the iterable's ``close()``.
        closes_silently: It closes its connection behind every answer, and does not say so. A client
            would send its next request into the close, so drainkit says it for an early answer.
        connection: How its connections are reached.
        holds: What a drain holds; ``None`` where each environ says it (``wsgi.multithread``).
        threads: How many threads it has, where that is a fact of the server; ``None`` where its
            connections may know it.
        largest_read_bytes: The size of read with which it discards at the least cost, in measure.
    """

    name: str
    input_module: str | None = None
    input_class: type | None = None
    software: str | None = None
    buffers_body: bool = False
    invitation: Invitation = Invitation.ON_READ
    moments: Moments = ANSWER_FIRST
    moments_with_length: Moments | None = None
    ends_behind_close: bool = False
    closes_silently: bool = False
    connection: type[Connection] = Connection
    holds: Resource | None = None
    threads: float | None = None
    largest_read_bytes: int = 64 * 1024

    def moments_for(self, framing: Framing) -> Moments:
        """Return when a body that is framed so may be discarded."""
        if self.moments_with_length is None or framing.kind is not BodyKind.LENGTH:
            return self.moments
        return self.moments_with_length
