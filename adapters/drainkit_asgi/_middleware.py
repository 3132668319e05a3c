"""The middleware: configuration only. What belongs to one request is its `Exchange`."""

from __future__ import annotations

from typing import Unpack

from drainkit import (
    CONTROL_KEY,
    Configuration,
    Drain,
    DrainPolicy,
    Interface,
    OnReport,
    PolicyFields,
    framing,
)

from ._exchange import Exchange
from ._servers import server_of
from ._types import ASGIApplication, Receive, Scope, Send

INTERFACE = Interface(
    name="an ASGI application",
    arguments=("scope", "receive", "send"),
    is_async=True,
    attribute="asgi_app",
    instead={
        2: "Around a WSGI application write drainkit_wsgi.DrainMiddleware",
        1: "In Django's MIDDLEWARE write 'drainkit_django.DrainMiddleware'",
    },
)

_FRAMING_FIELDS = frozenset({b"content-length", b"transfer-encoding", b"expect"})


class DrainMiddleware:
    """Delivers an ASGI application's answers although it leaves bodies unread.

    Wrap it around everything else, so that it sees every response::

        app = DrainMiddleware(app)

    Messages other than HTTP pass through; so does every request without a body. Works under
    asyncio and trio.
    """

    def __init__(
        self,
        app: ASGIApplication,
        policy: DrainPolicy | None = None,
        *,
        on_report: OnReport | None = None,
        **fields: Unpack[PolicyFields],
    ) -> None:
        """Wrap an application.

        Args:
            app: The ASGI application.
            policy: The bounds of every drain; ``None`` means the defaults. An application may set
                others for one request through the `drainkit.DrainControl` under
                ``"drainkit.control"`` in the scope.
            on_report: Called with the `drainkit.DrainReport` of each body that was left unread.
                ``None`` calls nobody; the logger ``drainkit`` is told in any case.
            **fields: Fields of `drainkit.DrainPolicy`, such as ``max_bytes=1024``; they replace
                those of *policy*.

        Raises:
            TypeError: *app* is certainly no ASGI application, *policy* is no DrainPolicy,
                *on_report* is no plain callable, or a keyword is no field of DrainPolicy.
            ValueError: The value of a field is not allowed.
        """
        INTERFACE.check(app)
        configuration = Configuration.of(policy, on_report, fields)
        self.app = INTERFACE.inside(self, app)
        self.policy = configuration.policy
        self.on_report = configuration.on_report

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application, and see to its request's body."""
        if scope["type"] != "http" or CONTROL_KEY in scope:
            await self.app(scope, receive, send)
            return
        length: bytes | None = None
        encoding: bytes | None = None
        expect: bytes | None = None
        for name, value in scope["headers"]:
            if name not in _FRAMING_FIELDS:
                continue  # almost all: one look-up, not three comparisons
            if name == b"content-length":
                length = value if length is None else length + b"," + value
            elif name == b"transfer-encoding":
                encoding = value if encoding is None else encoding + b"," + value
            else:
                expect = value
        http_version: str = scope.get("http_version", "1.1")
        # HTTP/2 and HTTP/3 need no header field for a body (RFC 9113 section 8.1).
        if (not length or length == b"0") and encoding is None and http_version[:1] == "1":
            await self.app(scope, receive, send)
            return
        server = server_of(receive, send)
        if server.buffers_body or (server.needs_length and not length and encoding is None):
            await self.app(scope, receive, send)
            return
        if server.invites_eagerly:
            expect = None  # the body comes like any other
        drain = Drain(
            self.policy,
            framing(
                http_version=http_version,
                content_length=length.decode("latin-1") if length else None,
                transfer_encoding=encoding.decode("latin-1") if encoding else None,
                expect=expect.decode("latin-1") if expect else None,
            ),
        )
        # For the report; the application may change its scope.
        drain.protocol = f"HTTP/{http_version}"
        drain.server = server.name
        drain.method = scope.get("method", "")
        drain.path = scope.get("path", "")
        await Exchange(scope, receive, send, server, drain, self.on_report).run(self.app)
