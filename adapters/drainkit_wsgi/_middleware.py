"""The middleware: configuration only. What belongs to one request is its `Exchange`."""

from __future__ import annotations

from collections.abc import Iterable

from drainkit import DrainPolicy, OnReport

from ._exchange import has_body, open_body
from ._types import Environ, StartResponse, WSGIApplication

_DEFAULT_POLICY = DrainPolicy()


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
        policy: DrainPolicy = _DEFAULT_POLICY,
        *,
        on_report: OnReport | None = None,
    ) -> None:
        """Wrap an application.

        Args:
            app: The WSGI application.
            policy: The bounds of every drain; an application may set others for one request
                through the `drainkit.DrainControl` under ``"drainkit.control"``.
            on_report: Called with the `drainkit.DrainReport` of each body that was left unread.
                ``None`` calls nobody; the logger ``drainkit`` is told in any case.

        Raises:
            TypeError: *app* or *on_report* cannot be called, or *policy* is no DrainPolicy.
        """
        if not callable(app):
            raise TypeError(f"app must be a WSGI application (a callable); got {app!r}")
        if not isinstance(policy, DrainPolicy):
            raise TypeError(f"policy must be a DrainPolicy; got {policy!r}")
        if on_report is not None and not callable(on_report):
            raise TypeError(f"on_report must be a callable or None; got {on_report!r}")
        self.app = app
        self.policy = policy
        self.on_report = on_report

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Call the application, and see to its request's body."""
        if not has_body(environ):
            return self.app(environ, start_response)
        exchange = open_body(environ, self.policy, self.on_report)
        if exchange is None:
            return self.app(environ, start_response)
        try:
            result = self.app(environ, exchange.starter(start_response))
            return exchange.respond(result)
        except Exception:
            # The server's own 500 must arrive, too.
            exchange.discard()
            raise
