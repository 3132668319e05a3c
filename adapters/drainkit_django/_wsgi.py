"""Django's WSGI application with drainkit around it, for ``wsgi.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self

from django.core import wsgi
from django.http import HttpResponse

import drainkit_wsgi

from ._settings import configuration


def get_wsgi_application() -> drainkit_wsgi.DrainMiddleware:
    """Return Django's WSGI application, with drainkit around it as ``settings.DRAINKIT`` says.

    An entry in ``MIDDLEWARE`` beside it does no harm: each request is drained once.

    Raises:
        ImproperlyConfigured: Something is wrong with ``settings.DRAINKIT``.
    """
    application = wsgi.get_wsgi_application()  # sets Django up
    chosen = configuration()
    return drainkit_wsgi.DrainMiddleware(
        _Application(application), chosen.policy, on_report=chosen.on_report
    )


class _Application:
    """Django's application, with its whole responses as tuples.

    drainkit_wsgi knows a tuple to be whole, and gives it the Content-Length that Django leaves to
    CommonMiddleware: an eager client then sees the response's end before the connection's.
    """

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        result = self._application(environ, start_response)
        return _Whole(result) if isinstance(result, HttpResponse) else result


class _Whole(tuple[bytes]):
    """A response that is not streamed, closed as Django closes it.

    It is no list: granian closes none (granian/wsgi.py), and Django would never hear of the end of
    a request, nor give its database connections back.
    """

    close: Callable[[], None]

    def __new__(cls, response: HttpResponse) -> Self:
        whole = super().__new__(cls, (response.content,))
        whole.close = response.close
        return whole
