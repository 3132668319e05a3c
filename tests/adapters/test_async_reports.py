"""An asynchronous ``on_report`` is refused where it is given: nobody would ever await it."""

import pytest

import drainkit_asgi
import drainkit_wsgi
from tests.adapters import asgi_server, wsgi_server
from tests.adapters.async_reports import ASYNC_REPORTS


def around_wsgi(on_report):
    drainkit_wsgi.DrainMiddleware(wsgi_server.answering(b"no"), on_report=on_report)


def around_asgi(on_report):
    drainkit_asgi.DrainMiddleware(asgi_server.answering(b"no"), on_report=on_report)


def in_flask(on_report):
    flask = pytest.importorskip("flask", reason="needs flask")
    import drainkit_flask

    drainkit_flask.init_app(flask.Flask("refused"), on_report=on_report)


def around_starlette(on_report):
    applications = pytest.importorskip("starlette.applications", reason="needs starlette")
    import drainkit_starlette

    drainkit_starlette.init_app(applications.Starlette(), on_report=on_report)


def added_to_starlette(on_report):
    """Starlette makes its middleware when the application starts."""
    applications = pytest.importorskip("starlette.applications", reason="needs starlette")
    import drainkit_starlette

    app = applications.Starlette()
    app.add_middleware(drainkit_starlette.DrainMiddleware, on_report=on_report)
    app.build_middleware_stack()


@pytest.mark.parametrize("on_report", ASYNC_REPORTS.values(), ids=ASYNC_REPORTS)
@pytest.mark.parametrize(
    "place", [around_wsgi, around_asgi, in_flask, around_starlette, added_to_starlette]
)
def test_it_is_refused(place, on_report):
    with pytest.raises(TypeError, match="must be a plain callable, since nobody would await it"):
        place(on_report)
