"""Every cell of the acceptance table: first the loss without drainkit, then the delivery with it.

``LOST_WITHOUT`` was measured with ``python -m tests.servers.measure``. A case that is not named for
a server is not lost there, or so seldom that no test can rely on it; only the delivery is tested.
`cannot` holds the cells that nothing can save, each with its reason.
"""

import json

import pytest

from drainkit_clients import Connection
from drainkit_conformance import judge
from tests.servers.cannot import CANNOT
from tests.servers.cases import (
    CASES,
    TIMEOUT_SECONDS,
    TIMEOUT_WITHOUT_SECONDS,
    TRIES,
    TRIES_WITHOUT,
    Case,
)
from tests.servers.conftest import Fleet
from tests.servers.harness import ALL_SERVERS, SERVERS, Running

pytestmark = pytest.mark.server

_KEPT = {"413-16MiB-length-keep-alive", "413-16MiB-chunked-keep-alive"}
_CLOSED = {"413-16MiB-length-close", "413-16MiB-chunked-close"}
_PAUSE = {"pause-100KiB", "pause-1MiB"}
_EARLY = {"302", "200", "422"}
_PAGE = {"page", "page-stream"}

# Lost in each of 20 tries. Left out because they are races, lost in 0 to 20 of 20 depending on
# what else the machine does: 1 MiB on wsgiref, gunicorn, cheroot and granian, 1 MiB with "close" on
# uvicorn, 64 KiB chunked on granian and gunicorn, the pause with 1 MiB on gunicorn, the streamed
# page on uvicorn.
LOST_WITHOUT: dict[str, set[str]] = {
    "wsgiref": _KEPT | _CLOSED | _PAUSE | _EARLY | _PAGE | {"raise"},
    "werkzeug": _PAUSE,
    "gunicorn-sync": _KEPT | _CLOSED | _EARLY | _PAGE | {"raise"},
    "gunicorn-gthread": _KEPT | _CLOSED | _EARLY | _PAGE | {"raise"},
    "gunicorn-gevent": _CLOSED | _PAGE | {"raise"},
    "gunicorn-asgi": _KEPT | _CLOSED | _PAUSE | _EARLY | _PAGE | {"raise"},
    # By itself it reads the rest away before it sends headers (but for a 413, "Connection: close"
    # and chunked bodies): that delivers many an answer, and leaves a late read nothing.
    "cheroot": _KEPT | _CLOSED | _PAUSE | _PAGE | {"raise", "late", "transform-length"},
    "waitress": set(),
    "granian-wsgi": _KEPT | _CLOSED | _PAUSE | _EARLY | _PAGE | {"raise"},
    "granian-asgi": _KEPT | _CLOSED | _PAUSE | _EARLY | _PAGE | {"raise"},
    "uvicorn-h11": _CLOSED | {"raise"},
    "uvicorn-httptools": _CLOSED | {"raise"},
    "hypercorn-asyncio": _KEPT | _CLOSED | _PAUSE | _EARLY | _PAGE | {"raise"},
    "hypercorn-trio": _KEPT | _CLOSED | _PAUSE | _EARLY | _PAGE | {"raise"},
    "daphne": set(),
    "uwsgi-http-socket": _KEPT | _CLOSED | _PAUSE | _EARLY | _PAGE,
    "uwsgi-http": _KEPT | _CLOSED | _PAUSE | _EARLY | _PAGE,
    # nginx may have passed the answer on before it finds the connection reset: all are races.
    "uwsgi-nginx": set(),
    "gevent-pywsgi": _PAGE,
    "gunicorn-gevent_pywsgi": _PAGE,
    "gunicorn-tornado": set(),
    "mod_wsgi-daemon": _PAGE,
    "mod_wsgi-embedded": {"page"},
    "bjoern": set(),
    "runserver": set(),
    "aiohttp-wsgi": set(),
    "uvicorn-zttp": _CLOSED | {"raise"},
    "gunicorn-uvicorn": _CLOSED | {"raise"},
    "aiohttp-asgi": set(),
}

# What the tests put to MORE_SERVERS; ``python -m tests.matrix`` puts everything to them.
BRIEF = _CLOSED | {"302", "200", "page", "late"}

# These spool the whole body before the application is called: nothing is left to drain.
DRAINED = [name for name in SERVERS if name not in ("waitress", "daphne")]


def cells(row: str) -> pytest.MarkDecorator:
    """Return one parameter a cell of a row, server by server: each is then started once."""
    chosen = [
        pytest.param(server, case, id=f"{server}-{case.name}")
        for server in ALL_SERVERS
        for case in CASES.values()
        if case.row == row
        and (server, case.name) not in CANNOT
        and (server in SERVERS or case.name in BRIEF)
    ]
    return pytest.mark.parametrize(("server", "case"), chosen)


def problem(server: Running, case: Case, *, timeout_seconds: float = TIMEOUT_SECONDS) -> str | None:
    """Upload once; return what is wrong with the answer."""
    (only,) = judge(case, server.address, tries=1, timeout_seconds=timeout_seconds).tries
    return only.problem


def show_loss_then_delivery(
    fleet: Fleet, name: str, case: Case, *, tries_with: int = TRIES
) -> None:
    """Fail unless the case is lost without drainkit, where that is so, and arrives with it."""
    if case.name in LOST_WITHOUT[name]:
        bare = fleet.get(name, wrap=False)
        tries = (
            problem(bare, case, timeout_seconds=TIMEOUT_WITHOUT_SECONDS)
            for _ in range(TRIES_WITHOUT)
        )
        assert any(tries), f"{TRIES_WITHOUT} of {TRIES_WITHOUT} arrive without drainkit"
    drained = fleet.get(name, wrap=True)
    problems = [problem(drained, case) for _ in range(tries_with)]
    if any(problems):
        reports = "\n".join(map(json.dumps, drained.reports()[-TRIES:]))
        pytest.fail(f"{problems}\n{reports}\n{drained.log()}")


@cells("413")
def test_a_413_that_reads_nothing_arrives(fleet: Fleet, server: str, case: Case) -> None:
    show_loss_then_delivery(fleet, server, case)


@cells("pause")
def test_a_413_arrives_although_the_body_comes_late(fleet: Fleet, server: str, case: Case) -> None:
    show_loss_then_delivery(fleet, server, case)


@cells("other-status")
def test_a_redirect_and_a_200_that_read_nothing_arrive(
    fleet: Fleet, server: str, case: Case
) -> None:
    show_loss_then_delivery(fleet, server, case)


@cells("page")
def test_a_page_bigger_than_the_buffers_arrives_without_a_deadlock(
    fleet: Fleet, server: str, case: Case
) -> None:
    # Both sides send at once: five tries would miss a race that is lost once in twenty.
    show_loss_then_delivery(fleet, server, case, tries_with=20)


@cells("422")
def test_an_answer_after_the_first_bytes_arrives(fleet: Fleet, server: str, case: Case) -> None:
    show_loss_then_delivery(fleet, server, case)


@cells("raise")
def test_the_servers_500_arrives_when_the_application_raises(
    fleet: Fleet, server: str, case: Case
) -> None:
    show_loss_then_delivery(fleet, server, case)


@cells("late")
def test_an_application_may_read_after_it_began_to_answer(
    fleet: Fleet, server: str, case: Case
) -> None:
    show_loss_then_delivery(fleet, server, case)


@cells("transform")
def test_a_streaming_transform_loses_no_byte(fleet: Fleet, server: str, case: Case) -> None:
    show_loss_then_delivery(fleet, server, case)


@cells("read-all")
def test_a_body_that_was_read_passes_as_if_drainkit_were_not_there(
    fleet: Fleet, server: str, case: Case
) -> None:
    show_loss_then_delivery(fleet, server, case)


@pytest.mark.parametrize(
    "server", [name for name, row in SERVERS.items() if row.interface == "wsgi"]
)
def test_the_server_gets_the_very_iterable_of_an_application_that_read_everything(
    fleet: Fleet, server: str
) -> None:
    with Connection(fleet.get(server, wrap=True).address) as connection:
        answer = CASES["read-all"].run(connection)
    assert answer.header("x-same-iterable") == "yes"


@pytest.mark.parametrize(
    "name",
    [
        "413-16MiB-length-keep-alive",
        "413-16MiB-chunked-close",
        "302",
        "page",
        "page-stream",
        "422",
        "raise",
    ],
)
@pytest.mark.parametrize("server", DRAINED)
def test_the_report_of_an_answer_that_arrived_says_complete(
    fleet: Fleet, server: str, name: str
) -> None:
    if (server, name) in CANNOT:
        pytest.skip(CANNOT[server, name])
    case = CASES[name]
    drained = fleet.get(server, wrap=True)
    before = len(drained.reports())
    assert problem(drained, case) is None
    status = None if name == "raise" else case.status
    report = drained.wait_for_report(
        before,
        lambda one: (
            one["status"] == status
            and one["bytes_read"] + one["bytes_discarded"] == case.upload.size_bytes
        ),
    )
    assert report["outcome"] == "COMPLETE"
    if case.upload.framing == "length":
        assert report["declared_bytes"] == case.upload.size_bytes


def test_on_wsgiref_a_chunked_body_stays_alone_and_the_report_says_so(fleet: Fleet) -> None:
    server = fleet.get("wsgiref", wrap=True)
    before = len(server.reports())
    problem(server, CASES["413-16MiB-chunked-keep-alive"])
    assert server.wait_for_report(before, lambda report: report["outcome"] == "UNFRAMED")


def test_every_cell_that_cannot_be_is_a_cell_and_loses_something() -> None:
    assert all(
        server in ALL_SERVERS and case in CASES and why for (server, case), why in CANNOT.items()
    )
    assert set(LOST_WITHOUT) == set(ALL_SERVERS)
    assert BRIEF <= set(CASES)
    assert all(lost <= set(CASES) for lost in LOST_WITHOUT.values())
