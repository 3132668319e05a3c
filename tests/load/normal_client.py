"""The normal client, whose waiting is measured: small requests on kept connections."""

import socket
import time

REQUESTS_PER_SECOND = 200
_CONNECTIONS = 4
_TIMEOUT_SECONDS = 30.0
_REQUEST = b"GET /200?normal HTTP/1.1\r\nHost: load\r\n\r\n"
_BODY = b"\r\n\r\n200 normal"
_RECV_BYTES = 65536


class NormalClient:
    """Asks at an even pace, whether the answers come in time or not."""

    def __init__(self, address: tuple[str, int]) -> None:
        """Connect.

        Args:
            address: Host and port.
        """
        self._connections = [
            socket.create_connection(address, _TIMEOUT_SECONDS) for _ in range(_CONNECTIONS)
        ]
        for connection in self._connections:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Disconnect."""
        for connection in self._connections:
            connection.close()

    def waits(self, seconds: float) -> list[float]:
        """Ask for a while; return how long each answer took, in seconds.

        A request that could not be sent when it was due, because the answer before it was late,
        counts from when it was due: otherwise one long wait would hide the others behind it.

        Raises:
            RuntimeError: An answer is not the right one.
        """
        gap = 1 / REQUESTS_PER_SECOND
        waits = []
        due = time.perf_counter()
        last = due + seconds
        number = 0
        while due < last:
            ahead = due - time.perf_counter()
            if ahead > 0:
                time.sleep(ahead)
            begun = time.perf_counter() if ahead > 0 else due
            self._ask(self._connections[number % _CONNECTIONS])
            waits.append(time.perf_counter() - begun)
            number += 1
            due += gap
        return waits

    @staticmethod
    def _ask(connection: socket.socket) -> None:
        connection.sendall(_REQUEST)
        answer = b""
        while not answer.endswith(_BODY):
            data = connection.recv(_RECV_BYTES)
            answer += data
            if not data or not answer.startswith(b"HTTP/1.1 200"[: len(answer)]):
                raise RuntimeError(f"a normal request was answered with {answer[:200]!r}")
