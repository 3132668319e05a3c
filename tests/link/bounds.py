"""The attacks that matter with a long link, and what the network still carries behind a bound.

``python -m tests.link.bounds SERVER ...`` prints how long each of them holds a connection, with
drainkit and without.
"""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.attacks.attacks import ATTACKS, HELD_SECONDS, MIB, POLICY
from tests.attacks.runner import ATTACKED_ASGI, ATTACKED_WSGI, roomy
from tests.attacks.wire import Attacker, IsOver, Seen
from tests.link import trace
from tests.link.emulated import Emulated, emulated
from tests.link.links import Link
from tests.servers.harness import Running, running

# Nothing is lost, so that what a bound does can be told from what the link does.
FAR = Link(name="far", round_trip_seconds=0.2, up_bits_per_second=60e6, down_bits_per_second=60e6)

# What a flood reaches in time, over a link.
BOUNDS = {**POLICY, "max_bytes": 2 * MIB}

# Drip, silence, flood and half-close, in both framings.
CHOSEN = (
    *("drip-length", "drip-chunked", "drip-extension", "steady-length", "steady-chunked"),
    *("silent-length", "silent-chunked", "half-length", "half-chunked", "pipeline-incomplete"),
    *("endless", "hidden-length", "hidden-chunked"),
    *("shut-before", "shut-during", "shut-end"),
)
# A bound of time may come before that of bytes.
MORE_OUTCOMES = frozenset({"TIME_LIMIT"})

# The connection is made, the request comes, and the bound; then one more for the end to be seen.
MOST_HELD_SECONDS = HELD_SECONDS + 2 * FAR.round_trip_seconds
# No more than the shortest queue of connections to accept, that of wsgiref and cheroot.
_FEW = 5
_WATCH_SECONDS = MOST_HELD_SECONDS + 2.0


class _FarAttacker(Attacker):
    """An attacker at the other end of a link, where the kernel knows nothing of the server."""

    def __init__(self, link: Emulated, address: tuple[str, int], *, reads: bool) -> None:
        super().__init__(address, reads=reads, watch_seconds=_WATCH_SECONDS)
        self._is_held_over = _at_the_server(link, self._is_held_over)


def _at_the_server(link: Emulated, is_over: IsOver) -> IsOver:
    def ask(*, was_answered: bool) -> bool:
        return link.server.call(is_over, was_answered=was_answered)

    return ask


def attacked(link: Emulated, server: Running, *, at_once: int = len(CHOSEN)) -> dict[str, Seen]:
    """Attack a server with everything in ``CHOSEN``, and return what each attacker saw.

    Args:
        link: The attackers are at its client's end.
        server: The server.
        at_once: How many there are at the same time.
    """

    def attack(name: str) -> Seen:
        one = ATTACKS[name]
        with link.client.entered():
            return _FarAttacker(link, server.address, reads=one.reads).run(one.script)

    with ThreadPoolExecutor(at_once) as pool:
        return dict(zip(CHOSEN, pool.map(attack, CHOSEN), strict=True))


def early_resets(folder: Path, port: int) -> list[str]:
    """Return the connections that a server reset before the client had its whole answer.

    A reset takes from the client what it has not read, and from the server what it would send
    again (RFC 9112 section 9.6).

    Args:
        folder: Where `Emulated.traced` has put the packets.
        port: The server's.
    """
    found = []
    for client, segments in _connections(folder, port).items():
        acknowledged = sent = start = 0
        for is_servers, segment in segments:
            if is_servers and "S" in segment.flags:
                start = segment.sequence
            elif is_servers and "R" in segment.flags:
                if acknowledged < sent:
                    found.append(f"{client}: {sent - acknowledged} of {sent} bytes were under way")
                break
            elif is_servers and segment.size_bytes:
                sent = max(sent, _behind(start, segment.sequence) + segment.size_bytes - 1)
            elif not is_servers and "." in segment.flags:
                acknowledged = max(acknowledged, _behind(start, segment.acknowledged) - 1)
    return found


def _behind(start: int, sequence: int) -> int:
    return (sequence - start) % 2**32


def _connections(folder: Path, port: int) -> dict[str, Sequence[tuple[bool, trace.Segment]]]:
    """Return what the server sent and got, as it did: whose it is, and the segment."""
    ours = [
        *(
            (True, segment)
            for segment in trace.read(folder / "sent.pcap")
            if _is(segment.source, port)
        ),
        *(
            (False, segment)
            for segment in trace.read(folder / "arrived.pcap")
            if _is(segment.target, port)
        ),
    ]
    connections: dict[str, list[tuple[bool, trace.Segment]]] = {}
    for is_servers, segment in sorted(ours, key=lambda one: one[1].seconds):
        client = segment.target if is_servers else segment.source
        connections.setdefault(client, []).append((is_servers, segment))
    return dict(connections)


def _is(end: str, port: int) -> bool:
    return end.endswith(f":{port}")


def main(names: Sequence[str]) -> None:
    """Print how long the attacks hold a connection of these servers; of all, if there are none."""
    for name in names or (*ATTACKED_WSGI, *ATTACKED_ASGI):
        with emulated(FAR) as link, link.server.entered():
            seen = []
            for wrap in (False, True):
                with running(roomy(name), wrap=wrap, policy=BOUNDS if wrap else None) as server:
                    seen.append(attacked(link, server, at_once=_FEW))
        print(name)
        for attack in CHOSEN:
            bare, drained = seen[0][attack], seen[1][attack]
            print(f"  {attack:20} bare {_told(bare):24} drainkit {_told(drained)}", flush=True)


def _told(seen: Seen) -> str:
    held = f"{seen.held_seconds:.1f} s" if seen.was_let_go else f"over {_WATCH_SECONDS:.1f} s"
    return f"{held}, {seen.statuses[-1] if seen.statuses else 'nothing'}, {seen.ended}"


if __name__ == "__main__":
    main(sys.argv[1:])
