"""Packets in files that tcpdump and Wireshark read, and what a few of their fields say."""

import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

# https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-05.html: microseconds, raw IP.
_MAGIC = 0xA1B2C3D4
_RAW = 101
_HEADER = struct.Struct("=IHHiIII")
_RECORD = struct.Struct("=IIII")
_MICROSECONDS = 1_000_000
_TCP = 6
# In the order of RFC 9293 3.1, the last bit first.
_FLAGS = "FSRP.U"


class Writer:
    """A file that packets are put into."""

    def __init__(self, path: Path) -> None:
        """Make the file.

        Args:
            path: Where it is to be.
        """
        self._file = path.open("wb")
        self._file.write(_HEADER.pack(_MAGIC, 2, 4, 0, 0, 0xFFFF, _RAW))

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def put(self, seconds: float, packet: bytes) -> None:
        """Add a packet.

        Args:
            seconds: When it passed, since 1970.
            packet: From its IP header on.
        """
        whole = int(seconds)
        part = int((seconds - whole) * _MICROSECONDS)
        self._file.write(_RECORD.pack(whole, part, len(packet), len(packet)) + packet)

    def close(self) -> None:
        """Put what is left into the file."""
        self._file.close()


class Segment(NamedTuple):
    """A TCP segment of a trace.

    Attributes:
        seconds: When it passed, since 1970.
        source: Where it came from, as ``address:port``.
        target: Where it was to go.
        flags: As tcpdump shows them: ``S``, ``F``, ``R``, ``P``, ``.`` for ACK.
        sequence: Its sequence number.
        acknowledged: Its acknowledgement number.
        size_bytes: Of what it carries, without headers.
    """

    seconds: float
    source: str
    target: str
    flags: str
    sequence: int
    acknowledged: int
    size_bytes: int


def read(path: Path) -> Iterator[Segment]:
    """Return the TCP segments of a file that `Writer` made, in their order.

    Raises:
        ValueError: If another program made it.
    """
    with path.open("rb") as file:
        start = file.read(_HEADER.size)
        if len(start) < _HEADER.size or _HEADER.unpack(start)[0] != _MAGIC:
            raise ValueError(f"{path} is no trace")
        while len(record := file.read(_RECORD.size)) == _RECORD.size:
            whole, part, size, _ = _RECORD.unpack(record)
            packet = file.read(size)
            if packet[9] == _TCP:
                yield _segment(whole + part / _MICROSECONDS, packet)


def _segment(seconds: float, packet: bytes) -> Segment:
    header_bytes = (packet[0] & 0x0F) * 4
    tcp = packet[header_bytes:]
    source, target, sequence, acknowledged = struct.unpack_from("!HHII", tcp)
    flags = "".join(letter for bit, letter in enumerate(_FLAGS) if tcp[13] & 1 << bit)
    return Segment(
        seconds,
        f"{socket.inet_ntoa(packet[12:16])}:{source}",
        f"{socket.inet_ntoa(packet[16:20])}:{target}",
        flags,
        sequence,
        acknowledged,
        len(tcp) - (tcp[12] >> 4) * 4,
    )
