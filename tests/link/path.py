"""What becomes of each packet on one way of a link: when it arrives, or that it never does.

Rule: no socket and no clock. The same seed, the same packets and the same times have the same fate.
"""

import random
from dataclasses import dataclass

from tests.link.links import Way

_BITS = 8


@dataclass(slots=True)
class Counts:
    """What became of the packets of one way so far.

    Attributes:
        arrived: Packets that arrive, or will.
        arrived_bytes: Their bytes, with IP headers.
        lost: Packets that were lost by chance.
        overflowed: Packets that the queue had no room for.
        silenced: Packets that came while the link was silent.
        reordered: Packets that others may overtake; they have arrived.
    """

    arrived: int = 0
    arrived_bytes: int = 0
    lost: int = 0
    overflowed: int = 0
    silenced: int = 0
    reordered: int = 0


class Path:
    """One way of a link, and the packets that have gone it."""

    def __init__(self, way: Way, *, seed: str) -> None:
        """Let nothing have gone yet.

        Args:
            way: What it is like.
            seed: What decides which packets are lost and which are late.
        """
        self.counts = Counts()
        self._way = way
        self._draw = random.Random(seed).random
        self._free_at = 0.0

    def change(self, way: Way, now: float) -> None:
        """Be like this from now on; what waits in the queue leaves it at the new rate."""
        waiting = max(0.0, self._free_at - now) * self._way.bits_per_second
        self._free_at = now + waiting / way.bits_per_second
        self._way = way

    def arrival(self, now: float, size_bytes: int) -> float | None:
        """Return when a packet arrives that is sent now; None if it does not.

        Args:
            now: Seconds of any clock that does not go back.
            size_bytes: The packet with its IP header.
        """
        way, counts = self._way, self.counts
        # Both are drawn for every packet: its fate by chance depends on its number alone.
        is_lost = self._draw() < way.loss
        is_late = self._draw() < way.reorder
        begins = max(now, self._free_at)
        waiting_bytes = (begins - now) * way.bits_per_second / _BITS
        if waiting_bytes + size_bytes > way.queue_bytes:
            counts.overflowed += 1
            return None
        self._free_at = begins + size_bytes * _BITS / way.bits_per_second
        if is_lost:
            # Behind the queue, as on the air: it has taken its time there.
            counts.lost += 1
            return None
        counts.arrived += 1
        counts.arrived_bytes += size_bytes
        arrives = self._free_at + way.delay_seconds
        if is_late:
            counts.reordered += 1
            arrives += way.reorder_seconds
        return arrives
