"""What the clients do for the probe: bodies by parts, rates, what they notice unread."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest

from drainkit_clients import Connection, FileBody, FormBody, Upload, eager, strict
from tests.adapters.test_clients import (
    LIMIT_SECONDS,
    MIB,
    read_to_end,
    read_until,
    reset,
    response,
    serving,
)


def test_a_form_is_the_same_in_one_piece_and_in_many() -> None:
    form = FormBody(1000, "photo", "a.jpg")
    whole = form.slice(0, 5000)

    assert 1000 == len(whole)
    assert whole.startswith(f"--{form.boundary}\r\n".encode())
    assert b'name="photo"; filename="a.jpg"' in whole
    assert whole.endswith(f"\r\n--{form.boundary}--\r\n".encode())
    for step in (1, 7, 64, 999):
        assert whole == b"".join(form.slice(at, step) for at in range(0, 1000, step))


@pytest.mark.parametrize("wrong", [{"size_bytes": 20}, {"size_bytes": 500, "field": 'a"b'}])
def test_a_form_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=list(wrong)[-1]):
        FormBody(**wrong)  # type: ignore[arg-type]


def test_a_file_is_read_by_parts_and_must_not_shrink(tmp_path: Path) -> None:
    file = tmp_path / "body"
    file.write_bytes(bytes(range(256)))
    body = FileBody.of(str(file))

    assert (256, bytes(range(10, 20))) == (body.size_bytes, body.slice(10, 10))
    assert b"\xff" == body.slice(255, 10)
    file.write_bytes(b"short")
    with pytest.raises(OSError, match="had 256 bytes and now ends after 5"):
        body.slice(0, 100)


def test_a_source_has_the_length_of_the_upload() -> None:
    with pytest.raises(ValueError, match="size_bytes must be 1000, the size of the source; got 10"):
        Upload(size_bytes=10, source=FormBody(1000))


def test_a_rate_is_above_zero() -> None:
    with pytest.raises(
        ValueError,
        match="rate_bytes_per_second must be a number above 0, or None for",
    ):
        Upload(rate_bytes_per_second=0)


@pytest.mark.parametrize("client", [strict, eager])
def test_the_rate_holds_for_both_clients(client) -> None:
    def script(peer: socket.socket) -> None:
        read_until(peer, b"zzz")
        peer.sendall(response(b""))

    upload = Upload(
        size_bytes=40_000,
        content=b"q" * 39_997 + b"zzz",
        piece_bytes=4_000,
        rate_bytes_per_second=100_000,
    )
    with serving(script) as address:
        answer = client(address, upload, timeout_seconds=LIMIT_SECONDS)

    assert answer.delivered, answer.error
    assert 0.35 < answer.seconds < 5
    assert (0.0, 0) == answer.trace[0]
    assert 40_000 == answer.trace[-1][1]


def test_a_strict_client_notices_an_answer_that_it_does_not_read_yet() -> None:
    answered = threading.Event()

    def script(peer: socket.socket) -> None:
        read_until(peer, b"\r\n\r\n")
        peer.sendall(response(b"early", "413 Too Large"))
        answered.set()
        read_until(peer, b"zzz")

    class Body:
        """Its second half is not there before the answer is."""

        size_bytes = 100_000

        def slice(self, start: int, length: int) -> bytes:
            if start >= self.size_bytes // 2:
                assert answered.wait(LIMIT_SECONDS)
            return (b"q" * 99_997 + b"zzz")[start : start + length]

    upload = Upload(
        size_bytes=100_000, source=Body(), piece_bytes=10_000, rate_bytes_per_second=200_000
    )
    with serving(script) as address:
        answer = strict(address, upload, timeout_seconds=LIMIT_SECONDS)

    assert (413, b"early", "1.1") == (answer.status, answer.body, answer.version)
    assert answer.noticed_seconds is not None
    assert answer.first_byte_seconds is not None
    assert answer.noticed_seconds < answer.first_byte_seconds
    assert answer.sent_at_noticed_bytes is not None
    assert answer.sent_at_noticed_bytes < 100_000 == answer.sent_at_first_byte_bytes


def test_an_invitation_is_no_answer() -> None:
    def script(peer: socket.socket) -> None:
        read_until(peer, b"\r\n\r\n")
        peer.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        read_until(peer, b"zzz")
        peer.sendall(response(b""))

    upload = Upload(
        size_bytes=50_000,
        content=b"q" * 49_997 + b"zzz",
        piece_bytes=5_000,
        rate_bytes_per_second=500_000,
    )
    with serving(script) as address:
        answer = strict(address, upload, timeout_seconds=LIMIT_SECONDS)

    assert (200, (100,)) == (answer.status, answer.interim)
    assert 50_000 == answer.sent_at_noticed_bytes


def test_a_lost_answer_was_noticed() -> None:
    def script(peer: socket.socket) -> None:
        read_until(peer, b"\r\n\r\n")
        peer.sendall(response(b"early", "413 Too Large"))
        time.sleep(0.05)
        reset(peer)

    with serving(script) as address:
        answer = strict(address, Upload(size_bytes=32 * MIB), timeout_seconds=LIMIT_SECONDS)

    assert (None, "reset") == (answer.status, answer.ended)
    assert answer.noticed_seconds is not None


def test_silence_is_counted_from_the_last_byte_sent() -> None:
    """An upload that moves may take longer than the silence; one that stands still may not."""

    def script(peer: socket.socket) -> None:
        read_until(peer, b"zzz")
        read_to_end(peer)

    upload = Upload(
        size_bytes=30_000,
        content=b"q" * 29_997 + b"zzz",
        piece_bytes=500,
        rate_bytes_per_second=35_000,
    )
    with serving(script) as address, Connection(address) as connection:
        answer = connection.strict(upload, timeout_seconds=LIMIT_SECONDS, stall_seconds=0.7)

    assert ("timeout", 30_000) == (answer.ended, answer.sent_bytes)
    assert 1.4 < answer.seconds < LIMIT_SECONDS / 2


def test_a_tls_alert_is_told_from_a_reset(tmp_path: Path) -> None:
    """With TLS 1.3 a server that wants a certificate says so after the client's handshake."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", key, "-out", certificate, "-subj", "/CN=127.0.0.1"),
        ],
        check=True,
        capture_output=True,
        timeout=LIMIT_SECONDS,
    )
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate))
    theirs.load_cert_chain(certificate, key)
    theirs.verify_mode = ssl.CERT_REQUIRED
    ours = ssl.create_default_context()
    ours.check_hostname = False
    ours.verify_mode = ssl.CERT_NONE
    ours.minimum_version = ssl.TLSVersion.TLSv1_3

    def script(peer: socket.socket) -> None:
        # Held open, so that the client meets the alert and not the end behind it.
        with peer.dup() as held:
            with (
                pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"),
                theirs.wrap_socket(peer, server_side=True, suppress_ragged_eofs=True),
            ):
                pass
            held.settimeout(LIMIT_SECONDS)
            with contextlib.suppress(ConnectionError):
                while held.recv(65536):
                    pass

    with serving(script) as address:
        answer = strict(
            address, Upload(method="GET"), timeout_seconds=LIMIT_SECONDS, ssl_context=ours
        )

    assert (None, "tls-alert") == (answer.status, answer.ended), answer.error


def test_a_response_without_an_end_does_not_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("drainkit_clients._exchange._MOST_RESPONSE_BYTES", 1000)

    def script(peer: socket.socket) -> None:
        read_until(peer, b"\r\n\r\n")
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000)
        read_to_end(peer)

    with serving(script) as address:
        answer = strict(address, Upload(), timeout_seconds=LIMIT_SECONDS)

    assert answer.error is not None
    assert answer.error.startswith("response of more than 1000 bytes")


def test_the_host_header_of_an_ipv6_address_has_brackets() -> None:
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("needs IPv6 on the loopback interface")
    with listener:
        port = listener.getsockname()[1]
        with Connection(("::1", port)) as connection:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(response(b""))  # it waits for whoever asks
                connection.strict(Upload(method="GET"), timeout_seconds=LIMIT_SECONDS)
                head = read_until(peer, b"\r\n\r\n")

    assert f"\r\nHost: [::1]:{port}\r\n".encode() in head


def test_the_address_may_differ_from_the_name() -> None:
    heads: list[bytes] = []

    def script(peer: socket.socket) -> None:
        heads.append(read_until(peer, b"\r\n\r\n"))
        peer.sendall(response(b""))

    with serving(script) as address, Connection(address, server_name="a.test") as connection:
        connection.strict(Upload(method="GET"), timeout_seconds=LIMIT_SECONDS)

    assert f"\r\nHost: a.test:{address[1]}\r\n".encode() in heads[0]


@pytest.mark.parametrize(("have", "said"), [(b"a", "1 byte"), (b"ab", "2 bytes")])
def test_one_byte_is_said_as_one_byte(have: bytes, said: str) -> None:
    def script(peer: socket.socket) -> None:
        read_until(peer, b"\r\n\r\n")
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + have)

    with serving(script) as address:
        answer = strict(address, Upload(), timeout_seconds=LIMIT_SECONDS)

    assert f"connection closed after {said} of the response's body" == answer.error
