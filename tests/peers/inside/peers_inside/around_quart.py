"""Quart: the ASGI application of each application as it is made."""

from quart import Quart

from .outside import after_init


def install(outside):
    """Put drainkit where the setting says."""

    def change(app):
        app.asgi_app = outside.asgi(app.asgi_app)

    after_init(Quart, change)
