"""The tools that we give to others for their tests keep to the protocols that they imitate."""

import asyncio

import pytest

from drainkit import BodyKind, Capacity, Drain, DrainPolicy, Framing, Outcome
from drainkit.testing import Disconnect, FakeClock, ScriptedBody, Silence

CHUNKED = Framing(BodyKind.CHUNKED)


def test_the_clock_moves_only_when_told_to():
    clock = FakeClock(5.0)
    clock.advance(1.5)
    clock.advance(0)

    assert 6.5 == clock() == clock.now


def test_the_clock_does_not_go_back():
    clock = FakeClock(5.0)

    with pytest.raises(ValueError, match="-1"):
        clock.advance(-1)
    assert 5.0 == clock.now


# --- as a WSGI input ------------------------------------------------------------------------------


def test_read_gathers_until_it_has_what_was_asked_for():
    body = ScriptedBody([b"ab", b"cde", b"f"])

    assert [b"abcd", b"ef", b"", b""] == [body.read(4) for _ in range(4)]
    assert (6, 4) == (body.given_bytes, body.reads)


def test_read_of_everything_and_of_nothing():
    body = ScriptedBody([b"ab", b"cd"])

    assert [b"", b"abcd", b""] == [body.read(0), body.read(), body.read(-1)]


def test_lines_end_at_their_newlines_and_at_the_end_of_the_body():
    body = ScriptedBody([b"a\nb", b"c\n", b"\nd"])

    assert [b"a\n", b"bc\n", b"\n", b"d", b""] == [body.readline() for _ in range(5)]


def test_a_line_is_cut_at_the_size_that_was_asked_for():
    body = ScriptedBody([b"abcd\nef"])

    assert [b"ab", b"", b"cd\n", b"ef"] == [
        body.readline(2),
        body.readline(0),
        body.readline(10),
        body.readline(10),
    ]


def test_iteration_and_readlines_give_the_same_lines():
    script = [b"a\nb\n", b"c"]
    lines = [b"a\n", b"b\n", b"c"]

    assert lines == list(ScriptedBody(script))
    assert lines == ScriptedBody(script).readlines()
    assert lines[:2] == ScriptedBody(script).readlines(3)


def test_a_silence_moves_the_clock_when_a_read_comes_to_it():
    clock = FakeClock()
    body = ScriptedBody([b"ab", Silence(3), b"cd"], clock)
    seen = []
    for size in (2, 1, 1):
        body.read(size)
        seen.append(clock.now)

    assert [0.0, 3.0, 3.0] == seen


def test_a_client_that_leaves_is_a_connection_error_and_then_the_end():
    body = ScriptedBody([b"ab", Disconnect(), b"never"])

    assert b"ab" == body.read(2)
    with pytest.raises(ConnectionResetError):
        body.read(1)
    assert b"" == body.read(1)


@pytest.mark.parametrize("script", [[], [b""], [Silence(1)]], ids=repr)
def test_an_empty_body_is_at_its_end(script):
    assert b"" == ScriptedBody(script).read()


# --- as an ASGI source ----------------------------------------------------------------------------


def received_from(body, count):
    async def receive_all():
        return [await body.receive() for _ in range(count)]

    return asyncio.run(receive_all())


def request(body, more):
    return {"type": "http.request", "body": body, "more_body": more}


def test_each_piece_is_a_message_and_the_last_one_says_so():
    body = ScriptedBody([b"ab", b"", b"c", Silence(1)])

    expected = [
        request(b"ab", True),
        request(b"", True),
        request(b"c", False),
        {"type": "http.disconnect"},
        {"type": "http.disconnect"},
    ]
    assert expected == received_from(body, 5)
    assert (3, 5) == (body.given_bytes, body.reads)


def test_a_client_that_leaves_is_a_disconnect_for_ever():
    body = ScriptedBody([b"ab", Disconnect(), b"never"])

    disconnect = {"type": "http.disconnect"}
    assert [request(b"ab", True), disconnect, disconnect] == received_from(body, 3)


def test_a_silence_moves_the_clock_before_its_message():
    body = ScriptedBody([Silence(1), Silence(2), b"ab"])
    received_from(body, 1)

    assert 3.0 == body.clock.now


# --- as a source for the engine -------------------------------------------------------------------


def run(script, framing=CHUNKED, **policy):
    body = ScriptedBody(script)
    report = body.run(Drain(DrainPolicy(**policy), framing, capacity=Capacity()))
    return body, report


def test_run_feeds_a_body_to_its_end_in_reads_no_larger_than_asked_for():
    body, report = run([b"x" * 100_000, b"y" * 5])

    assert (Outcome.COMPLETE, 100_005, 100_005) == (
        report.outcome,
        report.bytes_discarded,
        body.given_bytes,
    )


def test_run_waits_no_longer_than_the_engine_allows():
    body, report = run([b"x", Silence(3), b"x", Silence(100)], min_bytes_per_second=0)

    # the silence is the last event, so that the body has ended before it
    assert (Outcome.COMPLETE, 3.0) == (report.outcome, body.clock.now)


def test_run_stops_reading_where_the_engine_stops():
    body, report = run([b"x" * 5000, b"x"], max_bytes=1000)

    assert (Outcome.BYTE_LIMIT, 1000) == (report.outcome, body.given_bytes)


def test_run_of_a_silent_client_ends_at_the_deadline():
    body, report = run([b"x", Silence(100), b"x"], idle_seconds=4)

    assert (Outcome.IDLE, 4.0) == (report.outcome, body.clock.now)


def test_run_of_a_client_that_leaves():
    assert Outcome.DISCONNECTED == run([b"x", Disconnect()])[1].outcome


def test_run_reads_nothing_when_the_engine_declines():
    body, report = run([b"x"], max_bytes=0)

    assert (Outcome.DECLINED, 0) == (report.outcome, body.given_bytes)


@pytest.mark.parametrize("script", [[], [Silence(1)]], ids=repr)
def test_behind_the_last_event_the_body_has_ended_for_the_engine_too(script):
    """The class says so; to WSGI it has."""
    assert Outcome.COMPLETE == run(script)[1].outcome


@pytest.mark.parametrize("script", [[], [Silence(1)]], ids=repr)
def test_behind_the_last_event_the_body_has_ended_for_asgi_too(script):
    """An ASGI server says at least once that there is no more body."""
    assert request(b"", False) == received_from(ScriptedBody(script), 1)[0]
