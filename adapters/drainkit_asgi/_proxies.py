"""What proxies in front of the server need. They are no servers, so they have no row."""

from __future__ import annotations

import functools
from dataclasses import replace

from drainkit import Moment, Moments

from ._types import Scope


def moments_behind(scope: Scope, moments: Moments) -> Moments:
    """Return a server's moments, for the proxy that seems to stand in front of it.

    Caddy and Traefik read no more of an upload once they have the whole answer: Go's ReverseProxy
    stops, and its net/http closes with more than 256 KiB unread, 0.5 s later (net/http/server.go,
    closeWriteAndWait). They send X-Forwarded-Host. nginx stops once it has the beginning, so that a
    client which does not read while it writes never has the end of an answer that fits no buffer.
    It speaks HTTP/1.0, or sends "Connection: close", unless it is told otherwise.

    Proxies that read on send the same; a client that does waits longer than it must.

    Args:
        scope: The request's.
        moments: The server's, for the request's HTTP version.
    """
    if moments.small_error is not None:
        return moments  # HTTP/2 and HTTP/3: those proxies speak HTTP/1 to a server
    may_be_nginx = scope.get("http_version") == "1.0"
    for name, value in scope.get("headers", ()):
        if name == b"x-forwarded-host":
            return _behind_go(moments)
        if name == b"connection" and value == b"close":
            may_be_nginx = True
    return _behind_nginx(moments) if may_be_nginx else moments


# A handful of rows; each is made once.
@functools.cache
def _behind_go(moments: Moments) -> Moments:
    return replace(
        moments, whole=Moment.FIRST, pieces=Moment.FIRST, big=None, uninvited=Moment.NEVER
    )


@functools.cache
def _behind_nginx(moments: Moments) -> Moments:
    return replace(moments, big=Moment.FIRST)
