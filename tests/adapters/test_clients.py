"""The raw-socket clients, against a scripted server in a thread."""

import contextlib
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from drainkit_clients import Answer, Connection, Upload, eager, slow, strict

Script = Callable[[socket.socket], None]
Client = Callable[..., Answer]

LIMIT_SECONDS = 10.0
MIB = 1024 * 1024


@contextlib.contextmanager
def serving(script: Script) -> Iterator[tuple[str, int]]:
    """Serve one connection with a script; what the script raises fails the test."""
    raised: list[BaseException] = []

    def serve() -> None:
        try:
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(LIMIT_SECONDS)
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                script(peer)
        except BaseException as error:
            raised.append(error)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT_SECONDS)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            thread.join(LIMIT_SECONDS)
    assert not thread.is_alive()
    if raised:
        raise raised[0]


def read_until(peer: socket.socket, mark: bytes) -> bytes:
    """Read until the mark was seen; return everything."""
    data = bytearray()
    searched = 0
    while data.find(mark, searched) < 0:
        # Over TLS the pieces are small: a search from the beginning each time would take seconds.
        searched = max(0, len(data) - len(mark))
        piece = peer.recv(65536)
        assert piece, f"no {mark!r} in {bytes(data[-100:])!r}"
        data += piece
    return bytes(data)


def read_to_end(peer: socket.socket) -> bytes:
    """Read until the client closes, in whichever way."""
    data = bytearray()
    with contextlib.suppress(ConnectionError):
        while piece := peer.recv(65536):
            data += piece
    return bytes(data)


def reset(peer: socket.socket) -> None:
    """Close with a reset."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def response(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize("upload_with", [strict, eager])
def test_an_upload_with_a_length_goes_out_as_described(upload_with: Client) -> None:
    upload = Upload(
        path="/x?y", size_bytes=203_000, content=b"some words.", headers=(("X-A", "1"),)
    )
    got: list[bytes] = []

    def script(peer: socket.socket) -> None:
        head, _, body = read_until(peer, b"\r\n\r\n").partition(b"\r\n\r\n")
        while len(body) < upload.size_bytes:
            body += peer.recv(65536)
        got.extend((head, body))
        peer.sendall(response(b"thanks"))

    with serving(script) as address:
        answer = upload_with(address, upload, timeout_seconds=LIMIT_SECONDS)
    assert got[0].decode() == (
        f"POST /x?y HTTP/1.1\r\nHost: 127.0.0.1:{address[1]}\r\nConnection: keep-alive\r\n"
        "Content-Length: 203000\r\nX-A: 1"
    )
    assert got[1] == upload.body() == (b"some words." * 18455)[:203_000]
    assert answer.delivered
    assert (answer.status, answer.body, answer.sent_bytes) == (200, b"thanks", 203_000)
    assert answer.sent_at_first_byte_bytes == 203_000
    assert answer.first_byte_seconds is not None
    assert answer.first_byte_seconds <= answer.seconds
    assert answer.header("CONTENT-LENGTH") == "6"
    assert answer.ended == "open"


@pytest.mark.parametrize("upload_with", [strict, eager])
def test_a_chunked_upload_goes_out_in_chunks_of_one_piece(upload_with: Client) -> None:
    got: list[bytes] = []

    def script(peer: socket.socket) -> None:
        got.append(read_until(peer, b"\r\n0\r\n\r\n"))
        peer.sendall(response(b""))

    upload = Upload(size_bytes=5, framing="chunked", connection="close", piece_bytes=3)
    with serving(script) as address:
        answer = upload_with(address, upload, timeout_seconds=LIMIT_SECONDS)
    head, _, body = got[0].partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert b"Connection: close" in head
    assert b"Content-Length" not in head
    assert body == b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert answer.delivered
    assert answer.sent_bytes == 5


def test_a_request_without_a_body_names_no_length_and_own_headers_replace() -> None:
    head = Upload(method="GET", headers=(("host", "a.example"),)).head("b.example")
    assert head == b"GET / HTTP/1.1\r\nConnection: keep-alive\r\nhost: a.example\r\n\r\n"
    bad = Upload(size_bytes=3, headers=(("Content-Length", "+3"),)).head("b.example")
    assert bad.count(b"Content-Length") == 1


@pytest.mark.parametrize(
    "wrong",
    [{"size_bytes": -1}, {"piece_bytes": 0}, {"content": b""}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_an_upload_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Upload(**wrong)


def test_a_strict_client_that_is_reset_while_it_writes_has_lost_the_answer() -> None:
    def script(peer: socket.socket) -> None:
        read_until(peer, b"\r\n\r\n")
        peer.sendall(response(b"too large", "413 Content Too Large"))
        reset(peer)

    with serving(script) as address:
        answer = strict(address, Upload(size_bytes=64 * MIB), timeout_seconds=LIMIT_SECONDS)
    assert not answer.delivered
    assert answer.ended == "reset"
    assert answer.error in (
        f"BrokenPipeError while sending after {answer.sent_bytes} bytes",
        f"ConnectionResetError while sending after {answer.sent_bytes} bytes",
    )
    assert answer.sent_bytes < 64 * MIB


def test_a_strict_client_never_reads_while_it_writes() -> None:
    page = response(b"x" * 32 * MIB, "413 Content Too Large")

    def script(peer: socket.socket) -> None:
        read_until(peer, b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            peer.sendall(page)

    with serving(script) as address:
        answer = strict(address, Upload(size_bytes=64 * MIB), timeout_seconds=0.3)
    assert (answer.status, answer.ended) == (None, "timeout")
    assert answer.error == f"TimeoutError while sending after {answer.sent_bytes} bytes"


def test_an_eager_client_stops_at_an_error_status_but_waits_for_its_end() -> None:
    stopped = threading.Event()

    def script(peer: socket.socket) -> None:
        read_until(peer, b"\r\n\r\n")
        early = response(b"too large", "413 Content Too Large")
        peer.sendall(early[:-1])
        # It stops although the response has not ended: reading finds silence in the end.
        peer.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            while peer.recv(65536):
                pass
        stopped.set()
        peer.settimeout(LIMIT_SECONDS)
        peer.sendall(early[-1:])
        read_to_end(peer)

    with serving(script) as address:
        answer = eager(address, Upload(size_bytes=256 * MIB), timeout_seconds=LIMIT_SECONDS)
    assert stopped.is_set()
    assert answer.delivered
    assert (answer.status, answer.body) == (413, b"too large")
    assert answer.sent_bytes < 256 * MIB


@pytest.mark.parametrize("status", ["200 OK", "413 Content Too Large"])
def test_an_eager_client_goes_on_when_told_to_or_when_all_is_well(status: str) -> None:
    def script(peer: socket.socket) -> None:
        read_until(peer, b"\r\n\r\n")
        peer.sendall(response(b"early", status))
        read_to_end(peer)

    upload = Upload(size_bytes=8 * MIB)
    with serving(script) as address:
        answer = eager(
            address, upload, timeout_seconds=LIMIT_SECONDS, stop_on_error_status=status[0] != "4"
        )
    assert answer.delivered
    assert answer.sent_bytes == upload.size_bytes
    assert answer.sent_at_first_byte_bytes is not None
    assert answer.sent_at_first_byte_bytes < upload.size_bytes


def test_an_eager_client_reads_while_it_writes_and_waits_where_told() -> None:
    # More than the buffers of both sides hold: a client that only wrote would never end.
    upload = Upload(size_bytes=32 * MIB, pause_seconds=0.05)

    def script(peer: socket.socket) -> None:
        read_until(peer, b"\r\n\r\n")
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        left = upload.size_bytes
        while left:
            piece = peer.recv(65536)
            peer.sendall(piece.upper())
            left -= len(piece)

    with serving(script) as address:
        answer = eager(address, upload, timeout_seconds=LIMIT_SECONDS)
    assert (answer.ended, answer.delivered) == ("fin", True)
    assert answer.body == upload.body().upper()
    assert answer.seconds >= 0.05


@pytest.mark.parametrize("upload_with", [strict, eager])
def test_an_expectation_refused_keeps_the_body_at_home(upload_with: Client) -> None:
    def script(peer: socket.socket) -> None:
        assert b"Expect: 100-continue" in read_until(peer, b"\r\n\r\n")
        peer.sendall(response(b"no", "417 Expectation Failed"))
        assert read_to_end(peer) == b""

    upload = Upload(size_bytes=MIB, expect_continue=True)
    with serving(script) as address:
        answer = upload_with(address, upload, timeout_seconds=LIMIT_SECONDS)
    assert (answer.status, answer.sent_bytes, answer.delivered) == (417, 0, True)


@pytest.mark.parametrize("upload_with", [strict, eager])
def test_an_expectation_met_lets_the_body_out_at_once(
    monkeypatch: pytest.MonkeyPatch, upload_with: Client
) -> None:
    def script(peer: socket.socket) -> None:
        read_until(peer, b"\r\n\r\n")
        peer.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        read_until(peer, b"xyz")
        peer.sendall(response(b"yes"))

    # Nobody need be quicker than the machine is.
    monkeypatch.setattr("drainkit_clients._connection._EXPECT_WAIT_SECONDS", LIMIT_SECONDS)
    upload = Upload(size_bytes=26, expect_continue=True)
    with serving(script) as address:
        answer = upload_with(address, upload, timeout_seconds=LIMIT_SECONDS)
    assert (answer.status, answer.sent_bytes, answer.body) == (200, 26, b"yes")
    assert answer.seconds < LIMIT_SECONDS / 2


@pytest.mark.parametrize(
    ("raw", "method", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "POST", b"abc"),
        (b"HTTP/1.0 200 OK\r\n\r\nabc", "POST", b"abc"),
        (b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "POST", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "HEAD", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "POST", b""),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2;x=y\r\nab\r\nA\r\ncdefghijkl\r\n0\r\nTrailer: t\r\n\r\n",
            "POST",
            b"abcdefghijkl",
        ),
        (b"HTTP/1.1 500 No\r\nContent-Length: 5\r\n\n\n\nabc", "POST", b"\n\nabc"),
        (b"HTTP/1.1 500 No\nContent-Length: 3\n\r\nabc", "POST", b"abc"),
    ],
    ids=["length", "until-eof", "interim", "head", "empty", "chunked", "single LF", "LF, CRLF"],
)
@pytest.mark.parametrize("client", [strict, eager])
def test_a_response_that_dribbles_in_is_parsed_whole(
    client: Client, raw: bytes, method: str, body: bytes
) -> None:
    def script(peer: socket.socket) -> None:
        read_until(peer, b"\r\n\r\n")
        for byte in raw:
            peer.sendall(bytes([byte]))

    with serving(script) as address:
        answer = client(address, Upload(method=method), timeout_seconds=LIMIT_SECONDS)
    assert (answer.complete, answer.error, answer.body) == (True, None, body)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", "connection closed before a response"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
            "connection closed after 3 bytes of the response's body",
        ),
        (b"junk\r\n\r\n", "bad response: no status line of HTTP/1: b'junk'"),
        (
            b"HTTP/1.1 2x0 OK\r\n\r\n",
            "bad response: a status line that breaks the grammar: b'HTTP/1.1 2x0 OK'",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
            "bad response: a chunk that does not end where its size says: b'bc'",
        ),
    ],
    ids=["none", "short", "junk", "status", "chunk"],
)
@pytest.mark.parametrize("client", [strict, eager])
def test_a_response_that_is_not_whole_is_not_delivered(
    client: Client, raw: bytes, error: str
) -> None:
    def script(peer: socket.socket) -> None:
        read_until(peer, b"\r\n\r\n")
        peer.sendall(raw)

    with serving(script) as address:
        answer = client(address, Upload(), timeout_seconds=LIMIT_SECONDS)
    assert (answer.delivered, answer.error) == (False, error)


@pytest.mark.parametrize("client", [strict, eager])
def test_a_response_that_never_ends_is_given_up_in_time(client: Client) -> None:
    def script(peer: socket.socket) -> None:
        read_until(peer, b"\r\n\r\n")
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                peer.sendall(b"x")

    with serving(script) as address:
        answer = client(address, Upload(), timeout_seconds=0.2)
    assert (answer.complete, answer.ended) == (False, "timeout")
    assert answer.error is not None
    assert 0.2 <= answer.seconds < LIMIT_SECONDS / 2


@pytest.mark.parametrize("client", [strict, eager])
def test_nobody_there_is_an_answer_too(client: Client) -> None:
    # Bound, so that nobody else gets the port, and without listen().
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        answer = client(taken.getsockname(), Upload())
    assert (answer.delivered, answer.error) == (False, "ConnectionRefusedError while connecting")


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_slow_client_sends_one_byte_at_a_time_and_sees_the_end(
    framing: Literal["length", "chunked"],
) -> None:
    third = b"\r\n\r\nabc" if framing == "length" else b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n"

    def script(peer: socket.socket) -> None:
        peer.sendall(response(b"early", "413 Content Too Large"))
        read_until(peer, third)

    upload = Upload(size_bytes=1000, framing=framing)
    with serving(script) as address:
        answer = slow(address, upload, interval_seconds=0.02, timeout_seconds=LIMIT_SECONDS)
    assert (answer.status, answer.body, answer.delivered) == (413, b"early", True)
    assert answer.ended in ("fin", "reset")
    assert 3 <= answer.sent_bytes < 100
    assert 0.06 <= answer.seconds < 5


@pytest.mark.parametrize("interval_seconds", [None, 0.001])
def test_a_slow_client_gives_up_in_time_and_never_ends_its_body(
    interval_seconds: float | None,
) -> None:
    got: list[bytes] = []

    def script(peer: socket.socket) -> None:
        got.append(read_to_end(peer))

    upload = Upload(size_bytes=5)
    with serving(script) as address:
        answer = slow(
            address,
            upload,
            interval_seconds=interval_seconds,
            timeout_seconds=0.5,
            first_bytes=3,
        )
    assert answer.ended == "timeout"
    assert 0.5 <= answer.seconds < LIMIT_SECONDS / 2
    assert got[0].partition(b"\r\n\r\n")[2] == (b"abc" if interval_seconds is None else b"abcd")


def test_a_kept_alive_connection_takes_a_second_request() -> None:
    def script(peer: socket.socket) -> None:
        read_until(peer, b"xyz")
        # Both responses in one piece: the second waits for its request.
        peer.sendall(response(b"one") + response(b"two") + b"more")
        read_until(peer, b"xyz")

    with serving(script) as address, Connection(address) as connection:
        first = connection.strict(Upload(size_bytes=26), timeout_seconds=LIMIT_SECONDS)
        second = connection.eager(Upload(size_bytes=26), timeout_seconds=LIMIT_SECONDS)
        rest = connection.rest(timeout_seconds=LIMIT_SECONDS)
    assert (first.body, second.body) == (b"one", b"two")
    assert (rest.data, rest.ended) == (b"more", "fin")


def test_the_clients_speak_tls(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    names = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", key, "-out", certificate, *names),
        ],
        check=True,
        capture_output=True,
        timeout=LIMIT_SECONDS,
    )
    ours = ssl.create_default_context(cafile=str(certificate))
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(certificate, key)
    upload = Upload(size_bytes=4 * MIB - 1, content=b"q" * (4 * MIB - 2) + b".")

    def script(peer: socket.socket) -> None:
        with theirs.wrap_socket(peer, server_side=True) as secure:
            read_until(secure, b"q.")
            secure.sendall(response(b"y" * MIB))

    for client in (strict, eager):
        with serving(script) as address:
            answer = client(address, upload, timeout_seconds=LIMIT_SECONDS, ssl_context=ours)
        assert answer.delivered, answer.error
        assert (answer.sent_bytes, len(answer.body)) == (4 * MIB - 1, MIB)


def test_a_strict_client_may_be_slow_but_steady() -> None:
    def script(peer: socket.socket) -> None:
        read_until(peer, b"\r\n\r\nabcdef")
        peer.sendall(response(b""))

    upload = Upload(size_bytes=6, piece_bytes=2, piece_pause_seconds=0.03)
    with serving(script) as address:
        answer = strict(address, upload, timeout_seconds=LIMIT_SECONDS)
    assert answer.delivered
    assert answer.seconds >= 0.09
