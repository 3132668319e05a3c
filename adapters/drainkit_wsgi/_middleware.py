"""The middleware: configuration only. What belongs to one request is its `Exchange`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

from drainkit import (
    Configuration,
    DrainPolicy,
    Interface,
    OnReport,
    PolicyFields,
    load_application,
)

from ._exchange import has_body, open_body
from ._types import Environ, StartResponse, WSGIApplication

INTERFACE = Interface(
    name="a WSGI application",
    arguments=("environ", "start_response"),
    is_async=False,
    attribute="wsgi_app",
    instead={
        3: "Around an ASGI application write drainkit_asgi.DrainMiddleware, and in add_middleware "
        "of Starlette or FastAPI drainkit_starlette.DrainMiddleware",
        1: "In Django's MIDDLEWARE write 'drainkit_django.DrainMiddleware'",
        0: "If it makes the application, call it: make_app()",
    },
)


class DrainMiddleware:
    """Delivers a WSGI application's answers although it leaves bodies unread.

    Wrap it around everything else, so that it sees every response::

        application = DrainMiddleware(application)

    Responses go out first and unchanged, but for a Content-Length on complete ones that lack it;
    what the application left of the body is discarded behind them, within the policy's bounds.
    """

    def __init__(
        self,
        app: WSGIApplication,
        policy: DrainPolicy | None = None,
        *,
        on_report: OnReport | None = None,
        **fields: Unpack[PolicyFields],
    ) -> None:
        """Wrap an application.

        Args:
            app: The WSGI application.
            policy: The bounds of every drain; ``None`` means the defaults. An application may set
                others for one request through the `drainkit.DrainControl` under
                ``"drainkit.control"``.
            on_report: Called with the `drainkit.DrainReport` of each body that was left unread.
                ``None`` calls nobody; the logger ``drainkit`` is told in any case.
            **fields: Fields of `drainkit.DrainPolicy`, such as ``max_bytes=1024``; they replace
                those of *policy*.

        Raises:
            TypeError: *app* is certainly no WSGI application, *policy* is no DrainPolicy,
                *on_report* is no plain callable, or a keyword is no field of DrainPolicy.
            ValueError: The value of a field is not allowed.
        """
        INTERFACE.check(app)
        configuration = Configuration.of(policy, on_report, fields)
        self.app = INTERFACE.inside(self, app)
        self.policy = configuration.policy
        self.on_report = configuration.on_report

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Call the application, and see to its request's body."""
        length = environ.get("CONTENT_LENGTH")
        # Nearly every request is told by this. Here, because a call would cost each of them.
        if length is None:
            protocol: str = environ.get("SERVER_PROTOCOL", "")
            if protocol == "HTTP/1.1" and "HTTP_TRANSFER_ENCODING" not in environ:
                return self.app(environ, start_response)
        if (not length or length == "0") and not has_body(environ):
            return self.app(environ, start_response)
        exchange = open_body(environ, self.policy, self.on_report, start_response)
        if exchange is None:
            return self.app(environ, start_response)
        try:
            result = self.app(environ, exchange._start)
            return exchange.respond(result)
        except Exception:
            # The server's own 500 must arrive, too.
            exchange.discard()
            raise


def wrap(
    name: str | None = None,
    policy: DrainPolicy | None = None,
    *,
    on_report: OnReport | None = None,
    **fields: Unpack[PolicyFields],
) -> DrainMiddleware:
    """Import an application, and put the middleware around it.

    It is for a server's command line, and an application whose code is not yours::

        gunicorn 'drainkit_wsgi:wrap("package.module:app")'

    Args:
        name: ``"package.module:app"``, or ``"package.module:make_app(...)"`` with literals as its
            arguments. ``None`` means what the environment variable ``DRAINKIT_APP`` says.
        policy: As for `DrainMiddleware`.
        on_report: As for `DrainMiddleware`.
        **fields: As for `DrainMiddleware`.

    Raises:
        ImportError: There is no such module, or it has no such name.
        TypeError: What is named is certainly no WSGI application, or another argument is wrong.
        ValueError: *name* names nothing, or the value of a field is not allowed.
    """
    return DrainMiddleware(load_application(name), policy, on_report=on_report, **fields)
