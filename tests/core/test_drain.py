"""What the engine says to do next, and when it stops; time is an argument."""

import pytest

from drainkit import (
    DEFAULTS,
    NO_BODY,
    BodyKind,
    Capacity,
    Defaults,
    Drain,
    DrainPolicy,
    DrainReport,
    Framing,
    Outcome,
    Read,
    Resource,
)
from drainkit.testing import Disconnect, FakeClock, ScriptedBody, Silence

CHUNKED = Framing(BodyKind.CHUNKED)
KIB = 1024
LARGEST_READ = 64 * KIB
SMALLEST_READ = 512


def length(nbytes, *, expects_continue=False):
    return Framing(BodyKind.LENGTH, nbytes, expects_continue)


@pytest.fixture
def capacity():
    """Places of this test's own; all must be given back."""
    places = Capacity()
    yield places
    assert 0 == places.active


@pytest.fixture
def make(capacity):
    """Make a Drain with a policy of these fields."""

    def make(framing=CHUNKED, **policy):
        return Drain(DrainPolicy(**policy), framing, capacity=capacity)

    return make


def without_rate(**policy):
    return {"min_bytes_per_second": 0, **policy}


def reports(step):
    """Tell the outcome of a step which is a report."""
    assert isinstance(step, DrainReport), step
    return step.outcome


# --- each outcome is reached, and by what it says -------------------------------------------------


def test_the_end_of_a_chunked_body_completes_the_drain(make):
    drain = make()
    drain.begin(0.0)
    drain.received(700, True, 1.0)
    report = drain.received(300, False, 2.0)

    assert Outcome.COMPLETE == reports(report)
    assert (1000, 0, None, 2.0) == (
        report.bytes_discarded,
        report.bytes_read,
        report.declared_bytes,
        report.seconds,
    )


def test_an_empty_last_message_completes_the_drain(make):
    drain = make()
    drain.begin(0.0)
    drain.received(700, True, 1.0)

    assert Outcome.COMPLETE == reports(drain.received(0, False, 1.0))


def test_the_end_at_the_very_byte_limit_is_complete(make):
    drain = make(length(1000), max_bytes=1000)
    drain.begin(0.0)

    assert Outcome.COMPLETE == reports(drain.received(1000, False, 0.0))


def test_the_end_may_be_told_behind_the_last_byte_of_a_body_of_the_very_byte_limit(make):
    """As hypercorn does. Nothing more may come: Content-Length says so."""
    drain = make(length(1000), max_bytes=1000)
    drain.begin(0.0)

    assert isinstance(drain.received(1000, True, 0.0), Read)
    assert Outcome.COMPLETE == reports(drain.received(0, False, 0.0))


def test_the_end_that_comes_behind_the_deadline_is_complete_all_the_same(make):
    """The body is off the connection; that is what counts."""
    drain = make(max_seconds=2)
    drain.begin(0.0)

    assert Outcome.COMPLETE == reports(drain.received(5, False, 100.0))


def test_the_byte_limit_ends_a_chunked_body(make):
    drain = make(max_bytes=1000)
    drain.begin(0.0)

    assert isinstance(drain.received(999, True, 0.0), Read)
    assert Outcome.BYTE_LIMIT == reports(drain.received(1, True, 0.0))


def test_a_message_that_exceeds_the_byte_limit_ends_the_drain_and_is_counted(make):
    drain = make(max_bytes=1000)
    drain.begin(0.0)
    report = drain.received(5000, True, 0.0)

    assert (Outcome.BYTE_LIMIT, 5000) == (reports(report), report.bytes_discarded)


def test_without_a_byte_limit_any_number_of_bytes_may_come(make):
    drain = make(max_bytes=None)
    drain.begin(0.0)

    assert isinstance(drain.received(2**50, True, 0.0), Read)
    assert not drain.doomed
    drain.stop(Outcome.ERROR, 0.0)


def test_the_time_limit_ends_a_drain_however_fast_the_client_sends(make):
    drain = make(max_bytes=None, max_seconds=20)
    drain.begin(100.0)
    for second in range(101, 120):
        assert isinstance(drain.received(10**6, True, float(second)), Read)

    assert Outcome.TIME_LIMIT == reports(drain.received(10**6, True, 120.0))


def test_silence_ends_a_drain(make):
    drain = make(**without_rate(idle_seconds=5))
    drain.begin(0.0)
    drain.received(1, True, 3.0)

    assert isinstance(drain.waited(7.999), Read)
    assert Outcome.IDLE == reports(drain.waited(8.0))


def test_a_client_below_the_minimum_rate_is_given_up_behind_the_grace(make):
    drain = make(min_bytes_per_second=100, grace_seconds=4, idle_seconds=9)
    drain.begin(0.0)
    drain.received(399, True, 3.0)

    assert Outcome.TOO_SLOW == reports(drain.waited(4.0))


def test_a_full_process_leaves_the_body_alone_at_once(make, capacity):
    first, second = make(max_concurrent=1), make(max_concurrent=1)
    first.begin(0.0)
    report = second.begin(5.0)

    assert Outcome.AT_CAPACITY == reports(report)
    assert (0, 0.0) == (report.bytes_discarded, report.seconds)
    assert 1 == capacity.active
    first.stop(Outcome.ERROR, 0.0)


def test_a_rest_that_has_come_is_complete_also_where_every_place_is_taken(make, capacity):
    """It holds nobody up, so there is nothing to be bounded."""
    other = make(max_concurrent=1)
    other.begin(0.0)
    drain = make(length(1000), max_concurrent=1)
    drain.app_read(400, True)
    report = drain.received_rest(600, 5.0)

    assert Outcome.COMPLETE == reports(report)
    assert (400, 600, 1000, 0.0) == (
        report.bytes_read,
        report.bytes_discarded,
        report.declared_bytes,
        report.seconds,
    )
    assert (report, True) == (drain.report, drain.settled)
    assert 1 == capacity.active
    other.stop(Outcome.ERROR, 5.0)


@pytest.mark.parametrize("policy", [None, DrainPolicy(max_bytes=0)], ids=["None", "0"])
def test_a_rest_that_has_come_and_is_to_be_left_alone_is_declined(policy):
    report = Drain(policy, length(1000)).received_rest(1000, 5.0)

    assert (Outcome.DECLINED, 0) == (reports(report), report.bytes_discarded)


def test_a_rest_that_has_come_counts_the_time_before_a_pause(make):
    drain = make(length(1000))
    drain.begin(0.0)
    drain.received(400, True, 1.5)
    drain.pause(2.0)
    report = drain.received_rest(600, 9.0)

    assert (Outcome.COMPLETE, 1000, 2.0) == (
        reports(report),
        report.bytes_discarded,
        report.seconds,
    )


def test_a_client_that_leaves_ends_the_drain(make):
    drain = make()
    drain.begin(0.0)
    drain.received(5, True, 1.0)
    report = drain.disconnected(2.0)

    assert (Outcome.DISCONNECTED, 5, 2.0) == (
        report.outcome,
        report.bytes_discarded,
        report.seconds,
    )


@pytest.mark.parametrize("nbytes", [1, 1000])
def test_an_expecting_client_that_sent_something_is_judged_like_any_other(make, nbytes):
    drain = make(length(5000, expects_continue=True), **without_rate())
    drain.begin(0.0)
    drain.received(nbytes, True, 0.0)

    assert Outcome.IDLE == reports(drain.waited(5.0))


@pytest.mark.parametrize(
    ("policy", "end"),
    [
        (without_rate(), lambda drain: drain.waited(5.0)),
        (without_rate(idle_seconds=9, max_seconds=5), lambda drain: drain.waited(5.0)),
        ({"grace_seconds": 5, "idle_seconds": 9}, lambda drain: drain.waited(5.0)),
        (without_rate(max_bytes=10), lambda drain: drain.waited(5.0)),
        ({}, lambda drain: drain.disconnected(5.0)),
    ],
    ids=["idle", "time limit", "too slow", "doomed", "disconnected"],
)
def test_an_expecting_client_that_sent_nothing_did_what_it_should(make, policy, end):
    """RFC 9110 section 10.1.1: it got a final status instead of the invitation."""
    drain = make(length(5000, expects_continue=True), **policy)
    drain.begin(0.0)

    assert Outcome.EXPECT_PENDING == end(drain).outcome


def test_an_expecting_client_whose_body_was_begun_by_the_application_was_invited(make):
    drain = make(length(5000, expects_continue=True), **without_rate())
    drain.app_read(5, True)
    drain.begin(0.0)

    assert Outcome.IDLE == reports(drain.waited(5.0))


def test_an_error_in_a_silent_expecting_clients_drain_stays_an_error(make):
    drain = make(length(5000, expects_continue=True))
    drain.begin(0.0)

    assert Outcome.ERROR == drain.stop(Outcome.ERROR, 1.0).outcome


def test_an_unframed_body_is_not_read_and_the_report_says_why(make, capacity):
    drain = make(Framing(BodyKind.UNKNOWN, None, False, "Content-Length 'x' is ..."))
    report = drain.begin(0.0)

    assert (Outcome.UNFRAMED, "Content-Length 'x' is ...") == (report.outcome, report.detail)


@pytest.mark.parametrize("policy", [None, DrainPolicy(max_bytes=0)], ids=["None", "0"])
@pytest.mark.parametrize("framing", [CHUNKED, length(5), Framing(BodyKind.UNKNOWN)], ids=str)
def test_a_declined_body_is_not_read(policy, framing, capacity):
    drain = Drain(policy, framing, capacity=capacity)

    assert Outcome.DECLINED == reports(drain.begin(0.0))


@pytest.mark.parametrize("outcome", Outcome)
def test_an_adapter_may_stop_for_a_reason_that_only_it_knows(make, outcome):
    drain = make()
    drain.begin(1.0)
    report = drain.stop(outcome, 3.0, "the reason")

    assert (outcome, "the reason", 2.0) == (report.outcome, report.detail, report.seconds)


# --- before it begins -----------------------------------------------------------------------------


def test_a_request_without_body_is_complete_and_takes_no_place(make):
    drain = make(NO_BODY, max_concurrent=1)

    assert drain.finished
    assert Outcome.COMPLETE == reports(drain.begin(0.0))


def test_a_body_that_the_application_has_read_is_complete_even_when_declined(capacity):
    drain = Drain(None, CHUNKED, capacity=capacity)
    drain.app_read(10, True)
    drain.app_read(5, False)
    report = drain.begin(0.0)

    assert (Outcome.COMPLETE, 15, 0) == (
        report.outcome,
        report.bytes_read,
        report.bytes_discarded,
    )


def test_what_the_application_read_is_no_longer_remaining(make):
    drain = make(length(1000))
    assert drain.untouched
    drain.app_read(300, True)

    assert (False, 700) == (drain.untouched, drain.remaining_bytes)


def test_a_stream_ends_where_the_declared_length_does(make):
    drain = make(length(1000))
    drain.app_read_stream(999, at_end=False)
    before = drain.finished
    drain.app_read_stream(1, at_end=False)

    assert (False, True, 0) == (before, drain.finished, drain.remaining_bytes)


def test_a_stream_of_unknown_length_ends_where_it_says(make):
    drain = make()
    drain.app_read_stream(1000, at_end=False)
    before = drain.finished
    drain.app_read_stream(0, at_end=True)

    assert (False, True, 1000) == (before, drain.finished, drain.bytes_read)


def test_what_remains_of_a_chunked_body_is_not_known(make):
    assert make().remaining_bytes is None


def test_what_remains_is_never_negative(make):
    """A server that hands over more than Content-Length said is not our bug."""
    drain = make(length(10))
    drain.app_read(300, True)

    assert 0 == drain.remaining_bytes


def test_the_report_says_whose_request_it_was(capacity):
    drain = Drain(
        DrainPolicy(),
        length(10),
        protocol="HTTP/1.1",
        server="gunicorn",
        method="PUT",
        path="/a",
        capacity=capacity,
    )
    drain.status = 413
    drain.app_read(2, True)
    drain.begin(1.0)
    report = drain.received(8, False, 1.5)

    assert report is drain.report
    assert report == DrainReport(
        outcome=Outcome.COMPLETE,
        bytes_discarded=8,
        bytes_read=2,
        declared_bytes=10,
        seconds=0.5,
        protocol="HTTP/1.1",
        server="gunicorn",
        method="PUT",
        path="/a",
        status=413,
        detail="",
        max_seconds=20.0,
        max_concurrent=64,
    )


# --- what a policy leaves open --------------------------------------------------------------------

FEW = Defaults(max_seconds=7.0, max_concurrent=1)


def test_bounds_that_a_policy_leaves_open_are_those_of_what_the_drain_holds(capacity):
    first, second = (Drain(DrainPolicy(), CHUNKED, defaults=FEW, capacity=capacity) for _ in "ab")
    assert isinstance(first.begin(0.0), Read)
    assert Outcome.AT_CAPACITY is reports(second.begin(0.0))
    for now in (3.0, 6.0):
        first.received(10_000, True, now)
    report = first.waited(7.0)

    assert Outcome.TIME_LIMIT is reports(report)
    assert [(7.0, 1)] * 2 == [
        (one.max_seconds, one.max_concurrent) for one in (report, second.report)
    ]


def test_bounds_that_a_policy_sets_hold_whatever_the_drain_holds(capacity):
    policy = DrainPolicy(max_seconds=3, max_concurrent=2)
    first, second = (Drain(policy, CHUNKED, defaults=FEW, capacity=capacity) for _ in "ab")
    first.begin(0.0)
    second.begin(0.0)
    first.received(10_000, True, 2.0)

    assert [Outcome.TIME_LIMIT] * 2 == [reports(one.waited(3.0)) for one in (first, second)]
    assert (3, 2) == (first.report.max_seconds, first.report.max_concurrent)


def test_a_report_of_a_drain_that_never_had_bounds_names_none(make):
    drain = make(max_bytes=0)
    report = drain.begin(0.0)

    assert (Outcome.DECLINED, None, None) == (
        report.outcome, report.max_seconds, report.max_concurrent,
    )  # fmt: skip


def test_no_drain_lasts_longer_than_its_server_allows(make):
    drain = make(max_seconds=10)
    step = drain.begin(100.0, since=96.0, until=102.0)

    assert 2.0 == step.wait_seconds
    assert Outcome.TIME_LIMIT is reports(drain.waited(102.0))


def test_what_the_server_allows_is_no_more_than_the_policy_does(make):
    drain = make(max_seconds=4)

    assert 4.0 == drain.begin(100.0, until=105.0).wait_seconds
    assert Outcome.TIME_LIMIT is reports(drain.waited(104.0))


def test_a_drain_whose_time_has_passed_before_it_begins_reads_nothing(make):
    drain = make()

    assert Outcome.TIME_LIMIT is reports(drain.begin(100.0, until=99.0))


def test_nothing_may_be_held_where_the_default_is_none_at_once(capacity):
    """An adapter says so where one silent client would hold all there is."""
    nothing = Defaults(max_seconds=20.0, max_concurrent=0)
    drain = Drain(DrainPolicy(), CHUNKED, defaults=nothing, capacity=capacity)

    assert Outcome.AT_CAPACITY is reports(drain.begin(0.0))


def test_an_adapter_that_does_not_say_what_a_drain_holds_has_the_most_careful_bounds(make):
    drain = make()
    drain.begin(0.0)
    report = drain.stop(Outcome.ERROR, 1.0)

    assert DEFAULTS[Resource.PROCESS].max_seconds == report.max_seconds


# --- deadlines, to the tick -----------------------------------------------------------------------


def test_the_nearest_deadline_is_the_wait(make):
    drain = make(max_seconds=8, idle_seconds=5, min_bytes_per_second=100, grace_seconds=3)

    assert 3.0 == drain.begin(10.0).wait_seconds  # the rate, behind the grace
    assert 3.0 == drain.received(450, True, 11.5).wait_seconds  # 4.5 s are earned
    assert 5.0 == drain.received(10**6, True, 12.0).wait_seconds  # the silence
    assert 1.0 == drain.received(10**6, True, 17.0).wait_seconds  # the whole
    drain.stop(Outcome.ERROR, 17.0)


def test_a_read_that_blocks_may_last_to_the_nearest_bound_that_no_byte_moves(make):
    """A client that falls to a tenth of its rate fills no read in time, and is never silent."""
    drain = make(max_seconds=8, idle_seconds=2, min_bytes_per_second=100, grace_seconds=3)

    assert (2.0, 3.0) == drain.begin(10.0)[1:]  # the rate, behind the grace
    assert (2.0, 6.5) == drain.received(10**6, True, 11.5)[1:]  # the whole
    drain.stop(Outcome.ERROR, 11.5)


def test_nor_does_a_client_that_is_seen_to_send_move_the_bound_of_a_doomed_drain(make):
    drain = make(length(2000), max_bytes=1000, idle_seconds=5)

    assert (5.0, 5.0) == drain.begin(0.0)[1:]
    assert (4.0, 4.0) == drain.received(10, True, 1.0)[1:]
    drain.stop(Outcome.ERROR, 1.0)


def test_a_client_that_was_seen_to_send_is_silent_from_then_on(make):
    drain = make(**without_rate(idle_seconds=5))
    drain.begin(0.0)

    assert 3.0 == drain.waited(5.0, last_at=3.0).wait_seconds
    assert 3.0 == drain.waited(5.0, last_at=1.0).wait_seconds, "a look at the past takes nothing"
    assert Outcome.IDLE == reports(drain.waited(8.0))


def test_no_bound_but_silence_is_moved_by_a_client_that_was_seen_to_send(make):
    """A byte now and then, in front of a read that is never filled."""
    outcomes = []
    for policy in ({"max_seconds": 6, "grace_seconds": 9}, {"grace_seconds": 6}):
        drain = make(idle_seconds=5, min_bytes_per_second=100, **policy)
        drain.begin(0.0)
        drain.received(512, True, 1.0)
        assert isinstance(drain.waited(5.9, last_at=5.8), Read)
        outcomes.append(reports(drain.waited(6.0, last_at=5.9)))

    assert [Outcome.TIME_LIMIT, Outcome.TOO_SLOW] == outcomes


@pytest.mark.parametrize(
    ("nbytes", "seconds", "is_silence"),
    [
        (1, 5.0, False),  # not longer than idle_seconds
        (1199, 5.001, True),
        (1201, 5.001, False),
        (65_536, 60.0, False),
        (65_536, 300.0, True),
    ],
)
def test_a_read_that_nobody_could_end_is_silence_below_the_minimum_rate(
    make, nbytes, seconds, is_silence
):
    drain = make(idle_seconds=5, min_bytes_per_second=240)
    drain.begin(0.0)

    assert is_silence == drain.is_silence(nbytes, seconds)
    drain.stop(Outcome.ERROR, 0.0)


@pytest.mark.parametrize("resource", Resource)
def test_a_silence_is_as_long_as_what_a_drain_holds_bears_if_the_policy_does_not_say(
    capacity, resource
):
    """A link that stops for 4 seconds looks silent for up to 8, and more: TCP backs off."""
    waits = []
    for policy in (DrainPolicy(min_bytes_per_second=0), DrainPolicy(idle_seconds=3)):
        drain = Drain(policy, CHUNKED, defaults=DEFAULTS[resource], capacity=capacity)
        waits.append((drain.idle_seconds, drain.begin(0.0).wait_seconds))
        drain.stop(Outcome.ERROR, 0.0)
    expected = 5.0 if resource in (Resource.PROCESS, Resource.THREAD) else 10.0

    assert [(expected, expected), (3, 3)] == waits


def test_the_silence_counts_from_the_last_byte(make):
    drain = make(**without_rate(idle_seconds=5))
    drain.begin(0.0)

    assert 5.0 == drain.received(1, True, 4.0).wait_seconds
    assert 2.0 == drain.waited(7.0).wait_seconds
    assert Outcome.IDLE == reports(drain.waited(9.0))


def test_an_empty_message_is_no_progress(make):
    """One every second would otherwise hold a drain for as long as its client likes."""
    drain = make(**without_rate(idle_seconds=5))
    drain.begin(0.0)
    waits = [drain.received(0, True, float(now)).wait_seconds for now in range(1, 5)]

    assert [4.0, 3.0, 2.0, 1.0] == waits
    assert Outcome.IDLE == reports(drain.received(0, True, 5.0))


def test_bytes_that_an_interrupted_read_had_gathered_count_but_are_no_progress(make):
    drain = make(length(1000), **without_rate(idle_seconds=5))
    drain.begin(0.0)

    assert isinstance(drain.waited(4.0, 10), Read)
    report = drain.waited(5.0, 7)
    assert (Outcome.IDLE, 17) == (report.outcome, report.bytes_discarded)


@pytest.mark.parametrize("framing", [CHUNKED, length(10**6)], ids=["chunked", "length"])
def test_a_wait_that_was_cut_short_never_asks_for_nothing_or_too_much(make, framing):
    """The bytes of an interrupted read may be the last that the limit allowed."""
    drain = make(framing, **without_rate(max_bytes=1000))
    if framing is not CHUNKED:
        drain.app_read(10**6 - 1000, True)
    step = drain.begin(0.0)
    while isinstance(step, Read):
        assert 1 <= step.max_bytes <= 1000 - drain.bytes_discarded
        step = drain.waited(1.0, step.max_bytes)

    assert 1000 == step.bytes_discarded


def test_the_whole_drain_has_a_deadline_that_no_progress_moves(make):
    drain = make(**without_rate(max_seconds=7, idle_seconds=5))
    drain.begin(50.0)

    assert 5.0 == drain.received(1, True, 51.0).wait_seconds
    assert 2.0 == drain.received(1, True, 55.0).wait_seconds
    assert isinstance(drain.waited(56.999), Read)
    assert Outcome.TIME_LIMIT == reports(drain.waited(57.0))


def test_the_rate_counts_from_the_beginning_of_the_drain_but_not_before_the_grace(make):
    """240 bytes a second after 5 seconds: at second 5 a client must have sent 1,200."""
    drain = make(idle_seconds=9)
    drain.begin(0.0)
    step = drain.received(1199, True, 4.9)

    assert step.wait_seconds == pytest.approx(0.1)
    assert Outcome.TOO_SLOW == reports(drain.waited(5.0))


def test_bytes_above_the_minimum_earn_time(make):
    drain = make(idle_seconds=9, min_bytes_per_second=240, grace_seconds=5)
    drain.begin(0.0)
    drain.received(2400, True, 4.0)

    assert isinstance(drain.waited(9.999), Read)
    assert Outcome.TOO_SLOW == reports(drain.waited(10.0))


def test_no_minimum_rate_is_no_rate_deadline(make):
    drain = make(min_bytes_per_second=0, grace_seconds=0, idle_seconds=5)

    assert 5.0 == drain.begin(0.0).wait_seconds
    assert 5.0 == drain.received(1, True, 4.0).wait_seconds
    drain.stop(Outcome.ERROR, 4.0)


def test_at_the_same_moment_the_whole_limit_names_the_outcome(make):
    drain = make(max_seconds=5, idle_seconds=5, grace_seconds=5)
    drain.begin(0.0)

    assert Outcome.TIME_LIMIT == reports(drain.waited(5.0))


def test_a_slow_drip_ends_with_the_rate_through_a_whole_script(make):
    """One byte a second passes every idle timeout."""
    clock = FakeClock(1000.0)
    drip = ScriptedBody([b"x", Silence(1)] * 60, clock)
    report = drip.run(make(idle_seconds=5))

    assert (Outcome.TOO_SLOW, 5.0, 1005.0) == (report.outcome, report.seconds, clock.now)


def test_silence_ends_at_its_deadline_through_a_whole_script(make):
    clock = FakeClock()
    report = ScriptedBody([b"x" * 5000, Silence(60), b"x"], clock).run(make())

    assert (Outcome.IDLE, 5.0, 5000) == (report.outcome, clock.now, report.bytes_discarded)


def test_a_client_that_leaves_through_a_whole_script(make):
    report = ScriptedBody([b"x" * 50, Silence(1), Disconnect()]).run(make())

    assert (Outcome.DISCONNECTED, 1.0, 50) == (
        report.outcome,
        report.seconds,
        report.bytes_discarded,
    )


# --- doomed drains --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("remaining", "max_bytes", "doomed"),
    [(1000, 1000, False), (1001, 1000, True), (10**15, None, False), (1, 0, True)],
)
def test_a_drain_is_doomed_when_its_length_says_so(make, remaining, max_bytes, doomed):
    drain = make(length(remaining + 7), max_bytes=max_bytes)
    drain.app_read(7, True)

    assert doomed == drain.doomed


def test_a_chunked_body_is_not_known_to_be_doomed(make):
    assert not make(max_bytes=1).doomed


def test_a_declined_drain_is_not_doomed(capacity):
    assert not Drain(None, length(10**9), capacity=capacity).doomed


def test_a_doomed_drain_that_makes_progress_is_still_doomed(make):
    """What was discarded is taken off the limit as well as off the rest."""
    drain = make(length(5000), max_bytes=1000)
    drain.begin(0.0)
    drain.received(999, True, 0.0)

    assert drain.doomed
    drain.stop(Outcome.ERROR, 0.0)


def test_a_drain_that_is_not_doomed_does_not_become_doomed_by_discarding(make):
    drain = make(length(1000), max_bytes=1000)
    drain.begin(0.0)
    drain.received(999, True, 0.0)

    assert not drain.doomed
    drain.stop(Outcome.ERROR, 0.0)


@pytest.mark.parametrize(("max_seconds", "lingers"), [(20, 5.0), (3, 3.0)])
def test_a_doomed_drain_lingers_no_longer_than_a_silence_and_ends_as_byte_limit(
    make, max_seconds, lingers
):
    """However fast its client sends: eager clients have taken the response by then."""
    drain = make(
        length(10**12), **without_rate(max_bytes=10**9, idle_seconds=5, max_seconds=max_seconds)
    )
    clock = FakeClock(7.0)
    step = drain.begin(clock.now)
    while isinstance(step, Read):
        clock.advance(min(step.wait_seconds, 1.0))
        step = drain.received(1000, True, clock.now)

    assert (Outcome.BYTE_LIMIT, lingers) == (step.outcome, step.seconds)


def test_a_doomed_and_silent_drain_ends_as_byte_limit_too(make):
    drain = make(length(10**12), max_bytes=10**9)
    drain.begin(0.0)

    assert Outcome.BYTE_LIMIT == reports(drain.waited(5.0))


# --- how much is asked for ------------------------------------------------------------------------


def test_reads_begin_with_what_the_slowest_tolerated_client_sends_in_a_silence(make):
    drain = make(min_bytes_per_second=240, idle_seconds=5)

    assert 1200 == drain.begin(0.0).max_bytes
    drain.stop(Outcome.ERROR, 0.0)


@pytest.mark.parametrize(("rate", "expected"), [(0, SMALLEST_READ), (10**6, LARGEST_READ)])
def test_the_first_read_is_within_the_bounds_of_every_read(make, rate, expected):
    drain = make(min_bytes_per_second=rate, idle_seconds=5)

    assert expected == drain.begin(0.0).max_bytes
    drain.stop(Outcome.ERROR, 0.0)


def test_reads_grow_while_they_return_quickly(make):
    drain = make(**without_rate(max_bytes=None, idle_seconds=8))
    sizes = [drain.begin(0.0).max_bytes]
    for n in range(1, 9):
        sizes.append(drain.received(sizes[-1], True, n / 1000).max_bytes)

    assert [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 65536] == sizes
    drain.stop(Outcome.ERROR, 8.0)


@pytest.mark.parametrize(
    ("ahead_seconds", "is_told"),
    [
        *((seconds, True) for seconds in (0.0, 0.1, 0.2, 0.4, 1.0, 30.0)),
        # The request has waited for the server: when it began is not known.
        *((seconds, False) for seconds in (0.1, 0.2)),
    ],
)
@pytest.mark.parametrize("rate", [5_000, 20_000, 300_000])
def test_what_waited_for_the_drain_does_not_make_its_reads_long(make, rate, ahead_seconds, is_told):
    """Each blocks until all of it has come: a piece every 0.1 s, some before the drain begins."""
    piece_bytes = rate // 10
    size = int(rate * (ahead_seconds + 3))
    drain = make(length(size), **without_rate(max_bytes=None, idle_seconds=0.5))
    now, taken_bytes, longest_seconds = 0.0, 0, 0.0
    step = drain.begin(
        now, since=-ahead_seconds if is_told else None, largest_read_bytes=512 * 1024
    )
    while isinstance(step, Read):
        taken_bytes += step.max_bytes
        ends = max(now, -(-taken_bytes // piece_bytes) * 0.1 - 0.1 - ahead_seconds)
        longest_seconds, now = max(longest_seconds, ends - now), ends
        step = drain.received(step.max_bytes, taken_bytes < size, now)

    assert (Outcome.COMPLETE, size) == (step.outcome, step.bytes_discarded)
    assert longest_seconds < 0.35


def test_a_fast_client_has_large_reads_soon_also_when_the_answer_was_slow(make):
    drain = make(length(2**30), **without_rate(max_bytes=None, idle_seconds=5))
    step, reads = drain.begin(30.0, since=0.0, largest_read_bytes=512 * 1024), 1
    while step.max_bytes < 512 * 1024:
        step, reads = drain.received(step.max_bytes, True, 30.0), reads + 1

    assert reads < 250
    drain.stop(Outcome.ERROR, 30.0)


def test_reads_shrink_when_they_take_long_and_stay_where_they_take_neither(make):
    drain = make(**without_rate(max_bytes=None, max_seconds=100, idle_seconds=8))
    now = 0.0
    drain.begin(now)
    for _ in range(7):
        drain.received(1024 * KIB, True, now)
    sizes = []
    for took in (1.5, 2.0, 2.1, 3, 3, 3, 3, 1.0):
        now += took
        sizes.append(drain.received(1024 * KIB, True, now).max_bytes)

    assert [65536, 65536, 16384, 4096, 1024, 512, 512, 1024] == sizes
    drain.stop(Outcome.ERROR, now)


def test_an_empty_message_does_not_make_reads_grow(make):
    drain = make()
    first = drain.begin(0.0).max_bytes

    assert first == drain.received(0, True, 0.0).max_bytes
    drain.stop(Outcome.ERROR, 0.0)


def test_a_read_never_exceeds_what_is_left_of_the_body(make):
    """What comes behind it belongs to the next request."""
    drain = make(length(10_000))
    drain.app_read(9_000, True)

    assert 1000 == drain.begin(0.0).max_bytes
    assert 1 == drain.received(999, True, 0.0).max_bytes
    drain.received(1, False, 0.0)


def test_a_read_never_exceeds_what_is_left_of_the_limit(make):
    drain = make(max_bytes=1000)

    assert 1000 == drain.begin(0.0).max_bytes
    assert 1 == drain.received(999, True, 0.0).max_bytes
    drain.stop(Outcome.ERROR, 0.0)


# --- pause and late reads -------------------------------------------------------------------------


def test_a_paused_drain_gives_its_place_back_and_takes_one_when_it_goes_on(make, capacity):
    drain = make()
    drain.begin(0.0)
    active = [capacity.active]
    drain.pause(1.0)
    active.append(capacity.active)
    drain.begin(2.0)
    active.append(capacity.active)

    assert [1, 0, 1] == active
    drain.stop(Outcome.ERROR, 2.0)


def test_time_stands_still_while_a_drain_is_paused(make):
    drain = make(**without_rate(max_seconds=10, idle_seconds=9))
    drain.begin(0.0)
    drain.pause(4.0)

    assert 6.0 == drain.begin(1000.0).wait_seconds
    report = drain.waited(1006.0)
    assert (Outcome.TIME_LIMIT, 10.0) == (report.outcome, report.seconds)


def test_several_pauses_add_up(make):
    drain = make(**without_rate(max_seconds=10, idle_seconds=9))
    for now in (0.0, 100.0, 200.0):
        drain.begin(now)
        drain.pause(now + 3)

    assert 1.0 == drain.begin(300.0).wait_seconds
    assert 10.0 == drain.waited(301.0).seconds


def test_the_silence_begins_anew_behind_a_pause(make):
    drain = make(**without_rate(idle_seconds=5))
    drain.begin(0.0)
    drain.pause(4.0)

    assert 5.0 == drain.begin(10.0).wait_seconds
    drain.stop(Outcome.ERROR, 10.0)


def test_a_drain_that_goes_on_may_find_the_process_full(make, capacity):
    drain, other = make(max_concurrent=1), make(max_concurrent=1)
    drain.begin(0.0)
    drain.received(5, True, 0.0)
    drain.pause(1.0)
    other.begin(1.0)
    report = drain.begin(2.0)

    assert (Outcome.AT_CAPACITY, 5) == (report.outcome, report.bytes_discarded)
    other.stop(Outcome.ERROR, 2.0)


def test_a_drain_stopped_while_paused_took_the_time_that_it_took(make):
    drain = make()
    drain.begin(0.0)
    drain.pause(3.0)

    assert 3.0 == drain.stop(Outcome.ERROR, 50.0).seconds


def test_a_body_that_ended_while_paused_is_complete(make):
    drain = make(max_concurrent=1)
    drain.begin(0.0)
    drain.pause(1.0)
    drain.app_read(5, False)

    assert Outcome.COMPLETE == reports(drain.begin(2.0))


def test_bytes_read_late_are_the_applications_and_no_longer_discarded(make):
    drain = make(length(1000))
    drain.begin(0.0)
    drain.received(600, True, 0.0)
    drain.pause(0.0)
    drain.late_read(250)

    assert (250, 350, 400) == (drain.bytes_read, drain.bytes_discarded, drain.remaining_bytes)
    assert not drain.untouched


def test_bytes_read_late_do_not_count_against_the_byte_limit(make):
    drain = make(max_bytes=1000)
    drain.begin(0.0)
    drain.received(900, True, 0.0)
    drain.pause(0.0)
    drain.late_read(900)

    assert 1000 == drain.begin(0.0).max_bytes
    drain.stop(Outcome.ERROR, 0.0)


def test_bytes_read_late_still_speak_for_the_clients_rate(make):
    """A client that sent a megabyte in ten seconds is not slow because it was read late."""
    drain = make()
    drain.begin(0.0)
    for second in range(1, 11):
        drain.received(100_000, True, float(second))
    drain.pause(10.0)
    drain.late_read(1_000_000)

    assert isinstance(drain.begin(10.0), Read)
    drain.stop(Outcome.ERROR, 10.0)


# --- misuse ---------------------------------------------------------------------------------------


CALLS = {
    "received": lambda drain: drain.received(1, True, 1.0),
    "waited": lambda drain: drain.waited(1.0),
    "disconnected": lambda drain: drain.disconnected(1.0),
    "pause": lambda drain: drain.pause(1.0),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_drain_that_has_not_begun_cannot_go_on(make, call):
    drain = make()

    with pytest.raises(RuntimeError, match=rf"^{call}\(\) when the application may read the body$"):
        CALLS[call](drain)


@pytest.mark.parametrize("call", CALLS)
def test_a_paused_drain_cannot_go_on_before_it_begins_again(make, call):
    drain = make()
    drain.begin(0.0)
    drain.pause(0.0)

    with pytest.raises(RuntimeError, match=rf"^{call}\(\) when "):
        CALLS[call](drain)


@pytest.mark.parametrize("call", CALLS)
def test_a_drain_that_has_ended_cannot_go_on(make, call):
    drain = make()
    drain.begin(0.0)
    report = drain.disconnected(0.0)

    with pytest.raises(RuntimeError, match=rf"^{call}\(\) when the drain has ended$"):
        CALLS[call](drain)
    assert report is drain.report


def test_a_drain_begins_once(make):
    drain = make()
    drain.begin(0.0)

    with pytest.raises(RuntimeError, match=r"^begin\(\) when a drain is under way$"):
        drain.begin(1.0)
    with pytest.raises(RuntimeError, match=r"^received_rest\(\) when a drain is under way$"):
        drain.received_rest(0, 1.0)
    drain.stop(Outcome.ERROR, 1.0)
    with pytest.raises(RuntimeError, match=r"^begin\(\) when the drain has ended$"):
        drain.begin(1.0)
    with pytest.raises(RuntimeError, match=r"^received_rest\(\) when the drain has ended$"):
        drain.received_rest(0, 1.0)


def test_stop_may_be_called_at_any_time_and_keeps_the_first_report(make):
    drain = make()
    first = drain.stop(Outcome.DECLINED, 1.0, "first")

    assert (Outcome.DECLINED, 0.0) == (first.outcome, first.seconds)
    assert first is drain.stop(Outcome.ERROR, 2.0, "second")
    assert first is drain.report


def test_stop_behind_an_end_changes_nothing_and_gives_nothing_back_twice(make, capacity):
    drain = make()
    drain.begin(0.0)
    first = drain.received(1, False, 1.0)
    drain.stop(Outcome.ERROR, 2.0)

    assert first is drain.report
    assert 0 == capacity.active


def test_under_way_is_from_begin_to_the_end_but_not_while_paused(make):
    drain = make()
    seen = [drain.under_way]
    drain.begin(0.0)
    seen.append(drain.under_way)
    drain.pause(0.0)
    seen.append(drain.under_way)
    drain.begin(0.0)
    seen.append(drain.under_way)
    drain.disconnected(0.0)
    seen.append(drain.under_way)

    assert [False, True, False, True, False] == seen


@pytest.mark.parametrize("start", [0.1, 1234.567, 1e6 + 0.1, 1e9, 1e9 + 0.7])
@pytest.mark.parametrize("limit", [0.1, 0.3, 0.7, 5])
def test_whoever_waits_as_long_as_it_was_told_comes_to_an_end(make, start, limit):
    """Sums of floats are rounded; a wait too short for the clock to move would be told for ever."""
    for policy in (without_rate(idle_seconds=limit), without_rate(max_seconds=limit)):
        drain = make(**policy)
        clock = FakeClock(start)
        step = drain.begin(clock.now)
        waits = 0
        while isinstance(step, Read) and waits < 10:
            clock.advance(step.wait_seconds)
            waits += 1
            step = drain.waited(clock.now)
        drain.stop(Outcome.ERROR, clock.now)

        assert reports(step) in (Outcome.IDLE, Outcome.TIME_LIMIT)


def test_a_drain_without_grace_has_the_time_for_a_first_read(make):
    """The average of nothing in no time is no rate; else such a policy would never discard."""
    drain = make(grace_seconds=0, min_bytes_per_second=256)

    assert 2.0 == drain.begin(1000.0).wait_seconds
    assert Outcome.TOO_SLOW == reports(drain.waited(1002.0))
