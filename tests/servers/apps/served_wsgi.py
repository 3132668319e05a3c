"""The WSGI application of the conformance kit for real servers: ``application``, bare or wrapped.

DRAINKIT_TEST_WRAP=1 wraps it, DRAINKIT_TEST_POLICY holds the policy's fields as JSON,
DRAINKIT_TEST_REPORTS names the file that gets one JSON line a report. drainkit is imported only to
wrap.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import served_parts as parts

from drainkit_conformance import body_pieces, wsgi_application

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

# Its case says what the application read, and the server should have its very iterable.
_SHOWN_PATH = "/length"
# Not one of the kit's: answers 413, but not at once.
_PAUSE_PATH = "/413-after-a-pause"
_PAUSE_SECONDS = float(os.environ.get("DRAINKIT_TEST_PAUSE_SECONDS", "0.45"))
# Nor this one: a 413 in two pieces, of which nobody knows how long it is.
_IN_PIECES_PATH = "/413-in-pieces"


class Plain(list[bytes]):
    """An iterable that can be told from every other."""


def _pieces(environ: WSGIEnvironment) -> Iterator[bytes]:
    """Read a chunked body to its end, also where the server ends it without saying so."""
    if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        if "uwsgi.version" in environ and not environ.get("CONTENT_LENGTH"):
            import uwsgi

            yield from iter(uwsgi.chunked_read, b"")
            return
        if "WSGIServer" not in environ.get("SERVER_SOFTWARE", ""):
            environ = {**environ, "wsgi.input_terminated": True}
    yield from body_pieces(environ)


_kit = wsgi_application(ready=parts.READY, pieces=_pieces)


def bare(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer as the kit's application does."""
    if environ["PATH_INFO"] == _PAUSE_PATH:
        time.sleep(_PAUSE_SECONDS)
        return _kit({**environ, "PATH_INFO": "/413"}, start_response)
    if environ["PATH_INFO"] == _IN_PIECES_PATH:
        start_response("413 Content Too Large", [("Content-Type", "text/plain")])
        return iter([b"too ", b"large"])
    result = _kit(environ, start_response)
    return Plain(result) if environ["PATH_INFO"] == _SHOWN_PATH else result


def _identity_shown(app: WSGIApplication) -> WSGIApplication:
    """Say in a header of that path whether the server gets the application's very iterable."""

    def shown(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != _SHOWN_PATH:
            return app(environ, start_response)
        held: list[tuple[str, list[tuple[str, str]]]] = []

        def hold(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Callable[[bytes], object]:
            held.append((status, headers))
            return lambda data: None

        result = app(environ, hold)
        status, headers = held[-1]
        same = "yes" if type(result) is Plain else "no"
        start_response(status, [*headers, ("X-Same-Iterable", same)])
        return result

    return shown


def _application() -> WSGIApplication:
    if os.environ.get("DRAINKIT_TEST_WRAP") != "1":
        return _identity_shown(bare)
    from drainkit import DrainPolicy
    from drainkit_wsgi import DrainMiddleware
    from drainkit_wsgi.servers import _rows

    if os.environ.get("DRAINKIT_TEST_UNKNOWN") == "1":
        _rows.SERVERS = ()  # as if this server were of tomorrow
    drained = DrainMiddleware(
        bare, policy=DrainPolicy(**parts.policy_fields()), on_report=parts.keep_report
    )
    return _identity_shown(drained)


application = _application()
