"""The cells that nothing can save, by server and case, each with its reason."""

from tests.servers.cases import CASES

_RAW = "it hands over the raw socket: nobody parses the chunks"
_SILENT = "it writes no answer when the application raises, with no upload either"
_HALF = "the proxy passes no more of the body on once the answer has begun"
_BODY_FIRST = (
    "Apache's child sends the daemon process the whole body before it reads any of the answer"
)

CANNOT: dict[tuple[str, str], str] = {
    **{
        (server, name): _RAW
        for server in ("wsgiref", "runserver")
        for name in CASES
        if "chunked" in name
    },
    **{
        (server, "raise"): _SILENT
        for server in ("uwsgi-http-socket", "uwsgi-http", "uwsgi-nginx", "gunicorn-tornado")
    },
    **{("uwsgi-nginx", name): _HALF for name in ("late", "transform-length", "transform-chunked")},
    **{
        ("mod_wsgi-daemon", name): _BODY_FIRST for name in ("transform-length", "transform-chunked")
    },
}

_GO = "Go's net/http takes no more of a body once its answer has begun (enable_full_duplex is off)"

# The same for what stands in front, by proxy and case, whatever the server.
BEHIND: dict[tuple[str, str], str] = {
    **{
        (proxy, name): _HALF
        for proxy in ("nginx", "nginx-1.0", "apache")
        for name in ("transform-length", "transform-chunked")
    },
    **{("caddy", name): _GO for name in ("late", "transform-length", "transform-chunked")},
}
