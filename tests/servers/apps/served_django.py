"""A Django project in one file; see ``served_wsgi`` for the environment variables.

DRAINKIT_TEST_PLACE says where drainkit is: ``middleware``, ``wsgi`` or ``both``.
"""

import importlib.util
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
import served_parts as parts
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

_PLACE = os.environ.get("DRAINKIT_TEST_PLACE", "both")
_WRAP = os.environ.get("DRAINKIT_TEST_WRAP") == "1"
_HAS_DRF = importlib.util.find_spec("rest_framework") is not None

settings.configure(
    ALLOWED_HOSTS=["*"],
    DEBUG=False,
    SECRET_KEY="only for tests",
    ROOT_URLCONF=__name__,
    WSGI_APPLICATION=f"{__name__}.application",
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        *(["rest_framework"] if _HAS_DRF else []),
        *(["drainkit_django"] if _WRAP else []),
    ],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    MIDDLEWARE=[
        *(["drainkit_django.DrainMiddleware"] if _WRAP and _PLACE != "wsgi" else []),
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    LOGIN_URL="/login",
    REST_FRAMEWORK={"UNAUTHENTICATED_USER": None},
    DRAINKIT={**parts.policy_fields(), "on_report": parts.keep_report},
)
django.setup()


def ready(request: HttpRequest) -> HttpResponse:
    return HttpResponse(parts.READY)


@csrf_exempt
@login_required
def private(request: HttpRequest) -> HttpResponse:
    return HttpResponse("secret")


@csrf_exempt
def big(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(len(request.body)))


def form(request: HttpRequest) -> HttpResponse:
    return HttpResponse("no forgery")


@csrf_exempt
def fail(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("raised before reading, as the test asked")


@csrf_exempt
def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(parts.page(), status=413)


@csrf_exempt
def page_stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(parts.page_pieces(), status=413)


@csrf_exempt
def page_file(request: HttpRequest) -> FileResponse:
    file = Path(tempfile.gettempdir(), f"drainkit-page-{os.getpid()}")
    file.write_bytes(parts.page())
    opened = file.open("rb")
    file.unlink()
    return FileResponse(opened, status=413)


@csrf_exempt
def upper(request: HttpRequest) -> StreamingHttpResponse:
    def pieces() -> Iterator[bytes]:
        while piece := request.read(parts.PIECE_BYTES):
            yield piece.upper()

    return StreamingHttpResponse(pieces())


def _api() -> Any:
    from rest_framework.authentication import BasicAuthentication
    from rest_framework.permissions import IsAuthenticated
    from rest_framework.request import Request
    from rest_framework.response import Response
    from rest_framework.views import APIView

    class Api(APIView):
        authentication_classes = [BasicAuthentication]  # noqa: RUF012
        permission_classes = [IsAuthenticated]  # noqa: RUF012

        def post(self, request: Request) -> Response:
            return Response(request.data)

    return Api.as_view()


urlpatterns = [
    path("ready", ready),
    path("private", private),
    path("big", big),
    path("form", form),
    path("raise", fail),
    path("page", page),
    path("page-stream", page_stream),
    path("page-file", page_file),
    path("upper", upper),
    *([path("api", _api())] if _HAS_DRF else []),
]

if _WRAP and _PLACE != "middleware":
    import drainkit_django

    application: Any = drainkit_django.get_wsgi_application()
else:
    application = get_wsgi_application()

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    execute_from_command_line()
