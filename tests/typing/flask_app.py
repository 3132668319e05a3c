"""`drainkit_flask` as a type checker sees it."""

from typing import assert_type

from flask import Flask

from drainkit import DrainPolicy, DrainReport
from drainkit_flask import init_app
from drainkit_wsgi import DrainMiddleware


class Site(Flask):
    """Somebody's own class."""


def told(report: DrainReport) -> None:
    """Take a report."""


assert_type(init_app(Flask("site")), Flask)
assert_type(init_app(Site("site"), DrainPolicy(max_bytes=None), on_report=told), Site)

assert_type(init_app(Flask("site"), max_bytes=5), Flask)

plain = Flask("site")
plain.wsgi_app = DrainMiddleware(plain.wsgi_app)  # type: ignore[method-assign]

DrainMiddleware(plain.wsgi_app, None, max_seconds=5)
DrainMiddleware(plain.wsgi_app, max_byte=5)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
init_app("site")  # type: ignore[type-var] # pyright: ignore[reportArgumentType]
init_app(plain, {"max_bytes": 1})  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
