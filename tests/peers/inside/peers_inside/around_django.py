"""Django and DRF: the handlers of the test client and of the servers, and ``MIDDLEWARE``."""

import functools

from django.core.handlers import base
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test.client import ClientHandler

from .setting import Place

OURS = "drainkit_django.DrainMiddleware"


def install(outside):
    """Put drainkit where the setting says."""
    outside.replace_wsgi_call(WSGIHandler)
    outside.replace_asgi_call(ASGIHandler)
    call = ClientHandler.__call__

    @functools.wraps(call)
    def outer(handler, environ):
        return _called(outside, functools.partial(call, handler), environ)

    ClientHandler.__call__ = outer
    if outside.setting.place is Place.MIDDLEWARE:
        base.settings = _WithMiddleware(base.settings)


class _WithMiddleware:
    """Django's settings, with drainkit first in what handlers read as ``MIDDLEWARE``."""

    def __init__(self, settings):
        self._settings = settings

    def __getattr__(self, name):
        value = getattr(self._settings, name)
        return [OURS, *value] if name == "MIDDLEWARE" else value


def _called(outside, handle, environ):
    """Call the test client's handler, which returns a response, as a WSGI application.

    It closes what is whole by itself; a stream is its caller's, who reads it as it will.
    """
    response = None

    def application(environ, start_response):
        nonlocal response
        response = handle(environ)
        start_response(
            f"{response.status_code} {response.reason_phrase}", list(response.headers.items())
        )
        if not response.streaming:
            return [response.content]
        return [] if response.is_async else response.streaming_content

    result = outside.wsgi(application)(environ, _start_response)
    if response.streaming and not response.is_async:
        response.streaming_content = result
    else:
        _consume(result)
    return response


def _start_response(status, headers, exc_info=None):
    return lambda content: None


def _consume(result):
    for _ in result:
        pass
    close = getattr(result, "close", None)
    if close is not None:
        close()
