"""`drainkit_django` as a type checker sees it."""

from typing import assert_type

from django.http import HttpRequest, HttpResponse

import drainkit_wsgi
from drainkit import CONTROL_KEY, DrainControl
from drainkit_django import DrainMiddleware, get_wsgi_application


def view(request: HttpRequest) -> HttpResponse:
    """Decline for one request."""
    control: DrainControl = request.META[CONTROL_KEY]
    control.policy = None
    return HttpResponse("no", status=401)


async def async_view(request: HttpRequest) -> HttpResponse:
    """Answer."""
    return HttpResponse("no", status=401)


application = get_wsgi_application()
assert_type(application, drainkit_wsgi.DrainMiddleware)
assert_type(DrainMiddleware.async_capable, bool)
DrainMiddleware(view)
DrainMiddleware(async_view)
DrainMiddleware("view")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
