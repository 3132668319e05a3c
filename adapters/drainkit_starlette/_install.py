"""`init_app`: drainkit around everything that Starlette puts around an application.

Rule 1: the application stays the object it is, so that its routes, its state and its lifespan are
where everybody looks for them.
Rule 2: its middleware stack stays what Starlette builds. Instrumentation takes that apart and puts
it together anew, and does nothing if it finds something else (OpenTelemetry's for FastAPI does).
"""

from __future__ import annotations

import functools
import types
from typing import Any, TypeVar, Unpack

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

import drainkit_asgi
from drainkit import Configuration, DrainPolicy, OnReport, PolicyFields

App = TypeVar("App", bound=Starlette)

_NAME = "_drainkit"
"""The attribute of an application that holds its middleware."""


@functools.cache
def _drained(kind: Any) -> Any:
    """Return a class like *kind* whose applications are called through drainkit.

    A call looks for ``__call__`` in the class alone: an attribute of the application would not do.
    """

    async def __call__(self: Starlette, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: N807
        await getattr(self, _NAME)(scope, receive, send)

    def fill(namespace: dict[str, Any]) -> None:
        namespace.update(
            __call__=__call__,
            __doc__=kind.__doc__,
            __module__=kind.__module__,
            __qualname__=kind.__qualname__,
        )

    # With the metaclass that the application's class may have.
    try:
        return types.new_class(kind.__name__, (kind,), exec_body=fill)
    except Exception as error:
        raise TypeError(
            f"init_app derives a class from that of the application, and {kind!r} does not allow "
            f"it ({type(error).__name__}: {error}): let the server serve "
            f"drainkit_asgi.DrainMiddleware(app) instead, or write app.add_middleware("
            f"drainkit_starlette.DrainMiddleware)"
        ) from error


def init_app(
    app: App,
    policy: DrainPolicy | None = None,
    *,
    on_report: OnReport | None = None,
    **fields: Unpack[PolicyFields],
) -> App:
    """Wrap an application outermost, so that all its answers arrive although bodies stay unread.

    drainkit then stands around every added middleware, whenever it is added, and around what
    Starlette, FastAPI and instrumentation such as OpenTelemetry's put outside of those. It is in
    ``app.state.drainkit``. The class of *app*, ``type(app)``, becomes one of the same name that is
    derived from it: ``isinstance`` says what it said before, ``type(app) is FastAPI`` does not.
    Calling it again is allowed when that would change nothing.

    Args:
        app: The Starlette or FastAPI application.
        policy: The bounds of every drain. ``None`` means the defaults.
        on_report: Called with the `drainkit.DrainReport` of each body that was left unread.
            ``None`` calls nobody; the logger ``drainkit`` is told in any case.
        **fields: Fields of `drainkit.DrainPolicy`, such as ``max_bytes=1024``; they replace those
            of *policy*.

    Returns:
        The same application.

    Raises:
        TypeError: *app* is no Starlette application, or of a class from which none can be derived;
            *policy* is no DrainPolicy, *on_report* no plain callable, or a keyword no field of
            DrainPolicy.
        ValueError: The value of a field is not allowed.
        RuntimeError: drainkit is around the application already, with another policy or another
            *on_report*.
    """
    if not isinstance(app, Starlette):
        raise TypeError(
            f"app must be a Starlette or FastAPI application; got {app!r}. Around any other "
            f"application write DrainMiddleware, of drainkit_asgi or of drainkit_wsgi"
        )
    wanted = Configuration.of(policy, on_report, fields)
    present = getattr(app, _NAME, None)
    if present is not None:
        Configuration(present.policy, present.on_report).refuse_change(wanted, "call init_app once")
        return app
    kind: Any = type(app)
    drained = _drained(kind)

    def inside(scope: Scope, receive: Receive, send: Send) -> Any:
        base: Any = super(drained, app)
        return base.__call__(scope, receive, send)

    middleware = drainkit_asgi.DrainMiddleware(inside, wanted.policy, on_report=wanted.on_report)
    setattr(app, _NAME, middleware)
    app.__class__ = drained
    app.state.drainkit = middleware
    return app
