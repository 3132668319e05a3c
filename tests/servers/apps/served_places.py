"""Where drainkit stands in the Starlette and the FastAPI application.

DRAINKIT_TEST_PLACE says it: ``init_app``, ``add`` (add_middleware), and ``add-outside`` or
``add-inside`` of a BaseHTTPMiddleware. DRAINKIT_TEST_LIMIT is the application's max_body_size.
"""

import os
from typing import Any

import served_parts as parts
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response

_PLACE = os.environ.get("DRAINKIT_TEST_PLACE", "init_app")
_LIMIT = os.environ.get("DRAINKIT_TEST_LIMIT")


async def _passed_on(request: Request, call_next: RequestResponseEndpoint) -> Response:
    response = await call_next(request)
    response.headers["x-passed-on"] = "yes"
    return response


def drained(app: Any) -> Any:
    """Put drainkit where the test wants it."""
    if _PLACE == "add-outside":
        app.add_middleware(BaseHTTPMiddleware, dispatch=_passed_on)
    if os.environ.get("DRAINKIT_TEST_WRAP") == "1":
        from drainkit import DrainPolicy
        from drainkit_starlette import DrainMiddleware, init_app

        policy = DrainPolicy(**parts.policy_fields())
        if _PLACE == "init_app":
            init_app(app, policy, on_report=parts.keep_report)
        else:
            app.add_middleware(DrainMiddleware, policy, on_report=parts.keep_report)
    if _PLACE == "add-inside":
        app.add_middleware(BaseHTTPMiddleware, dispatch=_passed_on)
    return app


def options() -> dict[str, Any]:
    """Return the application's arguments; older versions know no limit."""
    return {"max_body_size": int(_LIMIT)} if _LIMIT else {}
