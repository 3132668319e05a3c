"""`Order` for a shell that cannot send while it reads, as under WSGI. No server, no socket."""

import itertools

import pytest

from drainkit import (
    NO_BODY,
    RESPONSE_BUFFER_BYTES,
    BodyKind,
    Drain,
    DrainPolicy,
    Framing,
    Moment,
    Moments,
    Order,
    Plan,
    Stage,
)

BUFFER = RESPONSE_BUFFER_BYTES
BEHIND = Moments(whole=Moment.BEHIND, pieces=Moment.BEHIND)
BETWEEN = Moments(whole=Moment.BETWEEN, pieces=Moment.BETWEEN)
FIRST = Moments(whole=Moment.FIRST, pieces=Moment.FIRST)
# A server that reads the body away before it sends the first bytes, but not with a 413.
GREEDY = Moments(
    whole=Moment.FIRST,
    pieces=Moment.BEHIND,
    pieces_with_status=frozenset({413}),
    is_discarded_by_server=True,
)
ALL = {"behind": BEHIND, "between": BETWEEN, "first": FIRST, "greedy": GREEDY}


def order_of(moments, *, status=200, length=None, read_bytes=0, expects=False, framing=None):
    """Return an order whose start is known and has been sent."""
    drain = Drain(DrainPolicy(), framing or Framing(BodyKind.LENGTH, 1000, expects))
    drain.app_read(read_bytes, more=True)
    order = Order(drain, moments, sends_while_reading=False)
    order.start(status, length)
    order.released()
    return order


def drain_of(order):
    return order._drain


# --- the start ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "plan"), [(None, Plan.HOLD), (0, Plan.PASS), (5, Plan.PASS)])
def test_a_start_is_held_only_until_the_length_of_the_answer_is_known(length, plan):
    order = Order(
        Drain(DrainPolicy(), Framing(BodyKind.LENGTH, 1000)), BEHIND, sends_while_reading=False
    )

    assert plan is order.start(413, length)
    assert (plan is Plan.HOLD) == (order.stage is Stage.HELD)


def test_a_start_passes_where_nothing_is_left_of_the_body():
    order = Order(Drain(DrainPolicy(), NO_BODY), BEHIND, sends_while_reading=False)

    assert Plan.PASS is order.start(413, None)


# --- the last piece -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moments", "plan"),
    [
        ("behind", Plan.DISCARD_BEHIND),
        ("between", Plan.DISCARD_BETWEEN),
        ("first", Plan.DISCARD_FIRST),
        ("greedy", Plan.DISCARD_FIRST),
    ],
)
@pytest.mark.parametrize("nbytes", [0, 1, BUFFER])
def test_a_whole_answer_that_fits_goes_out_as_the_row_says(moments, plan, nbytes):
    assert plan is order_of(ALL[moments]).end(nbytes)


@pytest.mark.parametrize("moments", ALL)
def test_before_more_than_a_buffer_holds_the_body_is_gone_everywhere(moments):
    assert Plan.DISCARD_FIRST is order_of(ALL[moments], status=413).end(BUFFER + 1)


def test_a_client_that_has_stopped_sending_reads_so_a_big_answer_need_not_wait():
    order = order_of(BEHIND)
    order.client_is_quiet = True

    assert Plan.DISCARD_BEHIND is order.end(BUFFER + 1)


@pytest.mark.parametrize("moments", ["behind", "between"])
def test_an_end_without_bytes_blocks_nobody_however_much_went_before_it(moments):
    order = order_of(ALL[moments])
    order.passed(10 * BUFFER)

    assert ALL[moments].pieces is order.moment_at_end
    assert order.end(0) in (Plan.DISCARD_BEHIND, Plan.DISCARD_BETWEEN)


@pytest.mark.parametrize("more", [None, True, False])
def test_a_piece_that_reaches_content_length_is_the_last_whatever_the_application_says(more):
    order = order_of(FIRST, length=10)
    passed = [order.piece(4, more=True)]
    order.passed(4)
    passed.append(order.piece(6, more=more))

    assert [Plan.PASS, Plan.DISCARD_FIRST] == passed


@pytest.mark.parametrize("moments", ALL)
@pytest.mark.parametrize("nbytes", [0, 1, BUFFER + 1])
@pytest.mark.parametrize("more", [None, True, False])
def test_nothing_is_read_where_nothing_is_left(moments, nbytes, more):
    order = order_of(ALL[moments])
    drain_of(order).app_read(1000, more=False)

    assert (Plan.END if more is False else Plan.PASS) is order.piece(nbytes, more=more)
    assert Plan.END is order.end(nbytes)
    assert not order.is_discarded_by_server


def test_a_server_that_reads_on_before_the_end_does_so_behind_a_drain_that_has_ended_too():
    order = order_of(BETWEEN)
    order.passed(5)
    drain_of(order).app_read(1000, more=False)

    assert (Plan.END, Moment.BETWEEN) == (order.end(0), order.moment_at_end)


# --- an invitation --------------------------------------------------------------------------------


@pytest.mark.parametrize("nbytes", [0, 1, BUFFER + 1])
def test_what_waits_for_an_invitation_is_not_read_before_an_answer(nbytes):
    assert Plan.END is order_of(FIRST, expects=True).end(nbytes)


def test_a_client_that_has_sent_some_of_its_body_waits_for_no_invitation():
    assert Plan.DISCARD_FIRST is order_of(FIRST, expects=True, read_bytes=1).end(1)


# --- pieces ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("read_bytes", [0, 100])
def test_pieces_that_fit_a_buffer_pass(read_bytes):
    order = order_of(BEHIND, read_bytes=read_bytes)
    for _ in range(4):
        assert Plan.PASS is order.piece(BUFFER // 4, more=None)
        order.passed(BUFFER // 4)


def test_where_a_buffer_is_full_it_must_be_known_whether_more_follows():
    order = order_of(BEHIND)
    order.passed(BUFFER)

    assert Plan.HOLD is order.piece(1, more=None)
    assert Plan.READ_AHEAD is order.piece(1, more=True)
    assert Plan.DISCARD_FIRST is order.piece(1, more=False)


def test_an_application_that_has_begun_to_read_is_left_to_read_between_its_pieces():
    order = order_of(BEHIND, read_bytes=100)
    order.passed(BUFFER)

    assert Plan.PASS is order.piece(1, more=None)


@pytest.mark.parametrize(("status", "is_greedy"), [(200, True), (401, True), (413, False)])
def test_a_server_that_discards_by_itself_is_told_of_before_the_first_bytes_only(status, is_greedy):
    order = order_of(GREEDY, status=status)

    assert is_greedy == order.is_discarded_by_server
    assert (Plan.HOLD if is_greedy else Plan.PASS) is order.piece(1, more=None)

    order.passed(1)

    assert not order.is_discarded_by_server
    assert Plan.PASS is order.piece(1, more=None)


# --- where no deadline can end a read -------------------------------------------------------------


@pytest.mark.parametrize(
    ("moments", "status", "length", "must"),
    [
        ("behind", 413, None, True),
        ("behind", 200, None, False),
        ("behind", 413, 5, False),
        ("behind", 413, BUFFER + 1, True),
        ("behind", 200, BUFFER, False),
        ("behind", 200, BUFFER + 1, True),
        ("first", 413, 5, True),
        ("first", 200, 5, False),
    ],
)
def test_what_is_to_be_read_before_the_end_is_read_before_the_first_piece(
    moments, status, length, must
):
    order = order_of(ALL[moments], status=status, length=length)
    plan = order.stream(is_interruptible=False)

    assert (Plan.READ_AHEAD_FIRST if must else Plan.PASS) is plan
    assert Plan.PASS is order.stream(is_interruptible=True)


def test_an_application_that_has_begun_to_read_is_not_read_for():
    assert Plan.PASS is order_of(BEHIND, status=413, read_bytes=1).stream(is_interruptible=False)


# --- whatever the answer --------------------------------------------------------------------------

SIZES = (0, 5, BUFFER, BUFFER + 1)


@pytest.mark.parametrize("moments", ALL)
@pytest.mark.parametrize("status", [200, 413])
def test_no_more_than_a_buffer_goes_out_before_an_untouched_body_is_looked_at(moments, status):
    """A strict client reads nothing before it has written everything."""
    for sizes in itertools.product(SIZES, repeat=3):
        order = order_of(ALL[moments], status=status)
        sent_bytes = 0
        for at, nbytes in enumerate(sizes):
            plan = order.piece(nbytes, more=None)
            if plan is Plan.HOLD:
                plan = order.piece(nbytes, more=at < len(sizes) - 1)
            if plan in (Plan.READ_AHEAD, Plan.DISCARD_FIRST):
                break
            sent_bytes += nbytes

            assert sent_bytes <= BUFFER, sizes
            assert plan in (Plan.PASS, Plan.DISCARD_BETWEEN, Plan.DISCARD_BEHIND), sizes
            order.passed(nbytes)
