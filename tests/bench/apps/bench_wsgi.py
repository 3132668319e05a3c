"""The WSGI application that is measured on real servers; BENCH_CONTENDER says what is around it."""

import os
from collections.abc import Iterable
from typing import Any

from tests.bench.alternatives import READ_BYTES, fixed, read_away, wsgi

READY = b"ready " + os.environ.get("DRAINKIT_TEST_TOKEN", "").encode()


def _early(how: str, start_response: Any) -> Iterable[bytes]:
    """Refuse; *how* may ask for two pieces, and for no Content-Length."""
    if not how:
        return fixed(start_response, "413 Content Too Large", b"too large\n")
    headers = [("Content-Type", "text/plain")]
    if "unsized" not in how:
        headers.append(("Content-Length", "10"))
    start_response("413 Content Too Large", headers)
    # As frameworks do it: who looks cannot see how much is to come.
    return iter((b"too ", b"large\n") if "pieces" in how else (b"too large\n",))


def bare(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answer by the path alone."""
    path = environ["PATH_INFO"]
    if path == "/hello":
        return fixed(start_response, "200 OK", b"hello")
    if path == "/early":
        return _early(environ["QUERY_STRING"], start_response)
    if path == "/read":
        return fixed(start_response, "200 OK", b"%d" % read_away(environ, READ_BYTES))
    if path == "/handler":
        read_away(environ, int(environ.get("QUERY_STRING") or READ_BYTES))
        return fixed(start_response, "413 Content Too Large", b"too large\n")
    if path == "/ready":
        return fixed(start_response, "200 OK", READY)
    return fixed(start_response, "404 Not Found", b"no such path")


application = wsgi(os.environ["BENCH_CONTENDER"], bare)
