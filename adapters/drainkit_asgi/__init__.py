"""drainkit for any ASGI application: Starlette, FastAPI, Quart, Litestar, or a plain function.

Wrap it around everything else::

    from drainkit_asgi import DrainMiddleware

    app = DrainMiddleware(app)

Messages that are not HTTP, and requests without a body, pass through.
"""

from drainkit import needs_extra

with needs_extra(__name__, "asgi"):
    from ._middleware import INTERFACE, DrainMiddleware, refuse_as_class, wrap
from ._types import ASGIApplication, Message, Receive, Scope, Send

__all__ = [
    "INTERFACE",
    "ASGIApplication",
    "DrainMiddleware",
    "Message",
    "Receive",
    "Scope",
    "Send",
    "refuse_as_class",
    "wrap",
]
