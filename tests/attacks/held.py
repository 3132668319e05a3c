"""What a server holds, as the kernel tells it: connections and memory.

Linux only: netlink (sock_diag(7)) and /proc.
"""

import os
import socket
import struct
from pathlib import Path

# linux/sock_diag.h, linux/inet_diag.h: struct inet_diag_req_v2 asks for exactly one socket.
_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY
_REQUEST = 1  # NLM_F_REQUEST
_ERROR = 2  # NLMSG_ERROR
_HEADER = struct.Struct("=IHHII")
_ANY_STATE = 0xFFFFFFFF
_NO_COOKIE = 0xFFFFFFFF
_LISTENS = 10
_LOOPBACK = socket.inet_aton("127.0.0.1").ljust(16, b"\0")


class Held:
    """The server's end of one connection."""

    def __init__(self, server_port: int, client_port: int, client: str = "127.0.0.1") -> None:
        host = socket.inet_aton(client).ljust(16, b"\0")
        self._request = (
            struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, _ANY_STATE)
            + struct.pack("!HH16s16s", server_port, client_port, _LOOPBACK, host)
            + struct.pack("=III", 0, _NO_COOKIE, _NO_COOKIE)
        )
        self._was_held = False

    def is_over(self, *, was_answered: bool) -> bool:
        """Whether the process that held it has closed it.

        Args:
            was_answered: Whether the client knows that the server had accepted it: a connection
                that waits to be accepted has no inode either, and neither has one that its
                process has closed.
        """
        inode = self._inode()
        if inode:
            self._was_held = True
            return False
        return inode is None or self._was_held or was_answered

    def is_taken(self) -> bool:
        """Whether a process has accepted it, and not closed it yet."""
        return bool(self._inode())

    def _inode(self) -> int | None:
        """Return the inode of the socket, 0 if no process has it, None if there is none."""
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as netlink:
            size = _HEADER.size + len(self._request)
            netlink.send(_HEADER.pack(size, _BY_FAMILY, _REQUEST, 0, 0) + self._request)
            answer = netlink.recv(4096)
        _, kind, _, _, _ = _HEADER.unpack_from(answer)
        if kind == _ERROR:
            return None
        # struct inet_diag_msg: family, state, timer, retrans; the ends; expires, rqueue, wqueue,
        # uid, inode.
        _, state, _, _ = struct.unpack_from("=BBBB", answer, _HEADER.size)
        if state == _LISTENS:
            return None  # the kernel has no such connection, and names who would take it
        *_, inode = struct.unpack_from("=IIIII", answer, _HEADER.size + 4 + 48)
        return int(inode)


class Memory:
    """How far the memory of a group of processes rises, from now on."""

    def __init__(self, group: int) -> None:
        self._before: dict[int, int] = {}
        for pid in _members(group):
            # proc(5): 5 sets the peak back to what is resident now.
            (Path("/proc") / str(pid) / "clear_refs").write_text("5", encoding="ascii")
            self._before[pid] = _status_kib(pid, "VmRSS")

    def growth_bytes(self) -> int:
        """Return by how much the peaks exceed what was resident, of all processes together.

        Of those that were there: what a new worker needs to start is no harm done.
        """
        return 1024 * sum(
            max(0, _status_kib(pid, "VmHWM") - before) for pid, before in self._before.items()
        )


def _members(group: int) -> list[int]:
    return [
        int(entry)
        for entry in os.listdir("/proc")
        if entry.isdigit() and _group_of(int(entry)) == group
    ]


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _status_kib(pid: int, name: str) -> int:
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    for line in text.splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0  # a zombie has no memory
