"""What is known by its name: servers by their ``Server`` header, proxies by their words.

Rule: a row a server, a row a proxy; what concerns one of them only stands in its row. Nothing here
decides whether an answer was lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from drainkit_clients import Answer

Interface = Literal["wsgi", "asgi", "either"]


@dataclass(frozen=True, slots=True)
class Cure:
    """The lines to add.

    Attributes:
        world: For whom.
        install: What pip is asked for.
        lines: The lines.
    """

    world: str
    install: str
    lines: tuple[str, ...]


FLASK = Cure("Flask", "drainkit[flask]", ("import drainkit_flask", "drainkit_flask.init_app(app)"))
DJANGO = Cure(
    "Django, in settings.py",
    "drainkit[django]",
    ('MIDDLEWARE.insert(0, "drainkit_django.DrainMiddleware")',),
)
STARLETTE = Cure(
    "Starlette, FastAPI",
    "drainkit[starlette]",
    ("import drainkit_starlette", "drainkit_starlette.init_app(app)"),
)
WSGI = Cure(
    "any other WSGI application",
    "drainkit",
    ("from drainkit_wsgi import DrainMiddleware", "application = DrainMiddleware(application)"),
)
ASGI = Cure(
    "any other ASGI application",
    "drainkit[asgi]",
    ("from drainkit_asgi import DrainMiddleware", "app = DrainMiddleware(app)"),
)

CURES: dict[Interface, tuple[Cure, ...]] = {
    "wsgi": (FLASK, DJANGO, WSGI),
    "asgi": (STARLETTE, ASGI),
    "either": (FLASK, DJANGO, STARLETTE, WSGI, ASGI),
}


@dataclass(frozen=True, slots=True)
class Stack:
    """A server known by its ``Server`` header.

    Attributes:
        name: What people call it.
        prefix: How its header begins, in lower case.
        interface: What applications it serves.
        is_proxy: Whether it passes requests on rather than running the application.
        hint: What else to look at there; "" for nothing.
    """

    name: str
    prefix: str
    interface: Interface = "either"
    is_proxy: bool = False
    hint: str = ""


_SPOOLS = (
    "It stores the whole upload before it calls the application, so drainkit has nothing to do "
    "there: what is lost is an answer of its own, "
)

# The first row that fits counts.
STACKS: tuple[Stack, ...] = (
    Stack("gunicorn (asgi worker)", "gunicorn/asgi", "asgi"),
    Stack("gunicorn", "gunicorn", "wsgi"),
    Stack(
        "uvicorn",
        "uvicorn",
        "asgi",
        hint="uvicorn discards by itself while a connection is kept alive, and not when it closes.",
    ),
    Stack("hypercorn", "hypercorn", "asgi"),
    Stack("granian", "granian"),
    Stack(
        "waitress",
        "waitress",
        "wsgi",
        hint=_SPOOLS + "of max_request_body_size. Raise that, and let the application refuse.",
    ),
    Stack("daphne", "daphne", "asgi", hint=_SPOOLS + "look at its log."),
    Stack("Twisted", "twistedweb"),
    Stack("cheroot", "cheroot", "wsgi"),
    Stack("Werkzeug's development server", "werkzeug", "wsgi"),
    Stack(
        "wsgiref (or Django's runserver)",
        "wsgiserver/",
        "wsgi",
        hint="wsgiref parses no chunks, so the answer to a chunked upload cannot be saved there.",
    ),
    Stack("gevent", "gevent", "wsgi"),
    Stack("eventlet", "eventlet", "wsgi"),
    Stack(
        "aiohttp", "python/", hint="aiohttp serves its own applications, which drainkit is not for."
    ),
    Stack("nginx", "nginx", is_proxy=True),
    Stack("OpenResty", "openresty", is_proxy=True),
    Stack("Apache httpd", "apache", is_proxy=True),
    Stack("Caddy", "caddy", is_proxy=True),
    Stack("Envoy", "envoy", is_proxy=True),
    Stack("Envoy (Istio)", "istio-envoy", is_proxy=True),
    Stack("Cloudflare", "cloudflare", is_proxy=True),
    Stack("the AWS load balancer", "awselb", is_proxy=True),
    Stack("Amazon CloudFront", "cloudfront", is_proxy=True),
    Stack("Heroku's router", "heroku", is_proxy=True),
    Stack("Varnish", "varnish", is_proxy=True),
    Stack("Google's front end", "google frontend", is_proxy=True),
    Stack("LiteSpeed", "litespeed", is_proxy=True),
)


@dataclass(frozen=True, slots=True)
class Words:
    """A proxy known by what its own error pages say.

    Attributes:
        name: What people call it.
        needle: What its page holds.
    """

    name: str
    needle: bytes


# Proxies that do not name themselves in the Server header, or not always.
WORDS: tuple[Words, ...] = (
    Words("nginx", b"<center>nginx"),
    Words("OpenResty", b"<center>openresty"),
    Words("HAProxy", b"The server returned an invalid or incomplete response."),
    Words("HAProxy", b"No server is available to handle this request."),
    Words("HAProxy", b"The server didn't respond in time."),
    Words("Envoy", b"upstream connect error or disconnect/reset before headers"),
    Words("Apache httpd", b"The proxy server received an invalid"),
    Words("Apache httpd", b"<address>Apache"),
    Words("Varnish", b"Guru Meditation"),
    Words("Heroku's router", b"herokucdn.com/error-pages"),
)


def stack_of(server: str | None) -> Stack | None:
    """Return the server that a ``Server`` header names, if it is known.

    Args:
        server: The header's value; None without one.
    """
    said = (server or "").lower()
    return next((stack for stack in STACKS if said.startswith(stack.prefix)), None)


def whose_words(answer: Answer) -> str | None:
    """Return which proxy wrote an error page; None if nobody knows.

    Args:
        answer: A 502, 503 or 504.
    """
    named = next((words.name for words in WORDS if words.needle in answer.body), None)
    if named is not None:
        return named
    stack = stack_of(answer.header("server"))
    return stack.name if stack is not None and stack.is_proxy else None
