"""The WSGI application of the server tests, with paths for load.

``/state`` tells of the process, ``/crowd`` is ``/413`` with room for one drain.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import served_load_parts as load
import served_parts as parts
import served_wsgi

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


def bare(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer the paths for load; leave the others to the usual application."""
    path = environ["PATH_INFO"]
    if path == "/state":
        body = load.state(environ.get("QUERY_STRING", ""))
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    if path == "/crowd":
        if control := environ.get("drainkit.control"):
            control.policy = load.CROWDED
        body = parts.TOO_LARGE
        start_response("413 Content Too Large", [("Content-Length", str(len(body)))])
        return [body]
    return served_wsgi.bare(environ, start_response)


def _application() -> WSGIApplication:
    if os.environ.get("DRAINKIT_TEST_WRAP") != "1":
        return bare
    from drainkit import DrainPolicy
    from drainkit_wsgi import DrainMiddleware

    load.watch_capacity()
    return DrainMiddleware(
        bare, policy=DrainPolicy(**parts.policy_fields()), on_report=load.count_report
    )


application = _application()
