"""What is known of one server, as data; and what can be told to one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from drainkit import DEFAULTS, Defaults, Moments, Resource
from drainkit_asgi._types import Receive, Send

# What the largest queue of a server holds for an application that has not asked: ten messages of
# 64 KiB, and some more (hypercorn/config.py, max_app_queue_size; asyncio/tcp_server.py, MAX_RECV).
MOST_QUEUED_MESSAGES = 16
MOST_QUEUED_BYTES = 1024 * 1024


_OF_A_TASK = DEFAULTS[Resource.TASK]  # nothing that the application holds is held


class Connection:
    """What can be told to the server of one request, beyond the ASGI specification.

    Nothing, unless a server's own class knows better.
    """

    __slots__ = ("_receive", "_send")

    def __init__(self, receive: Receive, send: Send) -> None:
        """Take the functions that the server made for the request."""
        self._receive = receive
        self._send = send

    def leave(self) -> None:
        """Say that nobody will receive the rest of the body, if possible before the answer ends.

        Does nothing twice.
        """

    def wait_early(self) -> None:
        """Let ``send`` wait for the client behind few bytes, where it would wait behind many."""

    def close(self) -> None:
        """Close behind the answer, where the server would go on discarding without a bound."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """How one server treats bodies and connections.

    Attributes:
        name: The server's name in reports.
        module: How the name of the module begins that defines its ``receive`` or ``send``; also
            what is loaded in a process that it serves.
        moments: When the body may be discarded, by HTTP version (the part before the dot).
        tells_end: Its ``receive()`` tells of the body's end also behind the answer's. Otherwise
            Content-Length does.
        buffers_body: The server has the whole body before it calls the application, so nothing
            is left on the connection.
        needs_length: Its ``receive()`` waits for ever for the end of a request that has no body,
            and over HTTP/2 only a Content-Length tells whether there is one.
        invites_eagerly: ``100 Continue`` goes out before the application asks for the body, so
            the body comes. Elsewhere the first ``receive()`` might invite it.
        stepped_module: How the name of the module begins that defines the class whose method its
            ``receive`` is. It stands here if such a ``receive`` gives what has come without
            waiting, and otherwise waits for a future that any task may wait for; ``None`` if that
            is not known.
        is_stepped: Whether the ``receive`` of this request is such a one.
        channel_module: The module of the class whose method its ``receive`` is, where that is a
            trio channel; ``None`` if it never is.
        is_channel: Whether the ``receive`` of this request is such a one.
        takes_behind: Its ``receive()`` returns a future, which gives a body behind an answer of
            one piece; and it holds an answer's start until its first piece comes, unless that is
            a stream of events.
        connection: What can be told to it.
        most_requests: Tells how many requests it takes at once, or ``None`` where that cannot be
            known; itself ``None`` where there is no such limit.
    """

    name: str
    module: str
    moments: Mapping[str, Moments]
    tells_end: bool = True
    buffers_body: bool = False
    needs_length: bool = False
    invites_eagerly: bool = False
    stepped_module: str | None = None
    is_stepped: bool = False
    channel_module: str | None = None
    is_channel: bool = False
    takes_behind: bool = False
    connection: type[Connection] = Connection
    most_requests: Callable[[], float | None] | None = None

    @property
    def defaults(self) -> Defaults:
        """The bounds that a policy leaves open: half of what it takes at once is for others."""
        most = self.most_requests() if self.most_requests is not None else None
        return _OF_A_TASK if most is None else _OF_A_TASK.leaving_half(most)
