"""What proxies in front of a server need. They are no servers, and are known by what they send."""

from __future__ import annotations

from ._types import Environ


def reads_no_further(environ: Environ) -> bool:
    """Tell whether a proxy in front may read no more of an upload once it has the whole answer.

    Caddy and Traefik are such: Go's ReverseProxy then stops, and its net/http closes with more
    than 256 KiB unread, 0.5 s later (net/http/server.go, closeWriteAndWait). They send this field,
    and so do proxies that would read on; a client that forges it only waits longer itself.
    """
    return "HTTP_X_FORWARDED_HOST" in environ
