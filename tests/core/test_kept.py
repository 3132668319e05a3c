"""What an application that reads late still has: every byte in order, or an error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drainkit import Kept, LateReadError


def test_nothing_is_kept_at_first():
    kept = Kept(100)

    assert (0, 0, False, False) == (len(kept), kept.lost_bytes, kept.has_ended, kept.is_cut)
    assert b"" == kept.take(10)


def test_what_is_kept_is_given_away_once_and_in_order():
    kept = Kept(100)
    kept.add(b"abc")
    kept.add(b"def", more=False)

    assert [b"ab", b"cdef", b""] == [kept.take(2), kept.take(10), kept.take(10)]
    assert kept.has_ended


@pytest.mark.parametrize("limit", [0, 3, 5])
def test_what_does_not_fit_is_thrown_away_and_counted(limit):
    kept = Kept(limit)
    kept.add(b"abc")
    kept.add(b"def")

    assert b"abcdef"[:limit] == kept.take(100)
    assert 6 - limit == kept.lost_bytes


def test_nothing_is_kept_behind_a_gap():
    """The end of a body that has lost some is no end: the application must learn of the gap."""
    kept = Kept(4)
    kept.add(b"abcdef")
    kept.take(4)
    kept.add(b"gh", more=False)

    assert (b"", 4) == (kept.take(10), kept.lost_bytes)
    assert not kept.has_ended


def test_for_an_application_that_has_begun_to_read_nothing_is_lost():
    kept = Kept(4)
    kept.add(b"abcdef", may_lose=False)

    assert (b"abcdef", 0) == (kept.take(10), kept.lost_bytes)


def test_the_end_is_known_only_where_the_body_has_one():
    kept = Kept(4)
    kept.add(b"ab", more=True)

    assert not kept.has_ended

    kept.add(b"", more=False)

    assert kept.has_ended


@pytest.mark.parametrize(
    ("largest", "kept_bytes", "is_full"),
    [(1, 9, False), (1, 10, True), (6, 4, False), (6, 5, True), (10, 0, False), (11, 0, True)],
)
def test_it_is_full_when_a_piece_as_large_as_the_largest_would_not_fit(
    largest, kept_bytes, is_full
):
    kept = Kept(10)
    kept.expect(largest)
    for _ in range(kept_bytes):
        kept.add(b"x")

    assert is_full == kept.is_full


def test_a_piece_that_was_kept_says_how_large_the_next_may_be():
    kept = Kept(10)
    kept.add(b"x" * 5)

    assert not kept.is_full

    kept.add(b"x" * 1)

    assert kept.is_full


def test_a_smaller_piece_does_not_make_a_larger_one_forgotten():
    kept = Kept(10)
    kept.expect(8)
    kept.expect(2)
    kept.add(b"xyz")

    assert kept.is_full


@pytest.mark.parametrize(
    ("text", "within", "nbytes"),
    [(b"ab\ncd\n", 6, 3), (b"ab\ncd\n", 3, 3), (b"ab\ncd\n", 2, 0), (b"abcd", 4, 0), (b"\n", 1, 1)],
)
def test_a_line_is_found_within_what_is_asked_for(text, within, nbytes):
    kept = Kept(100)
    kept.add(text)

    assert nbytes == kept.find_line(within)
    assert len(text) == len(kept)


def test_what_nobody_will_ask_for_is_given_back_and_counts_as_lost():
    kept = Kept(100)
    kept.add(b"abc", more=False)
    kept.lose()

    assert (0, 3) == (len(kept), kept.lost_bytes)
    assert not kept.has_ended


def test_who_asks_for_what_was_discarded_learns_of_the_limit_and_of_the_cure():
    kept = Kept(4)
    kept.add(b"abcdefg")

    assert (
        "drainkit discarded 3 bytes of this request's body, because it was read only after the "
        "response had begun, and no more than late_read_bytes=4 are kept; read the body before "
        "responding, or raise DrainPolicy.late_read_bytes"
    ) == str(kept.error())


def test_who_asks_for_what_did_not_come_learns_of_the_deadline_and_of_the_cure():
    kept = Kept(100)
    kept.add(b"abc")
    kept.is_cut = True

    assert (
        "a read of this request's body failed or ended at a deadline, while drainkit read ahead "
        "because the response had begun; 3 bytes before that can still be read; read the body "
        "before responding, or raise DrainPolicy.idle_seconds and max_seconds"
    ) == str(kept.error())


def test_a_late_read_fails_as_a_broken_connection_does():
    """Frameworks catch OSError around a body's read."""
    assert issubclass(LateReadError, OSError)
    assert isinstance(Kept(0).error(), LateReadError)


@given(
    limit=st.integers(0, 50),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=20),
)
def test_the_application_has_the_beginning_of_the_body_and_the_rest_is_counted(limit, steps):
    body = bytes(range(200)) * 3
    kept = Kept(limit)
    arrived = 0
    taken = b""
    for is_read, nbytes in steps:
        if is_read:
            taken += kept.take(nbytes)
        else:
            kept.add(body[arrived : arrived + nbytes])
            arrived += nbytes
        assert len(kept) <= limit
    taken += kept.take(len(body))

    assert body.startswith(taken)
    assert arrived == len(taken) + kept.lost_bytes
