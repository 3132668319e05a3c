"""`init_app`: drainkit around everything that Starlette puts around an application.

Rule: the application stays the object it is, so that its routes, its state and its lifespan are
where everybody looks for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from starlette.applications import Starlette
from starlette.types import ASGIApp

import drainkit_asgi
from drainkit import DrainPolicy, OnReport

App = TypeVar("App", bound=Starlette)


class _Installed:
    """An application's ``build_middleware_stack``, with drainkit around what it builds."""

    def __init__(
        self, build: Callable[[], ASGIApp], policy: DrainPolicy, on_report: OnReport | None
    ) -> None:
        self._build = build
        self.policy = policy
        self.on_report = on_report

    def __call__(self) -> ASGIApp:
        return drainkit_asgi.DrainMiddleware(self._build(), self.policy, on_report=self.on_report)


def init_app(
    app: App, policy: DrainPolicy | None = None, *, on_report: OnReport | None = None
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

    Returns:
        The same application.

    Raises:
        TypeError: *app* is no Starlette application, *policy* no DrainPolicy, or *on_report*
            cannot be called.
        RuntimeError: The application runs already; or drainkit is around it already, with another
            policy or another *on_report*.
    """
    if not isinstance(app, Starlette):
        raise TypeError(f"app must be a Starlette or FastAPI application; got {app!r}")
    if policy is not None and not isinstance(policy, DrainPolicy):
        raise TypeError(f"policy must be a DrainPolicy or None; got {policy!r}")
    if on_report is not None and not callable(on_report):
        raise TypeError(f"on_report must be a callable or None; got {on_report!r}")
    policy = policy if policy is not None else DrainPolicy()
    present = getattr(app.state, "drainkit", None)
    if isinstance(present, _Installed):
        if (present.policy, present.on_report) != (policy, on_report):
            raise RuntimeError(
                f"drainkit is around this application already, with {present.policy} and "
                f"on_report={present.on_report!r}; it cannot be changed to {policy} and "
                f"on_report={on_report!r}: call init_app once"
            )
        return app
    if app.middleware_stack is not None:
        raise RuntimeError(
            "this application has built its middleware already, for its lifespan or its first "
            "request; call init_app where it is made, before it is served"
        )
    installed = _Installed(app.build_middleware_stack, policy, on_report)
    app.build_middleware_stack = installed  # type: ignore[method-assign]
    app.state.drainkit = installed
    return app
