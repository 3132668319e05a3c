"""The entry in ``MIDDLEWARE``: drainkit_wsgi's rules, applied to Django's requests and responses.

1. The exchange is opened when Django announces a request and before it makes one of the environ:
   a request binds the methods of the stream that it finds, and what it reads must be counted.
2. The exchange gets the response as if it were a WSGI application's; what it changes goes back
   into the response.
3. The body is discarded behind Django's own ``response.close()``, so that no database connection
   is held for as long as a client uploads.
"""

from __future__ import annotations

import functools
import itertools
import logging
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.core.signals import request_started
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from drainkit_wsgi import Exchange

from ._settings import configuration

logger = logging.getLogger("drainkit.django")

_EXCHANGE_KEY = "drainkit.exchange"


class DrainMiddleware:
    """Delivers Django's answers although bodies are left unread: redirects to a login, 403s, 400s.

    Make ``"drainkit_django.DrainMiddleware"`` the first entry of ``MIDDLEWARE``, so that it sees
    every response. Under ASGI it does nothing: there Django reads the whole body before any
    middleware.

    Raises:
        ImproperlyConfigured: Something is wrong with ``settings.DRAINKIT``.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        configuration()  # a wrong setting must show when the site starts
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
        request_started.connect(_open, dispatch_uid="drainkit")

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Call what is inside, and see to the request's body."""
        if self._is_async:
            return self.__acall__(request)
        exchange = _take(request)
        if exchange is None:
            return self.get_response(request)  # type: ignore[no-any-return]
        try:
            response: HttpResponseBase = self.get_response(request)
            _answer(exchange, request, response)
        except Exception:
            exchange.discard()  # the server's own 500 must arrive, too
            raise
        return response

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        """Do the same when what is inside is asynchronous, which happens under WSGI, too."""
        exchange = _take(request)
        if exchange is None:
            return await self.get_response(request)  # type: ignore[no-any-return]
        try:
            response: HttpResponseBase = await self.get_response(request)
            await sync_to_async(_answer)(exchange, request, response)
        except Exception:
            await sync_to_async(exchange.discard)()
            raise
        return response


def _open(*, environ: dict[str, Any] | None = None, **kwargs: Any) -> None:
    """Open the exchange of a WSGI request; ASGI's announcement has no environ."""
    if environ is None:
        return
    chosen = configuration()
    exchange = Exchange.open(environ, chosen.policy, chosen.on_report)
    if exchange is not None:
        environ[_EXCHANGE_KEY] = exchange


def _take(request: HttpRequest) -> Exchange | None:
    if isinstance(request, ASGIRequest):
        _say_that_asgi_needs_nothing()
        return None
    # META is the environ. Taken out, so that a second entry in MIDDLEWARE does nothing.
    exchange: Exchange | None = request.META.pop(_EXCHANGE_KEY, None)
    return exchange


@functools.cache
def _say_that_asgi_needs_nothing() -> None:
    logger.info(
        "drainkit_django.DrainMiddleware does nothing under ASGI: Django reads the whole body "
        "before any middleware"
    )


def _answer(exchange: Exchange, request: HttpRequest, response: HttpResponseBase) -> None:
    """Do to a response what drainkit_wsgi does to an application's."""
    exchange.status = response.status_code
    if exchange.settled:
        return
    is_file = getattr(response, "file_to_stream", None) is not None
    if is_file and request.META.get("wsgi.file_wrapper"):
        exchange.discard()  # Django will hand the file to the server
    elif isinstance(response, StreamingHttpResponse):
        content = response.streaming_content
        # Another response knows how to make a synchronous iterator of an asynchronous one.
        inner: Any = StreamingHttpResponse(content) if response.is_async else content
        outer = exchange.respond(inner, length=_content_length(response))
        # A chain has no close(): Django would call it before it has closed everything else.
        response.streaming_content = itertools.chain(outer)
        # Also when the body is discarded already: some of it may be kept until then.
        response.close = _Close(response, exchange)  # type: ignore[method-assign]
        return
    elif isinstance(response, HttpResponse):
        nbytes = len(response.content)
        length = exchange.respond_whole(nbytes, length=_content_length(response))
        if length is not None and not response.has_header("Transfer-Encoding"):
            response.headers.setdefault("Content-Length", str(length))
    if not exchange.settled:
        response.close = _Close(response, exchange)  # type: ignore[method-assign]


def _content_length(response: HttpResponseBase) -> int | None:
    value = response.headers.get("Content-Length", "")
    return int(value) if value.isascii() and value.isdigit() else None


class _Close:
    """A response's ``close()``: Django's own, once, then the body is discarded.

    Called, it takes itself off the response, which can then be pickled as without drainkit.
    """

    __slots__ = ("_close", "_exchange", "_own", "_response")

    def __init__(self, response: HttpResponseBase, exchange: Exchange) -> None:
        self._response = weakref.ref(response)
        self._own: Callable[[], None] | None = vars(response).get("close")
        self._close: Callable[[], None] | None = response.close
        self._exchange = exchange

    def __reduce__(self) -> tuple[Any, ...]:
        """Be pickled as a method of the response: caches keep responses, and nothing of ours."""
        return getattr, (self._response(), "close")

    def __call__(self) -> None:
        close, self._close = self._close, None
        response = self._response()
        attributes = {} if response is None else vars(response)
        if attributes.get("close") is self:
            del attributes["close"]
            if self._own is not None:
                attributes["close"] = self._own
        try:
            if close is not None:
                close()
        finally:
            self._exchange.discard(is_answered=True)
