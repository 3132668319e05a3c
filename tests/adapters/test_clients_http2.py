"""The clients over HTTP/2, against a scripted server in a thread: what counts as an answer."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("h2", reason="needs h2 (extra: http2)")

import h2.config
import h2.connection
import h2.errors
import h2.events

from drainkit_clients import Answer, Upload
from drainkit_clients.http2 import Http2Connection, NoHttp2Error

LIMIT_SECONDS = 10.0
SHORT_SECONDS = 1.0
# More than the window of a connection (65,535), so that it cannot be sent unless it is read.
UPLOAD = Upload(path="/up?a=b", size_bytes=200_000, headers=(("Host", "a.test"), ("X-A", "b")))


class Server:
    """One connection, as a script sees it."""

    def __init__(self, peer: ssl.SSLSocket) -> None:
        self.socket = peer
        self.http2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        )
        self.http2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        self.socket.sendall(self.http2.data_to_send())

    def events(self) -> Iterator[h2.events.Event]:
        """Yield what comes, until the client has left."""
        with contextlib.suppress(OSError):
            while data := self.socket.recv(65536):
                yield from self.http2.receive_data(data)
                self.flush()

    def until(self, kind: type[h2.events.Event]) -> h2.events.Event:
        return next(event for event in self.events() if isinstance(event, kind))

    def answer(self, status: str, body: bytes, *, ends: bool = True) -> None:
        self.http2.send_headers(1, [(":status", status), ("x-b", "c")])
        self.http2.send_data(1, body, end_stream=ends)
        self.flush()

    def read_body(self) -> None:
        for event in self.events():
            if isinstance(event, h2.events.DataReceived):
                self.http2.acknowledge_received_data(event.flow_controlled_length, 1)
                self.flush()
            if isinstance(event, h2.events.StreamEnded):
                return

    def read_to_end(self) -> None:
        for _ in self.events():
            pass


Script = Callable[[Server], None]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("needs openssl")
    folder: Path = tmp_path_factory.mktemp("tls")
    made, key = str(folder / "c.pem"), str(folder / "k.pem")
    subprocess.run(
        [
            *(program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", key, "-out", made, "-days", "2", "-subj", "/CN=a.test"),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return made, key


@contextlib.contextmanager
def serving(
    certificate: tuple[str, str], script: Script, protocol: str = "h2"
) -> Iterator[tuple[str, int]]:
    raised: list[BaseException] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.set_alpn_protocols([protocol])

    def serve() -> None:
        try:
            plain, _ = listener.accept()
            plain.settimeout(LIMIT_SECONDS)
            with plain, context.wrap_socket(plain, server_side=True) as peer:
                script(Server(peer))
        except OSError:
            pass  # the client has left in the middle
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
    assert [] == raised


def connect(address: tuple[str, int]) -> Http2Connection:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nobody has signed it
    context.set_alpn_protocols(["h2", "http/1.1"])
    return Http2Connection(address, ssl_context=context)


def upload(
    certificate: tuple[str, str], script: Script, client: str, seconds: float = LIMIT_SECONDS
) -> Answer:
    with serving(certificate, script) as address, connect(address) as connection:
        send = {"strict": connection.strict, "eager": connection.eager}[client]
        return send(UPLOAD, timeout_seconds=seconds)


def discarding(server: Server) -> None:
    """Answer first, then read the rest."""
    server.until(h2.events.RequestReceived)
    server.answer("413", b"too large", ends=False)
    server.read_body()
    server.http2.end_stream(1)
    server.flush()
    server.read_to_end()


def answering(then: Callable[[Server], None]) -> Script:
    """Answer at once with the upload unread, then do something else."""

    def script(server: Server) -> None:
        server.until(h2.events.RequestReceived)
        server.answer("413", b"too large")
        then(server)

    return script


def reset(code: h2.errors.ErrorCodes) -> Callable[[Server], None]:
    def then(server: Server) -> None:
        server.http2.reset_stream(1, code)
        server.flush()
        server.read_to_end()

    return then


CLIENTS = ["strict", "eager"]


@pytest.mark.parametrize("client", CLIENTS)
def test_an_answer_whose_upload_is_read_arrives(certificate: tuple[str, str], client: str) -> None:
    answer = upload(certificate, discarding, client)

    assert (413, b"too large", "2", True) == (
        answer.status, answer.body, answer.version, answer.delivered,
    )  # fmt: skip
    assert (("x-b", "c"),) == answer.headers
    assert 200_000 == answer.sent_bytes
    assert answer.sent_at_noticed_bytes is not None
    assert answer.sent_at_noticed_bytes < 200_000
    assert (answer.sent_at_first_byte_bytes == 200_000) is (client == "strict")


@pytest.mark.parametrize(
    ("code", "client", "error"),
    [
        ("NO_ERROR", "strict", "RST_STREAM NO_ERROR while sending after"),
        ("NO_ERROR", "eager", None),
        ("CANCEL", "strict", "RST_STREAM CANCEL while sending after"),
        ("CANCEL", "eager", "RST_STREAM CANCEL while sending after"),
    ],
)
def test_a_reset_without_an_error_leaves_the_answer_to_those_who_read(
    certificate: tuple[str, str], code: str, client: str, error: str | None
) -> None:
    """RFC 9113 section 8.1 wants it so; httpx does not know it, and browsers do."""
    answer = upload(certificate, answering(reset(h2.errors.ErrorCodes[code])), client)

    assert (413, True, error is None) == (answer.status, answer.complete, answer.delivered)
    assert (answer.error or "").startswith(error or "")


@pytest.mark.parametrize("client", CLIENTS)
def test_the_end_of_the_connection_loses_the_answer(
    certificate: tuple[str, str], client: str
) -> None:
    answer = upload(certificate, answering(lambda server: None), client)

    assert not answer.delivered
    assert answer.ended in ("fin", "reset")
    assert "while sending after" in (answer.error or "")


@pytest.mark.parametrize("client", CLIENTS)
def test_an_upload_that_stands_still_is_given_up_in_time(
    certificate: tuple[str, str], client: str
) -> None:
    answer = upload(certificate, answering(Server.read_to_end), client, SHORT_SECONDS)

    assert ("timeout", False) == (answer.ended, answer.delivered)
    assert 65_535 == answer.sent_bytes
    assert answer.noticed_seconds is not None
    assert SHORT_SECONDS <= answer.seconds < LIMIT_SECONDS


@pytest.mark.parametrize("client", CLIENTS)
def test_a_server_that_leaves_still_answers_what_it_took(
    certificate: tuple[str, str], client: str
) -> None:
    """GOAWAY names the last stream that will be answered (RFC 9113 section 6.8)."""

    def script(server: Server) -> None:
        server.until(h2.events.RequestReceived)
        server.socket.sendall(b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + b"\0\0\0\1" + bytes(4))
        server.read_body()
        server.answer("200", b"ok")
        server.read_to_end()

    with serving(certificate, script) as address, connect(address) as connection:
        send = {"strict": connection.strict, "eager": connection.eager}[client]
        first = send(UPLOAD, timeout_seconds=LIMIT_SECONDS)
        is_leaving = connection.is_leaving
        second = send(UPLOAD, timeout_seconds=LIMIT_SECONDS)

    assert (200, True, True) == (first.status, first.delivered, is_leaving)
    assert "GOAWAY while sending after 0 bytes" == second.error


@pytest.mark.parametrize("client", CLIENTS)
def test_a_server_that_leaves_without_the_request_has_lost_it(
    certificate: tuple[str, str], client: str
) -> None:
    def script(server: Server) -> None:
        server.until(h2.events.RequestReceived)
        server.socket.sendall(b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + bytes(7) + b"\x01")
        server.read_to_end()

    answer = upload(certificate, script, client)

    assert (None, False) == (answer.status, answer.delivered)
    assert (answer.error or "").startswith("GOAWAY PROTOCOL_ERROR while")


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    "frames",
    [
        b"\x00\x00\x01\x01\x04\x00\x00\x00\x01\xff",  # HEADERS that HPACK cannot read
        b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",  # longer than a frame may be
        b"\x00\x00\x00\x07\x00\x00\x00\x00\x00",  # GOAWAY without anything
        b"\x00\x00\x05\x01\x04\x00\x00\x00\x01\x08\x03abc",  # :status: abc
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
    ids=["hpack", "size", "goaway", "status", "http/1"],
)
def test_frames_that_break_the_rules_are_malformed(
    certificate: tuple[str, str], frames: bytes, client: str
) -> None:
    def script(server: Server) -> None:
        server.until(h2.events.RequestReceived)
        server.socket.sendall(frames)
        server.read_to_end()

    answer = upload(certificate, script, client)

    assert "frames that break the rules of HTTP/2" == answer.malformed
    assert (answer.error or "").startswith("bad response: ")
    assert answer.seconds < LIMIT_SECONDS / 2


def test_the_request_is_one_of_http2(certificate: tuple[str, str]) -> None:
    """What concerns a connection of HTTP/1 is left out."""
    heard: list[tuple[str, str]] = []

    def script(server: Server) -> None:
        event = server.until(h2.events.RequestReceived)
        assert isinstance(event, h2.events.RequestReceived)
        heard.extend(event.headers)
        server.read_body()
        server.answer("200", b"ok")
        server.read_to_end()

    assert 200 == upload(certificate, script, "strict").status
    assert [
        (":method", "POST"), (":scheme", "https"), (":authority", "a.test"), (":path", "/up?a=b"),
        ("content-length", "200000"), ("x-a", "b"),
    ] == heard  # fmt: skip


def test_a_server_that_chooses_something_else_is_told(certificate: tuple[str, str]) -> None:
    with (
        serving(certificate, Server.read_to_end, "http/1.1") as address,
        pytest.raises(NoHttp2Error),
    ):
        connect(address)
