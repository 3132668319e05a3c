"""`init_app`: drainkit around everything that Starlette puts around an application.

Rule: the application stays the object it is, so that its routes, its state and its lifespan are
where everybody looks for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, Unpack

from starlette.applications import Starlette
from starlette.types import ASGIApp

import drainkit_asgi
from drainkit import Configuration, DrainPolicy, OnReport, PolicyFields

App = TypeVar("App", bound=Starlette)


class _Installed:
    """An application's ``build_middleware_stack``, with drainkit around what it builds."""

    def __init__(self, build: Callable[[], ASGIApp], configuration: Configuration) -> None:
        self._build = build
        self.configuration = configuration

    def __call__(self) -> ASGIApp:
        chosen = self.configuration
        return drainkit_asgi.DrainMiddleware(
            self._build(), chosen.policy, on_report=chosen.on_report
        )


def init_app(
    app: App,
    policy: DrainPolicy | None = None,
    *,
    on_report: OnReport | None = None,
    **fields: Unpack[PolicyFields],
) -> App:
    """Wrap an application outermost, so that all its answers arrive although bodies stay unread.

    drainkit then stands around every added middleware, whenever it is added, and around what
    Starlette and FastAPI put outside of those. ``app.state.drainkit`` tells that it does. Calling
    it again is allowed when that would change nothing.

    Args:
        app: The Starlette or FastAPI application, before its first request.
        policy: The bounds of every drain. ``None`` means the defaults.
        on_report: Called with the `drainkit.DrainReport` of each body that was left unread.
            ``None`` calls nobody; the logger ``drainkit`` is told in any case.
        **fields: Fields of `drainkit.DrainPolicy`, such as ``max_bytes=1024``; they replace those
            of *policy*.

    Returns:
        The same application.

    Raises:
        TypeError: *app* is no Starlette application, *policy* no DrainPolicy, *on_report* no plain
            callable, or a keyword no field of DrainPolicy.
        ValueError: The value of a field is not allowed.
        RuntimeError: The application runs already; or drainkit is around it already, with another
            policy or another *on_report*.
    """
    if not isinstance(app, Starlette):
        raise TypeError(
            f"app must be a Starlette or FastAPI application; got {app!r}. Around any other "
            f"application write DrainMiddleware, of drainkit_asgi or of drainkit_wsgi"
        )
    wanted = Configuration.of(policy, on_report, fields)
    present = getattr(app.state, "drainkit", None)
    if isinstance(present, _Installed):
        present.configuration.refuse_change(wanted, "call init_app once")
        return app
    if app.middleware_stack is not None:
        raise RuntimeError(
            "this application has built its middleware already, for its lifespan or its first "
            "request; call init_app where it is made, before it is served"
        )
    installed = _Installed(app.build_middleware_stack, wanted)
    app.build_middleware_stack = installed  # type: ignore[method-assign]
    app.state.drainkit = installed
    return app
