"""What a link is like, and the links that have a name."""

from dataclasses import dataclass

MTU_BYTES = 1500

# A queue holds what its link sends in a round trip, and never less than these packets.
_LEAST_QUEUE_BYTES = 64 * MTU_BYTES


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """One direction of a link.

    Attributes:
        bits_per_second: How fast packets leave the queue, with their IP headers.
        delay_seconds: From the end of the queue to the other end of the link.
        loss: Share of packets that are lost behind the queue, from 0 to 1.
        reorder: Share of packets that others overtake, from 0 to 1.
        reorder_seconds: So much later than in their turn those arrive.
        queue_bytes: What the queue holds; a packet that does not fit is dropped.
    """

    bits_per_second: float
    delay_seconds: float
    loss: float
    reorder: float
    reorder_seconds: float
    queue_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """Both directions of a link; up is from the client to the server.

    Attributes:
        name: What people call it.
        round_trip_seconds: Of a small packet and its answer; half of it is each way's.
        up_bits_per_second: The rate from the client to the server.
        down_bits_per_second: The rate from the server to the client.
        loss: Share of packets that are lost, on each way by itself.
        reorder: Share of packets that others overtake, on each way by itself.
        reorder_seconds: So much later than in their turn those arrive.
        up_queue_bytes: What waits before the bottleneck on the way up; a packet that does not fit
            is dropped. None: what the link sends in a round trip, but at least 64 packets.
        down_queue_bytes: The same on the way down.
    """

    name: str
    round_trip_seconds: float
    up_bits_per_second: float
    down_bits_per_second: float
    loss: float = 0.0
    reorder: float = 0.0
    reorder_seconds: float = 0.01
    up_queue_bytes: int | None = None
    down_queue_bytes: int | None = None

    @property
    def up(self) -> Way:
        """From the client to the server."""
        return self._way(self.up_bits_per_second, self.up_queue_bytes)

    @property
    def down(self) -> Way:
        """From the server to the client."""
        return self._way(self.down_bits_per_second, self.down_queue_bytes)

    def _way(self, bits_per_second: float, queue_bytes: int | None) -> Way:
        if queue_bytes is None:
            product = round(bits_per_second * self.round_trip_seconds / 8)
            queue_bytes = max(_LEAST_QUEUE_BYTES, product)
        return Way(
            bits_per_second=bits_per_second,
            delay_seconds=self.round_trip_seconds / 2,
            loss=self.loss,
            reorder=self.reorder,
            reorder_seconds=self.reorder_seconds,
            queue_bytes=queue_bytes,
        )


def _named(
    name: str,
    *,
    milliseconds: float,
    up: float,
    down: float,
    loss: float = 0.0,
) -> Link:
    return Link(
        name=name,
        round_trip_seconds=milliseconds / 1000,
        up_bits_per_second=up * 1e6,
        down_bits_per_second=down * 1e6,
        loss=loss,
    )


# In milliseconds and Mbit/s.
LINKS: dict[str, Link] = {
    link.name: link
    for link in (
        _named("fibre", milliseconds=10, up=300, down=300),
        _named("4g", milliseconds=60, up=12, down=40, loss=0.005),
        _named("hotel", milliseconds=200, up=4, down=4, loss=0.02),
        _named("satellite", milliseconds=600, up=10, down=10, loss=0.01),
    )
}
