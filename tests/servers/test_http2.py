"""HTTP/2: an early answer breaks an upload there too, and drainkit mends it."""

import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.servers.cases import MIB
from tests.servers.conftest import Fleet
from tests.servers.harness import ALL_SERVERS, SERVERS, Running, running

httpx = pytest.importorskip("httpx", reason="needs httpx")
pytest.importorskip("h2", reason="needs h2")

from tests.servers.http2_client import Http2Connection, Stream  # noqa: E402

pytestmark = pytest.mark.server

TRIES = 4
TIMEOUT_SECONDS = 10.0
BODY = b"abcdefgh" * (MIB)

BODIES = {
    "/413": b"too large\n",
    "/302": b"",
    "/200": b"200 ",
    "/422": b"10 bytes were enough",
}
SERVERS_HERE = ["hypercorn-asyncio", "hypercorn-trio", "granian-asgi", "granian-wsgi"]


def problem(server: Running, path: str) -> str | None:
    """Upload once, on a connection of its own; return what is wrong with the answer."""
    url = f"http://{server.address[0]}:{server.address[1]}{path}"
    try:
        with httpx.Client(http1=False, http2=True, timeout=TIMEOUT_SECONDS) as client:
            answer = client.post(url, content=BODY)
    except httpx.HTTPError as error:
        return repr(error)
    if answer.http_version != "HTTP/2":
        return f"spoke {answer.http_version}"
    if (answer.status_code, answer.content) != (int(path[1:]), BODIES[path]):
        return f"{answer.status_code} {answer.content[:40]!r}"
    return None


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("server", SERVERS_HERE)
def test_an_early_answer_is_lost_without_drainkit_and_arrives_with_it(
    fleet: Fleet, server: str, path: str
) -> None:
    # A server of its own for the loss: on hypercorn's trio worker one such upload ends it.
    with running(SERVERS[server], wrap=False) as bare:
        assert problem(bare, path), "it arrives without drainkit"
    drained = fleet.get(server, wrap=True)
    problems = [problem(drained, path) for _ in range(TRIES)]
    assert problems == [None] * TRIES, drained.log()
    assert drained.alive()


@dataclass(frozen=True, kw_only=True)
class Bound:
    """One way to end a drain.

    Attributes:
        policy: The policy's fields that are not at their defaults.
        outcome: What drainkit reports.
        upload: How the client sends.
        beside: How many uploads of this kind run at once on the connection.
    """

    policy: dict[str, Any]
    outcome: str
    upload: dict[str, Any] = field(default_factory=dict)
    beside: int = 1


BOUNDS = {
    "bytes": Bound(policy={"max_bytes": 100_000}, outcome="BYTE_LIMIT"),
    "bytes-no-length": Bound(
        policy={"max_bytes": 100_000}, outcome="BYTE_LIMIT", upload={"has_length": False}
    ),
    "declined": Bound(policy={"max_bytes": 0}, outcome="DECLINED"),
    "seconds": Bound(
        policy={"max_seconds": 0.5}, outcome="TIME_LIMIT", upload={"pause_seconds": 0.01}
    ),
    "idle": Bound(policy={"idle_seconds": 0.5}, outcome="IDLE", upload={"first_bytes": 40_000}),
    "rate": Bound(
        policy={"min_bytes_per_second": 100_000, "grace_seconds": 0.5},
        outcome="TOO_SLOW",
        upload={"pause_seconds": 0.02, "piece_bytes": 1000},
    ),
    "capacity": Bound(
        policy={"max_concurrent": 1, "idle_seconds": 1.0},
        outcome="AT_CAPACITY",
        upload={"pause_seconds": 0.001},
        beside=4,
    ),
}
# A WSGI application has no way to granian's socket: a silent client is let go when it leaves.
OUT_OF_REACH = {("granian-wsgi", "idle")}
RESETS_BY_ITSELF = {"granian-asgi", "granian-wsgi"}


def bounded_uploads(connection: Http2Connection, path: str, bound: Bound) -> list[Stream]:
    """Upload until each stream is over, with a request beside them; return the uploads."""
    # At full speed much more than the page, or the upload may end before it, with nothing to reset.
    races_the_page = path == "/page" and "pause_seconds" not in bound.upload
    size_bytes = (12 if races_the_page else 4) * MIB
    streams = [connection.request(path, size_bytes, **bound.upload) for _ in range(bound.beside)]
    connection.run(lambda: all(stream.is_over for stream in streams), timeout_seconds=10.0)
    return streams


@pytest.mark.parametrize("server", sorted(set(SERVERS_HERE) - RESETS_BY_ITSELF))
def test_without_drainkit_an_early_answer_ends_the_connection_and_on_trio_the_process(
    server: str,
) -> None:
    with (
        running(SERVERS[server], wrap=False) as bare,
        Http2Connection(bare.address) as connection,
    ):
        bounded_uploads(connection, "/413", BOUNDS["declined"])

        assert connection.closed is not None
        if server == "hypercorn-trio":
            deadline = time.monotonic() + TIMEOUT_SECONDS
            while bare.alive() and time.monotonic() < deadline:
                time.sleep(0.05)
            assert not bare.alive()


@pytest.mark.parametrize("server", sorted(RESETS_BY_ITSELF))
def test_granian_resets_the_stream_by_itself(fleet: Fleet, server: str) -> None:
    bare = fleet.get(server, wrap=False)
    with Http2Connection(bare.address) as connection:
        (stream,) = bounded_uploads(connection, "/413", BOUNDS["declined"])

        assert (None, 0) == (connection.closed, stream.reset)


@pytest.mark.parametrize("path", ["/413", "/200", "/page", "/raise"])
@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("server", SERVERS_HERE)
def test_behind_a_bound_the_answer_is_whole_and_everything_else_goes_on(
    fleet: Fleet, server: str, bound: str, path: str
) -> None:
    """The stream is reset behind its answer (RFC 9113 section 8.1), and nothing else is."""
    if (server, bound) in OUT_OF_REACH:
        pytest.skip("it gives a WSGI application no way to its socket")
    case = BOUNDS[bound]
    drained = fleet.get(server, wrap=True, policy=case.policy)
    before = len(drained.reports())
    with Http2Connection(drained.address) as connection:
        streams = bounded_uploads(connection, path, case)
        # httpx and others open the next stream on the same connection.
        beside = connection.request("/200?beside", method="GET")
        connection.run(lambda: beside.is_over, timeout_seconds=5.0)
    status = {"/413": 413, "/200": 200, "/page": 413, "/raise": 500}[path]
    outcomes = {report["outcome"] for report in drained.reports()[before:]}

    assert (None, (200, b"200 beside", True)) == (connection.closed, beside.answer)
    assert [(status, True)] * case.beside == [(s.status, s.is_complete) for s in streams], (
        connection.trace
    )
    # A stream that had its place is drained to its end, and needs no reset.
    assert 0 in {stream.reset for stream in streams}, connection.trace
    assert case.outcome in outcomes
    assert drained.alive()


def test_on_uvicorn_a_request_without_a_body_waits_for_nothing() -> None:
    """Its zttp parser never tells an application of the end of such a request over HTTP/2."""
    server = ALL_SERVERS["uvicorn-zttp"]
    if server.missing():
        pytest.skip(f"needs {server.missing()}")
    with running(server, wrap=True) as drained, Http2Connection(drained.address) as connection:
        asked = time.monotonic()
        get = connection.request("/200?get", method="GET")
        connection.run(lambda: get.is_over, timeout_seconds=10.0)

    assert (200, b"200 get", True) == get.answer
    assert time.monotonic() - asked < 2.0


@pytest.mark.parametrize("wrap", [False, True], ids=["bare", "drained"])
@pytest.mark.parametrize("server", SERVERS_HERE)
def test_a_get_beside_a_full_capacity_is_answered_and_not_reported(
    fleet: Fleet, server: str, wrap: bool
) -> None:
    """No field says that it has no body, and the end of its stream may come behind the answer."""
    policy = {"max_concurrent": 1} if wrap else None
    served = fleet.get(server, wrap=wrap, policy=policy)
    before = len(served.reports())
    with (
        Http2Connection(served.address) as uploading,
        Http2Connection(served.address) as connection,
    ):
        if wrap:
            uploading.request("/200", 4 * MIB, first_bytes=40_000)
            uploading.run(lambda: False, timeout_seconds=0.5)
        gets = [connection.request(f"/200?{n}", method="GET") for n in range(20)]
        connection.run(lambda: all(get.is_over for get in gets), timeout_seconds=5.0)
        reported = [report["method"] for report in served.reports()[before:]]

    assert [(200, f"200 {n}".encode(), True) for n in range(20)] == [get.answer for get in gets]
    assert "GET" not in reported
