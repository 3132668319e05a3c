"""A server that does nothing but ``recv_into``: ``python -m tests.bench.bare_socket PORT``.

It speaks just enough HTTP for the harness: GET is answered as it asks, the body of a POST is
received into one buffer, whose size the query says.
"""

import os
import re
import socket
import sys

_READ_BYTES = 65_536
_MOST_HEAD_BYTES = 65_536


def main() -> None:
    """Serve one connection after the other."""
    ready = b"ready " + os.environ.get("DRAINKIT_TEST_TOKEN", "").encode()
    with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listening:
        while True:
            connection, _ = listening.accept()
            with connection:
                head, received = _head(connection)
                length = int(_found(rb"content-length: *(\d+)", head, 0))
                buffer = bytearray(int(_found(rb"\?(\d+) HTTP", head, _READ_BYTES)))
                left = length - received
                while left > 0 and (count := connection.recv_into(buffer, min(left, len(buffer)))):
                    left -= count
                body = ready if head.startswith(b"GET") else b"too large\n"
                status = b"200 OK" if head.startswith(b"GET") else b"413 Content Too Large"
                connection.sendall(
                    b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
                    % (status, len(body), body)
                )


def _head(connection: socket.socket) -> tuple[bytes, int]:
    """Return the request's head and how much of its body came with it."""
    data = b""
    while b"\r\n\r\n" not in data and len(data) < _MOST_HEAD_BYTES:
        piece = connection.recv(4096)
        if not piece:
            break
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    return head, len(body)


def _found(pattern: bytes, head: bytes, otherwise: int) -> bytes | int:
    match = re.search(pattern, head, re.IGNORECASE)
    return match.group(1) if match else otherwise


if __name__ == "__main__":
    main()
