"""Network namespaces without a name: they go with the last descriptor and process that hold them.

Linux only. A namespace is a thread's: entering one changes nothing for other threads, and a socket
or a process belongs to the one in which its maker was.
"""

import concurrent.futures
import contextlib
import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

from tests.link.links import MTU_BYTES

INTERFACE = "link0"
_LOOPBACK = "lo"

# linux/sched.h, linux/if.h, linux/if_tun.h, linux/sockios.h, linux/route.h
_CLONE_NEWNET = 0x40000000
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_IFF_TUN, _IFF_NO_PI = 0x1, 0x1000
_TUNSETIFF = 0x400454CA
_SIOCADDRT = 0x890B
_SIOCSIFFLAGS = 0x8914
_SIOCSIFADDR = 0x8916
_SIOCSIFNETMASK = 0x891C
_SIOCSIFMTU = 0x8922
_SIOCSIFTXQLEN = 0x8943
_RTF_UP, _RTF_HOST = 0x1, 0x4

_NETMASK = "255.255.255.0"
# A window's burst; the kernel would drop at 500 what the link's own queue has room for.
_TUN_QUEUE_PACKETS = 10_000

_CONGESTION_CONTROLS = ("cubic", "reno")

_OWN = "/proc/thread-self/ns/net"
_SETTINGS = Path("/proc/sys/net")

P = ParamSpec("P")
R = TypeVar("R")


class Namespace:
    """A network namespace, held open by a descriptor."""

    def __init__(self, descriptor: int) -> None:
        """Hold the namespace.

        Args:
            descriptor: Refers to it; `close` closes it.
        """
        self._descriptor = descriptor

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Be in it with this thread: sockets and processes that are made meanwhile belong to it."""
        own = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(self._descriptor)
            try:
                yield
            finally:
                _enter(own)
        finally:
            os.close(own)

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what a function returns that is called inside it."""
        with self.entered():
            return function(*args, **kwargs)

    def close(self) -> None:
        """Let go of it; what still runs in it keeps it."""
        os.close(self._descriptor)


def made(addresses: Sequence[str], *, far_loopback: bool) -> tuple[Namespace, int]:
    """Make a namespace with an interface, and return both: the interface as a descriptor.

    Args:
        addresses: The addresses of its interface, in one net of 256.
        far_loopback: Whether 127.0.0.1 is at the other end of the link rather than here. What
            listens on the other end's loopback can then be reached over the link.

    Raises:
        OSError: If this process may not, or this kernel cannot.
    """
    # In a thread that ends behind it: this one never leaves its own namespace.
    with concurrent.futures.ThreadPoolExecutor(1) as aside:
        return aside.submit(_made, addresses, far_loopback).result()


def _made(addresses: Sequence[str], far_loopback: bool) -> tuple[Namespace, int]:
    _checked("unshare", _CLONE_NEWNET)
    with contextlib.ExitStack() as stack:
        namespace = Namespace(os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC))
        stack.callback(namespace.close)
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        stack.callback(os.close, device)
        name = INTERFACE.encode()
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name, _IFF_TUN | _IFF_NO_PI))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            _configure(asking.fileno(), addresses, far_loopback)
        stack.pop_all()
    return namespace, device


def _configure(asking: int, addresses: Sequence[str], far_loopback: bool) -> None:
    for where, value in _settings():
        _set(where, value)
    _control_congestion()
    _ask(asking, _SIOCSIFMTU, INTERFACE, struct.pack("i", MTU_BYTES))
    _ask(asking, _SIOCSIFTXQLEN, INTERFACE, struct.pack("i", _TUN_QUEUE_PACKETS))
    up = struct.pack("H", _IFF_UP | _IFF_RUNNING)
    if not far_loopback:
        _ask(asking, _SIOCSIFFLAGS, _LOOPBACK, up)
    for number, address in enumerate(addresses):
        alias = f"{INTERFACE}:{number}" if number else INTERFACE
        _ask(asking, _SIOCSIFADDR, alias, _address(address))
        _ask(asking, _SIOCSIFNETMASK, alias, _address(_NETMASK))
    _ask(asking, _SIOCSIFFLAGS, INTERFACE, up)
    if far_loopback:
        _route(asking, "127.0.0.1")


def _settings() -> Iterator[tuple[str, str]]:
    """Return what is not as the kernel has it: where below /proc/sys/net, and its value."""
    yield "ipv4/conf/all/route_localnet", "1"
    # No packet that nobody asked for: the fate of the n-th one must be the fate of the same.
    yield f"ipv6/conf/{INTERFACE}/disable_ipv6", "1"
    # What one connection learned of the link must not help the next.
    yield "ipv4/tcp_no_metrics_save", "1"
    # The defaults of most kernels, however this machine has been tuned.
    yield "ipv4/tcp_rmem", "4096 131072 6291456"
    yield "ipv4/tcp_wmem", "4096 16384 4194304"


def _set(where: str, value: str) -> None:
    path = _SETTINGS / where
    if where.startswith("ipv6/") and not path.exists():
        return  # a kernel without it
    path.write_text(value)


def _control_congestion() -> None:
    """Have TCP do as most clients do, or where that is not allowed as it has always done."""
    for name in _CONGESTION_CONTROLS:
        try:
            _set("ipv4/tcp_congestion_control", name)
        except (PermissionError, FileNotFoundError):
            continue  # a namespace may only have what the machine allows everybody
        return


def congestion_control() -> str:
    """Return the algorithm that TCP has in the namespace of this thread."""
    return (_SETTINGS / "ipv4/tcp_congestion_control").read_text().strip()


def _address(address: str) -> bytes:
    return struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))


def _ask(asking: int, what: int, interface: str, value: bytes) -> None:
    fcntl.ioctl(asking, what, struct.pack("16s24s", interface.encode(), value))


def _route(asking: int, address: str) -> None:
    """Have packets for an address leave by the interface."""
    name = ctypes.create_string_buffer(INTERFACE.encode())
    # struct rtentry; "@" pads it as the compiler does.
    entry = struct.pack(
        "@L16s16s16sHhLPhPLLH",
        0,
        _address(address),
        _address("0.0.0.0"),
        _address("255.255.255.255"),
        _RTF_UP | _RTF_HOST,
        *(0, 0, 0, 0),
        ctypes.addressof(name),
        *(0, 0, 0),
    )
    fcntl.ioctl(asking, _SIOCADDRT, entry)


def _enter(descriptor: int) -> None:
    # os.setns() is there from Python 3.12 on.
    _checked("setns", descriptor, _CLONE_NEWNET)


def _checked(name: str, *arguments: int) -> None:
    function = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if function is None:
        raise OSError(errno.ENOSYS, f"no {name}() here")
    if function(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}(): {os.strerror(number)}")
