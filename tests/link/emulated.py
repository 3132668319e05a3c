"""A link that is there: two namespaces, and the program between them.

What is made inside ``server.entered()`` is at one end, what is made inside ``client.entered()`` at
the other: sockets, and processes with all that they start. The client's end has no loopback of its
own: 127.0.0.1 is the server's there, so that a server which listens on its loopback is reached over
the link as it is.
"""

import contextlib
import functools
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from tests.child import Child, ChildError
from tests.link import namespace
from tests.link.links import LINKS, Link
from tests.link.namespace import Namespace
from tests.link.path import Counts

SERVER_ADDRESS = "10.77.0.1"
_CLIENT_ADDRESS = "10.77.0.{}"
MAX_ADDRESSES = 200

_ANSWER_SECONDS = 20.0
# Longer than anything that waits for it, and still a number in JSON.
FOR_EVER_SECONDS = 1e9


class LinkError(RuntimeError):
    """A link cannot be made here, or its program does not answer; the text says why."""


class LinkCounts(NamedTuple):
    """What became of the packets of both ways."""

    up: Counts
    down: Counts


class Emulated:
    """A link that runs.

    Attributes:
        server: The end that servers are started in.
        client: The end that clients are started in.
        addresses: The client's addresses; the first is used by a socket that is bound to none.
        pid: The program between the ends.
    """

    def __init__(
        self,
        server: Namespace,
        client: Namespace,
        addresses: tuple[str, ...],
        program: Child,
    ) -> None:
        self.server = server
        self.client = client
        self.addresses = addresses
        self.pid = program.pid
        self._program = program

    def change(self, link: Link) -> None:
        """Let the link be like this from now on; what waits in it arrives in its time."""
        self._order("change", up=asdict(link.up), down=asdict(link.down))

    def silence(self, seconds: float = math.inf, *, address: str | None = None) -> None:
        """Lose every packet that is sent from now on, both ways.

        Args:
            seconds: For so long; 0 ends it.
            address: Only those to and from this address of the client; all of them when None.
        """
        self._order("silence", seconds=min(seconds, FOR_EVER_SECONDS), address=address)

    def counts(self) -> LinkCounts:
        """Return what became of the packets so far."""
        told = self._order("counts")
        return LinkCounts(Counts(**told["up"]), Counts(**told["down"]))

    @contextlib.contextmanager
    def traced(self, folder: Path) -> Iterator[None]:
        """Keep the packets of the block in two files.

        Args:
            folder: Where ``sent.pcap`` has them as they were sent, and ``arrived.pcap`` as they
                arrived; what is in the first only has been lost.
        """
        self._order("trace", folder=str(folder.resolve()))
        try:
            yield
        finally:
            self._order("trace", folder=None)

    def _order(self, order: str, **arguments: Any) -> dict[str, Any]:
        return _told(self._program, {"order": order, **arguments})


@contextlib.contextmanager
def emulated(link: Link, *, seed: int = 1, addresses: int = 1) -> Iterator[Emulated]:
    """Make a link until the block ends.

    Args:
        link: What it is like.
        seed: What decides which packets are lost and which are late.
        addresses: How many addresses the client has, at most ``MAX_ADDRESSES``.

    Raises:
        LinkError: If it cannot be made here.
    """
    if not 1 <= addresses <= MAX_ADDRESSES:
        raise ValueError(f"addresses must be between 1 and {MAX_ADDRESSES}, not {addresses}")
    ours = tuple(_CLIENT_ADDRESS.format(2 + number) for number in range(addresses))
    with contextlib.ExitStack() as stack:
        server, server_device = _made(stack, (SERVER_ADDRESS,), far_loopback=False)
        client, client_device = _made(stack, ours, far_loopback=True)
        program = stack.enter_context(_program(client_device, server_device, seed))
        # The program alone has them now: they are gone as soon as it is.
        os.close(client_device)
        os.close(server_device)
        _told(program, {"up": asdict(link.up), "down": asdict(link.down)})
        yield Emulated(server, client, ours, program)


def _made(
    stack: contextlib.ExitStack, addresses: tuple[str, ...], *, far_loopback: bool
) -> tuple[Namespace, int]:
    try:
        made, device = namespace.made(addresses, far_loopback=far_loopback)
    except OSError as error:
        raise LinkError(f"no network namespace with a TUN device: {error}") from error
    stack.callback(made.close)
    return made, device


def _program(client: int, server: int, seed: int) -> Child:
    # Development mode would halve its speed, and finds nothing in it that its tests do not.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDEVMODE"}
    return Child(
        "tests.link.program",
        *map(str, (client, server, seed)),
        answer_seconds=_ANSWER_SECONDS,
        env=env,
        descriptors=(client, server),
    )


def _told(program: Child, order: dict[str, Any]) -> dict[str, Any]:
    try:
        return program.tell(order)
    except ChildError as error:
        raise LinkError(str(error)) from error


@functools.cache
def unavailable() -> str | None:
    """Return why no link can be made here; None if one can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    try:
        with emulated(LINKS["fibre"]) as link, link.client.entered():
            pass
    except (LinkError, OSError) as error:
        return f"{error} (be root, or run under `unshare --map-root-user --net`)"
    return None
