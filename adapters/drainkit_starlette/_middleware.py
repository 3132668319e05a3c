"""The middleware for ``add_middleware``: drainkit_asgi's, and a warning where it stands too far in.

Rule: an object holds configuration only; what belongs to one request is drainkit_asgi's.
"""

from __future__ import annotations

import warnings
from typing import Unpack

from starlette.types import ASGIApp, Receive, Scope, Send

import drainkit_asgi
from drainkit import CONTROL_KEY, DrainPolicy, OnReport, PolicyFields

# starlette/middleware/body_limit.py, MAX_BODY_SIZE_SCOPE_KEY; Starlette before 1.6 has no limit.
_LIMIT_KEY = "starlette.max_body_size"


class PlacementWarning(UserWarning):
    """`DrainMiddleware` stands inside something that answers uploads by itself."""


class DrainMiddleware:
    """Delivers the answers of everything inside it, although that leaves bodies unread.

    ::

        app.add_middleware(DrainMiddleware)

    Add it last: Starlette puts the middleware that was added last outermost. What Starlette and
    FastAPI themselves put around it (the 413 of an application's ``max_body_size``, the 500 of
    ``ServerErrorMiddleware``) it cannot see; `init_app` can.

    Warns:
        PlacementWarning: Once, with the first upload, when there is a ``max_body_size`` outside.
    """

    def __init__(
        self,
        app: ASGIApp,
        policy: DrainPolicy | None = None,
        *,
        on_report: OnReport | None = None,
        **fields: Unpack[PolicyFields],
    ) -> None:
        """Wrap an application.

        Args:
            app: The ASGI application inside.
            policy: The bounds of every drain. ``None`` means the defaults.
            on_report: Called with the `drainkit.DrainReport` of each body that was left unread.
                ``None`` calls nobody; the logger ``drainkit`` is told in any case.
            **fields: Fields of `drainkit.DrainPolicy`, such as ``max_bytes=1024``; they replace
                those of *policy*.

        Raises:
            TypeError: *app* is certainly no ASGI application, *policy* is no DrainPolicy,
                *on_report* is no plain callable, or a keyword is no field of DrainPolicy.
            ValueError: The value of a field is not allowed.
        """
        drainkit_asgi.INTERFACE.check(app)
        self._app = app
        self._drain = drainkit_asgi.DrainMiddleware(
            self._call_app, policy, on_report=on_report, **fields
        )
        self._has_warned = False
        drainkit_asgi.refuse_as_class(self, app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application, and see to its request's body."""
        if CONTROL_KEY in scope:
            await self._app(scope, receive, send)  # a drainkit outside takes care
        else:
            await self._drain(scope, receive, send)

    async def _call_app(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The key is there when this middleware, and none outside, takes care of the body.
        if _LIMIT_KEY in scope and CONTROL_KEY in scope and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"max_body_size={scope[_LIMIT_KEY]!r} is enforced outside of DrainMiddleware, so "
                f"its 413 may be lost; call drainkit_starlette.init_app(app) instead of "
                f"app.add_middleware(DrainMiddleware)",
                PlacementWarning,
                stacklevel=2,
            )
        await self._app(scope, receive, send)
