"""The middleware: configuration only. What belongs to one request is its `Exchange`."""

from __future__ import annotations

import contextlib
from typing import Any, Unpack

import anyio

from drainkit import (
    CONTROL_KEY,
    Configuration,
    DrainPolicy,
    Interface,
    OnReport,
    PolicyFields,
    load_application,
)

from ._exchange import Exchange
from ._messages import FRAMING_FIELDS, HeaderField, readable_headers
from ._types import ASGIApplication, Receive, Scope, Send

INTERFACE = Interface(
    name="an ASGI application",
    arguments=("scope", "receive", "send"),
    is_async=True,
    attribute="asgi_app",
    instead={
        2: "Around a WSGI application write drainkit_wsgi.DrainMiddleware",
        1: "In Django's MIDDLEWARE write 'drainkit_django.DrainMiddleware'; around an application "
        "of ASGI 2 write DrainMiddleware(asgiref.compatibility.guarantee_single_callable(app))",
        0: "If it makes the application, call it: make_app()",
    },
    # A request has it: that is what a function for @app.middleware("http") is called with.
    instead_of={
        "scope": 'Write app.add_middleware(DrainMiddleware), not app.middleware("http")('
        "DrainMiddleware)"
    },
)


# Versions of HTTP in which no body comes unless a header field says so.
_NEEDS_FIELDS = frozenset({"1.1", "1.0", "1"})


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
        refuse_as_class(self, app)

    # In place although it is long: every request is asked, and a call costs as much as a test.
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: C901
        """Call the application, and see to its request's body."""
        if scope["type"] != "http" or CONTROL_KEY in scope:
            if scope["type"] == "lifespan":
                _prepare()
            await self.app(scope, receive, send)
            return
        fields: list[HeaderField] | None = None
        try:
            headers, version = scope["headers"], scope["http_version"]
            if type(headers) is not list:
                headers = readable_headers(scope)
            for field in headers:
                if field[0] in FRAMING_FIELDS:  # almost none
                    fields = [field] if fields is None else [*fields, field]
        except (KeyError, TypeError):
            # Left out, or not as servers give them.
            version = scope.get("http_version", "1.1")
            fields = [field for field in readable_headers(scope) if field[0] in FRAMING_FIELDS]
        if not fields and version in _NEEDS_FIELDS:
            await self.app(scope, receive, send)
            return
        exchange = Exchange.open(scope, receive, send, fields or (), self.policy, self.on_report)
        if exchange is None:
            await self.app(scope, receive, send)
            return
        if exchange.needs_nursery:
            await exchange.run_under_trio(self.app)
            return
        # In place, too: a coroutine of the exchange's own would cost as much as its object.
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except BaseException as exc:
            await exchange.raised(exc)
            raise
        if exchange.response is not None or not exchange.is_taken:
            await exchange.returned()


def refuse_as_class(middleware: object, app: object) -> None:
    """Let an application refuse to start if *middleware* was given to its ``add_middleware``.

    Starlette's takes a class, and calls the instance as if it were one. What is wrong shows only
    when the application builds its stack: an instance around an application is no mistake.

    Args:
        middleware: The instance.
        app: What it was put around. Nothing is done to what is no Starlette application, by what it
            has: this package does not import Starlette.
    """
    application: Any = app
    build = getattr(application, "build_middleware_stack", None)
    if build is None or not isinstance(getattr(application, "user_middleware", None), list):
        return

    def checked() -> Any:
        if any(getattr(entry, "cls", None) is middleware for entry in application.user_middleware):
            raise TypeError(
                "add_middleware takes the class: write "
                "app.add_middleware(drainkit_starlette.DrainMiddleware), not "
                "app.add_middleware(DrainMiddleware(app))"
            )
        if vars(application).get("build_middleware_stack") is checked:
            application.build_middleware_stack = build  # nothing is left to be checked
        return build()

    with contextlib.suppress(AttributeError):  # it takes no attributes
        application.build_middleware_stack = checked


def _prepare() -> None:
    """Let anyio load what it needs for this event loop while the server starts.

    That takes a twentieth of a second, in which the first drain would keep everybody waiting.
    """
    with contextlib.suppress(Exception):  # no event loop that it knows, and perhaps no drain
        anyio.current_time()


def wrap(
    name: str | None = None,
    policy: DrainPolicy | None = None,
    *,
    on_report: OnReport | None = None,
    **fields: Unpack[PolicyFields],
) -> DrainMiddleware:
    """Import an application, and put the middleware around it.

    It is for a server's command line, and an application whose code is not yours::

        DRAINKIT_APP=package.module:app uvicorn --factory drainkit_asgi:wrap

    Args:
        name: ``"package.module:app"``, or ``"package.module:make_app(...)"`` with literals as its
            arguments. ``None`` means what the environment variable ``DRAINKIT_APP`` says.
        policy: As for `DrainMiddleware`.
        on_report: As for `DrainMiddleware`.
        **fields: As for `DrainMiddleware`.

    Raises:
        ImportError: There is no such module, or it has no such name.
        TypeError: What is named is certainly no ASGI application, or another argument is wrong.
        ValueError: *name* names nothing, or the value of a field is not allowed.
    """
    return DrainMiddleware(load_application(name), policy, on_report=on_report, **fields)
