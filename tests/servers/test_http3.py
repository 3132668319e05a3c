"""HTTP/3: one early answer ends it for everyone on hypercorn, and drainkit mends it."""

import dataclasses
import time
from pathlib import Path

import pytest

from tests.servers import proxies
from tests.servers.cases import MIB, PAGE
from tests.servers.harness import SERVERS, Running, Server, running, secured
from tests.servers.test_http2 import BODIES, BOUNDS

pytest.importorskip("aioquic", reason="needs aioquic")

from tests.servers.http3_client import ErrorCode, Http3Connection, Stream

pytestmark = pytest.mark.server

SERVERS_HERE = ["hypercorn-asyncio", "hypercorn-trio"]
ANSWERS = {path: (int(path[1:]), body, True) for path, body in BODIES.items()}
ANSWERS["/page"] = (413, PAGE, True)
BESIDE = (200, b"200 beside", True)

# aioquic moves 1 to 8 MiB a second, and less in development mode.
UPLOAD_BYTES = 2 * MIB
UPLOAD_SECONDS = 60.0
# Without drainkit the upload stands still for good: no need to watch it for long.
STILL_SECONDS = 2.0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a certificate that nobody has signed, and its key."""
    return proxies.certificate(tmp_path_factory.mktemp("quic"))


def over_quic(name: str, certificate: tuple[Path, Path]) -> Server:
    """Return a server that speaks HTTP/3 too, on the UDP port of the same number."""
    if absent := SERVERS[name].missing():
        pytest.skip(f"needs {absent}")
    server = secured(name, *certificate)
    bind = ("--quic-bind", "127.0.0.1:{port}")
    return dataclasses.replace(server, arguments=(*server.arguments, *bind))


def send_strictly(connection: Http3Connection, path: str) -> Stream:
    """Upload everything, and only then look for the answer."""
    stream = connection.request(path, UPLOAD_BYTES)
    connection.run(lambda: stream.is_sent or stream.is_stopped, timeout_seconds=UPLOAD_SECONDS)
    if stream.is_sent:
        connection.run(lambda: stream.is_over, timeout_seconds=UPLOAD_SECONDS)
    return stream


def ask_beside(connection: Http3Connection) -> tuple[int | None, bytes, bool]:
    """Ask for something else on the same connection."""
    beside = connection.request("/200?beside", method="GET")
    connection.run(lambda: beside.is_over, timeout_seconds=5.0)
    return beside.answer


def answers_anyone(server: Running) -> bool:
    """Whether a new connection over HTTP/3 has an answer."""
    try:
        with Http3Connection(server.address, connect_seconds=STILL_SECONDS) as connection:
            return ask_beside(connection) == BESIDE
    except TimeoutError:
        return False


@pytest.mark.parametrize("path", ["/413", "/page"])
@pytest.mark.parametrize("server", SERVERS_HERE)
def test_without_drainkit_an_early_answer_ends_http3_for_everyone_and_on_trio_the_process(
    certificate: tuple[Path, Path], server: str, path: str
) -> None:
    """A small answer has left by then, for a client that reads while it sends."""
    with running(over_quic(server, certificate), wrap=False) as bare:
        assert answers_anyone(bare)
        with Http3Connection(bare.address) as connection:
            stream = connection.request(path, 8 * MIB)
            connection.run(lambda: stream.is_over, timeout_seconds=STILL_SECONDS)
            got = stream.answer
        is_dead = not answers_anyone(bare)
        deadline = time.monotonic() + STILL_SECONDS
        while server == "hypercorn-trio" and bare.alive() and time.monotonic() < deadline:
            time.sleep(0.05)

        assert (False, True) == (stream.is_over, is_dead)
        assert (path != "/page") == (got == ANSWERS[path])
        assert (server == "hypercorn-asyncio") == bare.alive()


@pytest.mark.parametrize("server", SERVERS_HERE)
def test_with_drainkit_a_strict_client_has_each_answer_and_goes_on_on_its_connection(
    certificate: tuple[Path, Path], server: str
) -> None:
    with (
        running(over_quic(server, certificate), wrap=True) as drained,
        Http3Connection(drained.address) as connection,
    ):
        for path, answer in ANSWERS.items():
            stream = send_strictly(connection, path)

            assert (answer, True) == (stream.answer, stream.is_sent), (path, connection.trace)
        assert BESIDE == ask_beside(connection)
        assert answers_anyone(drained)
        assert drained.alive()


@pytest.mark.parametrize("server", SERVERS_HERE)
def test_a_client_that_resets_its_upload_has_each_answer_whole(
    certificate: tuple[Path, Path], server: str
) -> None:
    """It has an error at once, but the error's end only after ``idle_seconds``.

    hypercorn tells an application nothing of RESET_STREAM (protocol/h3.py, handle), so to drainkit
    the client is silent; and a stream that has ended must not be forgotten before its body.
    """
    policy = {"idle_seconds": 1.0}
    with (
        running(over_quic(server, certificate), wrap=True, policy=policy) as drained,
        Http3Connection(drained.address) as connection,
    ):
        seconds = {}
        for path, answer in ANSWERS.items():
            stream = connection.request(path, UPLOAD_BYTES, gives_up=True)
            connection.run(lambda s=stream: s.is_over, timeout_seconds=UPLOAD_SECONDS)
            seconds[path] = stream.complete_seconds

            assert answer == stream.answer, (path, connection.trace)
            # Only a small error goes out before its upload ends.
            assert (path in ("/413", "/422")) == stream.has_given_up, path
        outcomes = [report["outcome"] for report in drained.reports()]

        assert BESIDE == ask_beside(connection)
        assert 1.0 <= seconds["/413"] < 3.0
        assert 2 == outcomes.count("IDLE")
        assert drained.alive()


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("server", SERVERS_HERE)
def test_behind_a_bound_the_answer_is_whole_and_everything_else_goes_on(
    certificate: tuple[Path, Path], server: str, bound: str
) -> None:
    """The upload is stopped behind its answer (RFC 9114 section 4.1), and nothing else is."""
    case = BOUNDS[bound]
    with (
        running(over_quic(server, certificate), wrap=True, policy=case.policy) as drained,
        Http3Connection(drained.address) as connection,
    ):
        for path in ("/413", "/200"):
            before = len(drained.reports())
            streams = [connection.request(path, 4 * MIB, **case.upload) for _ in range(case.beside)]
            connection.run(
                lambda streams=streams: all(stream.is_over for stream in streams),
                timeout_seconds=UPLOAD_SECONDS,
            )
            outcomes = {report["outcome"] for report in drained.reports()[before:]}

            assert BESIDE == ask_beside(connection), connection.trace
            assert [ANSWERS[path]] * case.beside == [stream.answer for stream in streams]
            # A stream that had its place is drained to its end, and is not stopped.
            assert ErrorCode.H3_NO_ERROR in {stream.stopped for stream in streams}, path
            assert {None} == {stream.reset for stream in streams}
            assert case.outcome in outcomes
        assert connection.closed is None
        assert drained.alive()


@pytest.mark.parametrize("server", SERVERS_HERE)
def test_an_answer_that_breaks_off_is_no_complete_one_and_everything_else_goes_on(
    certificate: tuple[Path, Path], server: str
) -> None:
    """The stream is reset as RFC 9114 section 4.1 wants it of an incomplete response."""
    broken = dataclasses.replace(over_quic(server, certificate), app="served_starlette")
    with running(broken, wrap=False) as bare, Http3Connection(bare.address) as connection:
        stream = connection.request("/broken", UPLOAD_BYTES)
        connection.run(lambda: stream.is_over, timeout_seconds=STILL_SECONDS)

        assert (False, None) == (stream.is_over, stream.reset), connection.trace
    with (
        running(broken, wrap=True, policy={"max_bytes": 0}) as drained,
        Http3Connection(drained.address) as connection,
    ):
        stream = connection.request("/broken", UPLOAD_BYTES)
        connection.run(lambda: stream.is_over, timeout_seconds=UPLOAD_SECONDS)
        beside = connection.request("/ready", method="GET")
        connection.run(lambda: beside.is_over, timeout_seconds=5.0)

        assert not stream.is_complete, connection.trace
        assert (ErrorCode.H3_INTERNAL_ERROR, ErrorCode.H3_NO_ERROR) == (
            stream.reset,
            stream.stopped,
        )
        assert (200, True) == (beside.status, beside.is_complete)
        assert connection.closed is None
        assert drained.alive()


@pytest.mark.parametrize("server", SERVERS_HERE)
def test_the_servers_own_500_is_malformed_without_an_upload_too(
    certificate: tuple[Path, Path], server: str
) -> None:
    """Its "connection: close" is forbidden by RFC 9114 section 4.2; no application can mend it."""
    with (
        running(over_quic(server, certificate), wrap=False) as bare,
        Http3Connection(bare.address) as connection,
    ):
        get = connection.request("/raise", method="GET")
        connection.run(lambda: get.is_over, timeout_seconds=5.0)
        closed = connection.closed or ""

        assert closed.startswith("closed H3_MESSAGE_ERROR"), connection.trace
        assert answers_anyone(bare)
