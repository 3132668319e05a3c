"""drainkit for any ASGI application: Starlette, FastAPI, Quart, Litestar, or a plain function.

from drainkit_asgi import DrainMiddleware

app = DrainMiddleware(app)
"""

from ._middleware import DrainMiddleware
from ._types import ASGIApplication, Message, Receive, Scope, Send

__all__ = ["ASGIApplication", "DrainMiddleware", "Message", "Receive", "Scope", "Send"]
