"""A connection after a drain: good for the next request, or closed; never read out of step."""

import re

import pytest

from drainkit_clients import Answer, Connection, Upload
from tests.servers.cases import MIB
from tests.servers.conftest import Fleet
from tests.servers.harness import ALL_SERVERS, SERVERS, Running

pytestmark = pytest.mark.server

NEXT = Upload(path="/200?second", method="GET")
SMUGGLED = b"GET /200?smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n"
NEXT_SECONDS = 5.0
REST_SECONDS = 1.0

# The server itself closes after these statuses; it announces that.
CLOSES_AFTER = {("cheroot", "/413"): "cheroot ends every 413 with Connection: close"}

# These spool the whole body before the application is called: nothing is left to drain.
SPOOLS = {"waitress", "daphne"}

# Bodies that these cannot read, with or without drainkit.
CANNOT_FRAME = {("wsgiref", "chunked")}

# They close by what their own start_response belongs to, and read nothing away.
BY_THEIR_HANDLER = ("gevent-pywsgi", "gunicorn-gevent_pywsgi")

# It takes the rest of a chunked body for a request line, and refuses it, with or without drainkit.
BY_ITSELF = {("cheroot", "chunked"): {b"400"}}


def one_after_the_other(address: tuple[str, int], first: Upload) -> tuple[Answer, Answer | None]:
    """Send two requests on one connection; the second only if the first answer allows it."""
    with Connection(address) as connection:
        answer = connection.strict(first)
        if answer.header("connection") == "close":
            return answer, None
        return answer, connection.strict(NEXT, timeout_seconds=NEXT_SECONDS)


def hide_requests(
    server: Running, path: str, framing: str, *, size_bytes: int
) -> tuple[Answer, bytes]:
    """Upload a body of requests; return the answer, and all that came behind it."""
    # Every offset that is a multiple of the hidden request starts one.
    upload = Upload(
        path=path,
        size_bytes=size_bytes,
        framing="chunked" if framing == "chunked" else "length",
        content=SMUGGLED,
        piece_bytes=len(SMUGGLED) * 1000,
    )
    with Connection(server.address) as connection:
        answer = connection.eager(upload, stop_on_error_status=False)
        rest = connection.rest(timeout_seconds=REST_SECONDS)
    return answer, answer.excess + rest.data


@pytest.mark.parametrize("path", ["/413", "/302", "/422"])
@pytest.mark.parametrize("server", SERVERS)
def test_a_request_after_a_complete_drain_is_answered(fleet: Fleet, server: str, path: str) -> None:
    # A body that was read leaves nothing to drain: the server shows whether it keeps connections.
    bare = fleet.get(server, wrap=False)
    _, reference = one_after_the_other(bare.address, Upload(path="/length", size_bytes=MIB))
    keeps = bool(reference and reference.delivered) and (server, path) not in CLOSES_AFTER

    drained = fleet.get(server, wrap=True)
    for framing in ("length", "chunked"):
        if (server, framing) in CANNOT_FRAME:
            continue
        upload = Upload(path=path, size_bytes=8 * MIB, framing=framing)
        first, second = one_after_the_other(drained.address, upload)
        assert first.delivered, f"{framing}: {first.error}\n{drained.log()}"
        assert first.status == int(path[1:])
        if keeps:
            assert second is not None, f"{framing}: the connection is not kept"
            assert second.delivered, f"{framing}: {second.error}\n{drained.log()}"
            assert (second.status, second.body) == (200, b"200 second")
        else:
            assert second is None or second.status is None


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("server", SERVERS)
def test_a_request_hidden_in_a_body_that_was_not_drained_is_never_answered(
    fleet: Fleet, server: str, framing: str
) -> None:
    drained = fleet.get(server, wrap=True, policy={"max_bytes": 65536, "idle_seconds": 1.0})
    before = len(drained.reports())
    answer, behind = hide_requests(drained, "/413", framing, size_bytes=8 * MIB)
    assert b"smuggled" not in answer.body
    assert b"smuggled" not in behind
    assert not re.search(rb"HTTP/1\.[01] \d", behind), behind[:200]
    if server not in SPOOLS:
        # Else the test would show nothing.
        report = drained.wait_for_reports(before + 1)[-1]
        assert report["outcome"] != "COMPLETE"


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize(
    "server",
    [name for name in (*SERVERS, *BY_THEIR_HANDLER) if ALL_SERVERS[name].interface == "wsgi"],
)
def test_nor_is_one_where_the_servers_own_start_is_out_of_reach(
    fleet: Fleet, server: str, framing: str
) -> None:
    """Behind an entry in Django's MIDDLEWARE a connection must be closed by another way."""
    drained = fleet.get(
        server,
        wrap=True,
        app="served_django",
        env={"DRAINKIT_TEST_PLACE": "middleware"},
        policy={"max_bytes": 65536},
    )
    before = len(drained.reports())
    answer, behind = hide_requests(drained, "/form", framing, size_bytes=len(SMUGGLED) * 10_000)
    assert b"smuggled" not in answer.body
    allowed = BY_ITSELF.get((server, framing), set())
    assert set(re.findall(rb"HTTP/1\.[01] (\d+)", behind)) <= allowed, behind[:200]
    if server not in SPOOLS:
        assert "COMPLETE" != drained.wait_for_reports(before + 1)[-1]["outcome"]
