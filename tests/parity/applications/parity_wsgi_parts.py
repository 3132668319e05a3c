"""What the WSGI applications of the scenarios have in common: notes, drainkit's place, answers.

Notes are those of ``parity_parts``: each run of a scenario has its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import parity_parts
import served_parts

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


def scope_of(environ: WSGIEnvironment) -> dict[str, Any]:
    """Return what the notes know a request by."""
    return {"query_string": environ.get("QUERY_STRING", "").encode("latin-1")}


def note(environ: WSGIEnvironment, name: str, value: Any) -> None:
    """Write down what the application saw."""
    parity_parts.note(scope_of(environ), name, value)


def drained(app: WSGIApplication) -> WSGIApplication:
    """Put drainkit around an application, if the test wants it."""
    if not parity_parts.WRAPPED:
        return app
    from drainkit import DrainPolicy
    from drainkit_wsgi import DrainMiddleware

    policy = DrainPolicy(**served_parts.policy_fields())
    return DrainMiddleware(app, policy, on_report=served_parts.keep_report)


def respond(
    start_response: StartResponse,
    status: str,
    data: bytes,
    headers: Mapping[str, str] | None = None,
) -> list[bytes]:
    """Answer with a whole page."""
    fields = {"Content-Type": "text/plain", "Content-Length": str(len(data)), **(headers or {})}
    start_response(status, list(fields.items()))
    return [data]


def entry(places: Mapping[str, WSGIApplication]) -> WSGIApplication:
    """Return the application that a server runs: those of the scenarios, by the path's beginning.

    Args:
        places: The applications; each is called with the whole path.
    """

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path: str = environ["PATH_INFO"]
        if path == "/ready":
            return respond(start_response, "200 OK", served_parts.READY)
        if path == "/notes":
            return respond(start_response, "200 OK", parity_parts.noted(scope_of(environ)))
        return places[path.split("/")[1]](environ, start_response)

    return application
