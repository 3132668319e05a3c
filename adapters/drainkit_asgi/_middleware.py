"""The middleware: configuration only. What belongs to one request is its `Exchange`."""

from __future__ import annotations

from drainkit import CONTROL_KEY, DrainPolicy, OnReport

from ._exchange import Exchange
from ._messages import body_fields
from ._types import ASGIApplication, Receive, Scope, Send

_DEFAULT_POLICY = DrainPolicy()


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
        policy: DrainPolicy = _DEFAULT_POLICY,
        *,
        on_report: OnReport | None = None,
    ) -> None:
        """Wrap an application.

        Args:
            app: The ASGI application.
            policy: The bounds of every drain; an application may set others for one request
                through the `drainkit.DrainControl` under ``"drainkit.control"`` in the scope.
            on_report: Called with the `drainkit.DrainReport` of each body that was left unread.
                ``None`` calls nobody; the logger ``drainkit`` is told in any case.

        Raises:
            TypeError: *app* or *on_report* cannot be called, or *policy* is no DrainPolicy.
        """
        if not callable(app):
            raise TypeError(f"app must be an ASGI application (a callable); got {app!r}")
        if not isinstance(policy, DrainPolicy):
            raise TypeError(f"policy must be a DrainPolicy; got {policy!r}")
        if on_report is not None and not callable(on_report):
            raise TypeError(f"on_report must be a callable or None; got {on_report!r}")
        self.app = app
        self.policy = policy
        self.on_report = on_report

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application, and see to its request's body."""
        if scope["type"] == "http" and CONTROL_KEY not in scope:
            fields = body_fields(scope)
            if fields is not None:
                exchange = Exchange.open(scope, receive, send, fields, self.policy, self.on_report)
                if exchange is not None:
                    await exchange.run(self.app)
                    return
        await self.app(scope, receive, send)
