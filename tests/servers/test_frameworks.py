"""Flask, Django, Starlette and FastAPI on real servers: first the loss, then the delivery.

Each cell uploads 12 MiB with a strict client to something that is answered early.
``KEPT_WITHOUT`` names the cells where nothing is lost without drainkit, and why.
"""

import importlib.util
import json
from dataclasses import dataclass
from typing import Literal

import pytest

from drainkit_clients import Answer, Connection, Upload
from tests.servers.conftest import Fleet

pytestmark = pytest.mark.server

SIZE_BYTES = 12 * 1024 * 1024
TRIES = 5
TRIES_WITHOUT = 20
TIMEOUT_SECONDS = 20.0
# Without drainkit a page bigger than the buffers stops both sides for good.
TIMEOUT_WITHOUT_SECONDS = 2.0

# Werkzeug cuts a chunked urlencoded form off at MAX_CONTENT_LENGTH; of a multipart one it says 413.
_FORM = (("Content-Type", "multipart/form-data; boundary=unused"),)
_LIMIT = {"DRAINKIT_TEST_LIMIT": str(1024 * 1024)}

FRAMINGS: tuple[Literal["length", "chunked"], ...] = ("length", "chunked")
WSGI = ("gunicorn-sync", "granian-wsgi")
ASGI = ("hypercorn-asyncio", "granian-asgi", "gunicorn-asgi")


@dataclass(frozen=True, kw_only=True, slots=True)
class Early:
    """What a framework answers early.

    Attributes:
        path: What is uploaded to.
        status: The right answer's status.
        chunked_status: The same for a chunked body, where that differs.
        body_bytes: The length of the right answer's body; None where the framework chooses it.
    """

    path: str
    status: int
    chunked_status: int | None = None
    body_bytes: int | None = None


FLASK = {
    "redirect": Early(path="/redirect", status=302),
    "MAX_CONTENT_LENGTH": Early(path="/form", status=413),
    "404": Early(path="/nothing", status=404),
    "405": Early(path="/ready", status=405),
    "exception": Early(path="/raise", status=500),
}
_PAGE_BYTES = 4 * 1024 * 1024
DJANGO = {
    "login-redirect": Early(path="/private", status=302),
    # To Django a chunked body is empty, so it is not too big either.
    "RequestDataTooBig": Early(path="/big", status=400, chunked_status=200),
    "CSRF": Early(path="/form", status=403),
    "404": Early(path="/nothing", status=404),
    "exception": Early(path="/raise", status=500),
    "page": Early(path="/page", status=413, body_bytes=_PAGE_BYTES),
    "page-stream": Early(path="/page-stream", status=413, body_bytes=_PAGE_BYTES),
    "page-file": Early(path="/page-file", status=413, body_bytes=_PAGE_BYTES),
}
STARLETTE = {
    "redirect": Early(path="/redirect", status=303),
    "404": Early(path="/nothing", status=404),
    "405": Early(path="/ready", status=405),
    "exception": Early(path="/raise", status=500),
    "page": Early(path="/page", status=413, body_bytes=_PAGE_BYTES),
}
TOO_LARGE = Early(path="/read", status=413)

# uvicorn discards by itself, without a bound, as long as the connection is kept alive.
KEPT_WITHOUT = {
    ("uvicorn-h11", "served_starlette", place, framing)
    for place in ("add", "add-inside", "add-outside")
    for framing in FRAMINGS
}


def problem(answer: Answer, early: Early, framing: Literal["length", "chunked"]) -> str | None:
    """Return what is wrong with an answer; None if it is the right one, whole."""
    status = early.status if framing == "length" else early.chunked_status or early.status
    if not answer.delivered:
        return f"lost: {answer.error}"
    if answer.status != status:
        return f"status {answer.status} instead of {status}"
    if early.body_bytes not in (None, len(answer.body)):
        return f"{len(answer.body)} bytes instead of {early.body_bytes}"
    return None


def show_loss_then_delivery(
    fleet: Fleet,
    name: str,
    app: str,
    early: Early,
    framing: Literal["length", "chunked"],
    *,
    cell: str,
    env: dict[str, str],
    bare_env: dict[str, str] | None = None,
) -> None:
    """Fail unless the answer is lost without drainkit, and arrives with it after one drain."""
    upload = Upload(path=early.path, size_bytes=SIZE_BYTES, framing=framing, headers=_FORM)
    bare = fleet.get(name, wrap=False, app=app, env=bare_env if bare_env is not None else {})
    lost = False
    for _ in range(TRIES_WITHOUT):
        with Connection(bare.address) as connection:
            answer = connection.strict(upload, timeout_seconds=TIMEOUT_WITHOUT_SECONDS)
        lost = lost or problem(answer, early, framing) is not None
        if lost:
            break
    drained = fleet.get(name, wrap=True, app=app, env=env)
    before = len(drained.reports())
    for done in range(TRIES):
        with Connection(drained.address) as connection:
            answer = connection.strict(upload, timeout_seconds=TIMEOUT_SECONDS)
            if trouble := problem(answer, early, framing):
                reports = "\n".join(map(json.dumps, drained.reports()[before:]))
                pytest.fail(f"try {done + 1}: {trouble}\n{reports}\n{drained.log()}")
            # The connection stays open for it: a drain may end behind the answer.
            drained.wait_for_reports(before + done + 1)
    outcomes = [report["outcome"] for report in drained.reports()[before:]]

    assert lost != ((name, app, cell, framing) in KEPT_WITHOUT), f"lost without drainkit: {lost}"
    assert ["COMPLETE"] * TRIES == outcomes


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("cell", FLASK)
@pytest.mark.parametrize("server", WSGI)
def test_flask_answers_early_and_is_heard(
    fleet: Fleet, server: str, cell: str, framing: Literal["length", "chunked"]
) -> None:
    pytest.importorskip("flask")
    show_loss_then_delivery(fleet, server, "served_flask", FLASK[cell], framing, cell=cell, env={})


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("cell", DJANGO)
@pytest.mark.parametrize("place", ["middleware", "wsgi", "both"])
@pytest.mark.parametrize("server", WSGI)
def test_django_answers_early_and_is_heard_once(
    fleet: Fleet, server: str, place: str, cell: str, framing: Literal["length", "chunked"]
) -> None:
    pytest.importorskip("django")
    env = {"DRAINKIT_TEST_PLACE": place}
    show_loss_then_delivery(
        fleet, server, "served_django", DJANGO[cell], framing, cell=cell, env=env
    )


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("place", ["middleware", "wsgi"])
@pytest.mark.parametrize("server", WSGI)
def test_a_stranger_to_rest_framework_is_told_so(
    fleet: Fleet, server: str, place: str, framing: Literal["length", "chunked"]
) -> None:
    pytest.importorskip("rest_framework", reason="needs djangorestframework")
    env = {"DRAINKIT_TEST_PLACE": place}
    early = Early(path="/api", status=401)
    show_loss_then_delivery(fleet, server, "served_django", early, framing, cell="DRF", env=env)


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("cell", STARLETTE)
@pytest.mark.parametrize("app", ["served_starlette", "served_fastapi"])
@pytest.mark.parametrize("server", ASGI)
def test_starlette_and_fastapi_answer_early_and_are_heard(
    fleet: Fleet, server: str, app: str, cell: str, framing: Literal["length", "chunked"]
) -> None:
    _needs_framework_of(app)
    show_loss_then_delivery(fleet, server, app, STARLETTE[cell], framing, cell=cell, env={})


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("app", ["served_starlette", "served_fastapi"])
@pytest.mark.parametrize("server", ASGI)
def test_the_413_of_max_body_size_arrives_with_init_app(
    fleet: Fleet, server: str, app: str, framing: Literal["length", "chunked"]
) -> None:
    _needs_framework_of(app)
    if importlib.util.find_spec("starlette.middleware.body_limit") is None:
        pytest.skip("needs Starlette 1.6 or newer for max_body_size")
    show_loss_then_delivery(
        fleet, server, app, TOO_LARGE, framing, cell="limit", env=_LIMIT, bare_env=_LIMIT
    )


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("place", ["add", "add-inside", "add-outside"])
@pytest.mark.parametrize("server", ["uvicorn-h11", "hypercorn-asyncio", "granian-asgi"])
def test_an_added_middleware_stands_inside_and_outside_of_basehttpmiddleware(
    fleet: Fleet, server: str, place: str, framing: Literal["length", "chunked"]
) -> None:
    pytest.importorskip("starlette")
    env = {"DRAINKIT_TEST_PLACE": place}
    show_loss_then_delivery(
        fleet,
        server,
        "served_starlette",
        STARLETTE["redirect"],
        framing,
        cell=place,
        env=env,
        bare_env=env,
    )


def _needs_framework_of(app: str) -> None:
    pytest.importorskip(app.removeprefix("served_"))
