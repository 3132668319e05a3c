"""What becomes of each packet of a link, without a socket or a clock."""

import dataclasses

import pytest

from tests.link.links import LINKS, Link
from tests.link.path import Path

PLAIN = Link(
    name="plain",
    round_trip_seconds=0.2,
    up_bits_per_second=1e6,
    down_bits_per_second=4e6,
)
# A packet of this size takes 8 ms at 1 Mbit/s.
SIZE_BYTES = 1000
PACKETS = 10_000


def fates(link: Link, *, seed: str, every_seconds: float = 1.0) -> list[float | None]:
    """Return for each packet how long it takes on the way up; None for those that are lost."""
    path = Path(link.up, seed=seed)
    times = [number * every_seconds for number in range(PACKETS)]
    arrivals = [path.arrival(time, SIZE_BYTES) for time in times]
    return [
        None if arrival is None else round(arrival - time, 9)
        for time, arrival in zip(times, arrivals, strict=True)
    ]


@pytest.mark.parametrize("name", LINKS)
def test_the_same_seed_has_the_same_fates(name: str) -> None:
    assert fates(LINKS[name], seed="1") == fates(LINKS[name], seed="1")


def test_another_seed_has_others() -> None:
    assert fates(LINKS["hotel"], seed="1") != fates(LINKS["hotel"], seed="2")


def test_loss_does_not_depend_on_when_packets_are_sent() -> None:
    roomy = dataclasses.replace(LINKS["hotel"], up_queue_bytes=10**9)
    fast, slow = (fates(roomy, seed="1", every_seconds=seconds) for seconds in (0.001, 5.0))

    assert [fate is None for fate in fast] == [fate is None for fate in slow]


@pytest.mark.parametrize(("name", "loss"), [("fibre", 0), ("4g", 50), ("hotel", 200)])
def test_so_many_are_lost_as_was_asked_for(name: str, loss: int) -> None:
    lost = fates(LINKS[name], seed="1").count(None)

    # Four times the standard deviation of a draw with so many hits.
    assert abs(lost - loss) <= 4 * loss**0.5


def test_a_packet_takes_half_a_round_trip_and_its_own_length() -> None:
    assert {0.108} == set(fates(PLAIN, seed="1"))


def test_each_way_has_its_own_rate() -> None:
    down = Path(PLAIN.down, seed="1").arrival(0.0, SIZE_BYTES)

    assert down == pytest.approx(0.102)


def test_packets_that_are_sent_at_once_leave_one_after_the_other() -> None:
    path = Path(PLAIN.up, seed="1")
    arrivals = [path.arrival(0.0, SIZE_BYTES) for _ in range(3)]

    assert arrivals == pytest.approx([0.108, 0.116, 0.124])


def test_what_the_queue_has_no_room_for_is_dropped_until_some_has_left() -> None:
    path = Path(dataclasses.replace(PLAIN, up_queue_bytes=3 * SIZE_BYTES).up, seed="1")
    arrivals = [path.arrival(0.0, SIZE_BYTES) for _ in range(5)]
    later = path.arrival(0.009, SIZE_BYTES)

    assert arrivals[3:] == [None, None]
    assert later is not None
    assert (4, 0, 2) == (path.counts.arrived, path.counts.lost, path.counts.overflowed)


def test_a_packet_that_is_lost_has_taken_its_time_in_the_queue() -> None:
    lossy = Path(dataclasses.replace(PLAIN, loss=0.5).up, seed="1")
    arrivals = [lossy.arrival(0.0, SIZE_BYTES) for _ in range(20)]
    turns = [number for number, arrival in enumerate(arrivals, 1) if arrival is not None]

    assert 0 < len(turns) < 20
    assert [arrivals[turn - 1] for turn in turns] == pytest.approx(
        [0.1 + 0.008 * turn for turn in turns]
    )


def test_a_late_packet_is_overtaken() -> None:
    path = Path(dataclasses.replace(PLAIN, reorder=0.5, reorder_seconds=0.02).up, seed="1")
    arrivals = [path.arrival(0.0, SIZE_BYTES) for _ in range(20)]
    times = [time for time in arrivals if time is not None]

    assert 20 == len(times)
    assert sorted(times) != times
    assert 0 < path.counts.reordered < 20


def test_what_waits_leaves_at_the_new_rate_when_the_rate_changes() -> None:
    path = Path(PLAIN.up, seed="1")
    path.arrival(0.0, SIZE_BYTES)
    path.arrival(0.0, SIZE_BYTES)
    # One packet is left in the queue, and takes ten times as long from now on.
    path.change(dataclasses.replace(PLAIN, up_bits_per_second=1e5).up, 0.008)

    assert path.arrival(0.008, SIZE_BYTES) == pytest.approx(0.008 + 0.08 + 0.08 + 0.1)


def test_a_queue_holds_a_round_trip_but_at_least_a_few_packets() -> None:
    slow = dataclasses.replace(PLAIN, up_bits_per_second=1e4)

    assert 96_000 == slow.up.queue_bytes
    assert 100_000 == PLAIN.down.queue_bytes
