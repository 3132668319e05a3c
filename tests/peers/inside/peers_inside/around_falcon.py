"""Falcon: every call of an application, of both kinds."""

import falcon
import falcon.asgi


def install(outside):
    """Put drainkit where the setting says."""
    outside.replace_wsgi_call(falcon.App)
    outside.replace_asgi_call(falcon.asgi.App)
