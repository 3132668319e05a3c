"""What of an answer goes out before the body is discarded; for a shell that sends while it reads.

``test_order_wsgi.py`` is for a shell that can do one of the two.
"""

import dataclasses
import itertools

import pytest

from drainkit import (
    DISCARD_FIRST,
    NO_BODY,
    RESPONSE_BUFFER_BYTES,
    BodyKind,
    Capacity,
    Drain,
    DrainPolicy,
    Framing,
    Moment,
    Moments,
    Order,
    Outcome,
    Plan,
    Stage,
)

BUFFER = RESPONSE_BUFFER_BYTES
BODY_BYTES = 1000

BETWEEN = Moments(whole=Moment.BETWEEN, pieces=Moment.BETWEEN)
BEHIND = Moments(whole=Moment.BEHIND, pieces=Moment.FIRST, holds_full=True)
STREAM = Moments(
    whole=Moment.FIRST,
    pieces=Moment.FIRST,
    small_error=Moment.BETWEEN,
    uninvited=Moment.BETWEEN,
    holds_full=True,
)
BEHIND_GO = Moments(whole=Moment.FIRST, pieces=Moment.FIRST, uninvited=Moment.NEVER)
BEHIND_NGINX = Moments(whole=Moment.BETWEEN, pieces=Moment.BETWEEN, big=Moment.FIRST)
NOT_WHOLE_WITH_413 = Moments(
    whole=Moment.FIRST, pieces=Moment.BEHIND, pieces_with_status=frozenset({413})
)

FIRST, BETWEEN_PLAN, BEHIND_PLAN, END = (
    Plan.DISCARD_FIRST,
    Plan.DISCARD_BETWEEN,
    Plan.DISCARD_BEHIND,
    Plan.END,
)


@pytest.fixture
def make():
    """Make an Order that knows of a start; with *passed_bytes* the start has been sent, too."""

    def make(
        moments=BETWEEN,
        *,
        status=200,
        length=None,
        has_trailers=False,
        expects=False,
        read_bytes=0,
        passed_bytes=0,
        policy=DrainPolicy(),  # noqa: B008 - it is frozen
        body_bytes=BODY_BYTES,
    ):
        drain = Drain(policy, Framing(BodyKind.LENGTH, body_bytes, expects), capacity=Capacity())
        if read_bytes:
            drain.app_read(read_bytes, more=True)
        order = Order(drain, moments, sends_while_reading=True)
        order.start(status, length, has_trailers=has_trailers)
        if passed_bytes:
            order.released()
            order.passed(passed_bytes)
        return order

    return make


def drain_of(order):
    return order._drain


def settle(order):
    """Let the application have read the body to its end."""
    drain_of(order).app_read(0, more=False)


# --- stages ---------------------------------------------------------------------------------------


def test_before_the_application_begins_its_answer_is_expected():
    order = Order(Drain(None, NO_BODY), BETWEEN, sends_while_reading=True)

    assert Stage.EXPECTED is order.stage
    assert (None, None, 0) == (order.status, order.length, order.passed_bytes)
    assert not order.is_over


def test_a_start_is_held_until_something_says_what_it_needs(make):
    order = make(status=413, length=5)

    assert Stage.HELD is order.stage
    assert (413, 5) == (order.status, order.length)
    assert Plan.HOLD is order.start(413, 5)


def test_a_start_passes_when_nothing_is_left_of_the_body():
    order = Order(Drain(DrainPolicy(), NO_BODY), BETWEEN, sends_while_reading=True)

    assert Plan.PASS is order.start(200, None)
    assert Stage.OPEN is order.stage


def test_the_report_will_have_the_status(make):
    order = make(status=404)

    assert 404 == drain_of(order).stop(Outcome.DECLINED, 0.0).status


def test_a_start_that_is_sent_opens_the_answer(make):
    order = make()
    order.released()

    assert Stage.OPEN is order.stage
    assert not order.is_over


def test_a_piece_that_may_end_the_answer_is_held_as_full_until_it_is_passed(make):
    order = make(BEHIND, length=5)
    plan = order.piece(5, more=True)

    assert (Plan.HOLD, Stage.FULL) == (plan, order.stage)

    order.released()
    order.passed(5)

    assert (Stage.OPEN, 5) == (order.stage, order.passed_bytes)


def test_a_full_piece_of_an_answer_that_has_begun_to_go_out_opens_it_again(make):
    order = make(BEHIND, length=5)
    order.released()
    order.piece(5, more=True)
    full = order.stage
    order.passed(5)

    assert (Stage.FULL, Stage.OPEN) == (full, order.stage)


def test_a_last_piece_is_the_end_of_the_application_and_not_yet_of_the_answer(make):
    order = make()
    order.end(5)

    assert (Stage.ENDING, True) == (order.stage, order.is_over)

    order.ended()

    assert (Stage.ENDED, True) == (order.stage, order.is_over)


def test_an_answer_that_is_given_up_is_over(make):
    order = make()
    order.cut()

    assert (Stage.CUT, True) == (order.stage, order.is_over)


@pytest.mark.parametrize("last", [Stage.ENDING, Stage.ENDED, Stage.CUT])
def test_what_is_sent_behind_the_last_piece_does_not_open_the_answer_again(make, last):
    """Its start may have been held, and its bytes are told when they are being sent."""
    order = make()
    order.end(5)
    {Stage.ENDED: order.ended, Stage.CUT: order.cut}.get(last, list)()
    order.released()
    order.passed(5)

    assert (last, 5) == (order.stage, order.passed_bytes)


# --- the last piece: one row of the table each ----------------------------------------------------

# For each row of design's table: a whole answer, the last of several pieces, a small error; then
# what waits for an invitation, before anything was sent and behind that.
ROWS = {
    "between": (BETWEEN, BETWEEN_PLAN, BETWEEN_PLAN, BETWEEN_PLAN, BETWEEN_PLAN, BETWEEN_PLAN),
    "behind": (BEHIND, BEHIND_PLAN, FIRST, BEHIND_PLAN, BEHIND_PLAN, FIRST),
    "unknown": (DISCARD_FIRST, FIRST, FIRST, FIRST, END, END),
    "stream": (STREAM, FIRST, FIRST, BETWEEN_PLAN, BETWEEN_PLAN, BETWEEN_PLAN),
    "behind Caddy": (BEHIND_GO, FIRST, FIRST, FIRST, END, END),
    "behind nginx": (
        BEHIND_NGINX,
        BETWEEN_PLAN,
        BETWEEN_PLAN,
        BETWEEN_PLAN,
        BETWEEN_PLAN,
        BETWEEN_PLAN,
    ),
}
rows = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)


@rows
@pytest.mark.parametrize("status", [200, 302, 399, None])
@pytest.mark.parametrize("nbytes", [0, 5, BUFFER])
def test_a_whole_answer_goes_out_as_the_row_says(make, row, status, nbytes):
    moments, whole, _, _, _, _ = row

    assert whole is make(moments, status=status).piece(nbytes, more=False)


@rows
@pytest.mark.parametrize("status", [200, 413])
@pytest.mark.parametrize("nbytes", [0, 5, BUFFER])
def test_the_last_of_several_pieces_goes_out_as_the_row_says(make, row, status, nbytes):
    moments, _, pieces, _, _, _ = row

    assert pieces is make(moments, status=status, passed_bytes=7).piece(nbytes, more=False)


@rows
@pytest.mark.parametrize("status", [400, 413, 500, 599])
@pytest.mark.parametrize("nbytes", [1, BUFFER])
def test_a_small_error_goes_out_as_the_row_says(make, row, status, nbytes):
    moments, _, _, small_error, _, _ = row

    assert small_error is make(moments, status=status).piece(nbytes, more=False)


@rows
def test_a_body_that_waits_for_an_invitation_is_not_invited_by_the_first_read(make, row):
    moments, _, _, _, unsent, behind = row

    assert unsent is make(moments, status=401, expects=True).piece(5, more=False)
    assert behind is make(moments, status=401, expects=True, passed_bytes=7).piece(5, more=False)


@rows
def test_a_body_that_somebody_has_asked_for_comes_like_any_other(make, row):
    moments, whole, *_ = row
    order = make(moments, expects=True)
    drain_of(order).invited = True

    assert whole is order.piece(5, more=False)


@rows
@pytest.mark.parametrize("passed_bytes", [0, 7])
def test_nothing_is_discarded_where_nothing_is_left(make, row, passed_bytes):
    order = make(row[0], status=413, passed_bytes=passed_bytes)
    settle(order)

    assert END is order.piece(5, more=False)


def test_an_error_without_bytes_is_no_small_error(make):
    """An empty error needs no Content-Length to be seen as whole: it is ended, and that is all."""
    assert FIRST is make(STREAM, status=401).piece(0, more=False)


@pytest.mark.parametrize(
    ("moments", "plan"),
    [(BETWEEN, BETWEEN_PLAN), (STREAM, FIRST), (BEHIND_NGINX, FIRST), (BEHIND, BEHIND_PLAN)],
)
def test_an_answer_that_fits_no_buffer_is_no_small_one(make, moments, plan):
    assert plan is make(moments, status=413).piece(BUFFER + 1, more=False)


def test_pieces_that_have_been_sent_count_for_what_fits(make):
    moments = dataclasses.replace(BEHIND_NGINX, pieces=Moment.BEHIND)

    assert BEHIND_PLAN is make(moments, passed_bytes=BUFFER).piece(1, more=False)


@pytest.mark.parametrize(("status", "plan"), [(413, BEHIND_PLAN), (401, FIRST), (200, FIRST)])
def test_with_some_statuses_a_whole_answer_counts_as_one_in_pieces(make, status, plan):
    assert plan is make(NOT_WHOLE_WITH_413, status=status).piece(5, more=False)


@pytest.mark.parametrize("moment", Moment)
def test_each_moment_is_a_plan_of_its_own(make, moment):
    plans = {Moment.FIRST: FIRST, Moment.BETWEEN: BETWEEN_PLAN, Moment.BEHIND: BEHIND_PLAN}
    moments = Moments(whole=moment, pieces=Moment.BETWEEN)

    assert plans.get(moment, END) is make(moments).end(5)


def test_an_unknown_server_holds_what_may_be_the_end_and_never_invites():
    assert DISCARD_FIRST.holds_full
    assert (Moment.FIRST, Moment.FIRST) == (DISCARD_FIRST.whole, DISCARD_FIRST.pieces)
    assert Moment.NEVER is DISCARD_FIRST.uninvited


# --- trailers and files ---------------------------------------------------------------------------


@rows
def test_where_trailers_follow_no_piece_is_the_end(make, row):
    order = make(row[0], has_trailers=True)

    assert order.piece(5, more=False) in (Plan.PASS, Plan.READ_AHEAD_FIRST)
    assert not order.is_over


@rows
@pytest.mark.parametrize("passed_bytes", [0, 7])
def test_trailers_are_the_end_of_an_answer_that_has_them(make, row, passed_bytes):
    moments, whole, pieces, *_ = row
    order = make(moments, has_trailers=True, passed_bytes=passed_bytes)

    assert (pieces if passed_bytes else whole) is order.end_with_trailers()
    assert Stage.ENDING is order.stage


def test_trailers_end_an_answer_whose_body_has_been_read_without_more_ado(make):
    order = make(has_trailers=True, passed_bytes=7)
    settle(order)

    assert END is order.end_with_trailers()


def test_a_full_answer_whose_trailers_follow_is_not_held_but_its_body_is_read_first(make):
    """The server may end it by itself, and nothing is known of a last piece."""
    assert Plan.READ_AHEAD_FIRST is make(BEHIND, length=5, has_trailers=True).piece(5, more=False)


@rows
def test_before_a_file_that_the_server_sends_by_itself_the_body_is_gone(make, row):
    assert FIRST is make(row[0]).end_with_file()


def test_for_a_file_a_body_is_not_invited_unless_the_row_allows_it(make):
    assert END is make(BEHIND_NGINX, expects=True).end_with_file()
    assert BETWEEN_PLAN is make(STREAM, expects=True).end_with_file()


# --- pieces ---------------------------------------------------------------------------------------


@rows
@pytest.mark.parametrize("status", [200, 413])
def test_pieces_of_an_answer_with_a_length_pass_while_they_fit(make, row, status):
    order = make(row[0], status=status, length=10, passed_bytes=1)

    assert Plan.PASS is order.piece(5, more=True)


@rows
def test_pieces_of_a_success_pass_while_they_fit(make, row):
    order = make(row[0])
    passed = [order.piece(BUFFER, more=True)]
    order.released()
    order.passed(BUFFER)
    passed.append(order.piece(1, more=True))

    assert [Plan.PASS, Plan.READ_AHEAD] == passed


@pytest.mark.parametrize("read_bytes", [0, 100])
def test_what_fits_no_buffer_is_sent_while_the_body_is_read(make, read_bytes):
    """Also for an application that has begun to read: what is read is kept for it."""
    order = make(read_bytes=read_bytes)

    assert Plan.READ_AHEAD is order.piece(BUFFER + 1, more=True)


@rows
@pytest.mark.parametrize("nbytes", [0, 5, BUFFER + 1])
def test_every_piece_passes_where_nothing_is_left_of_the_body(make, row, nbytes):
    order = make(row[0], status=413, length=5)
    settle(order)

    assert Plan.PASS is order.piece(nbytes, more=True)


@rows
def test_a_piece_that_reaches_content_length_is_held_only_where_the_server_may_end_there(make, row):
    moments = row[0]
    order = make(moments, length=10, passed_bytes=4)
    plan = order.piece(6, more=True)

    assert (Plan.HOLD if moments.holds_full else Plan.PASS) is plan
    assert (Stage.FULL if moments.holds_full else Stage.OPEN) is order.stage


def test_a_piece_that_does_not_reach_content_length_or_exceeds_it_is_not_held(make):
    assert Plan.PASS is make(BEHIND, length=10).piece(9, more=True)
    assert Plan.PASS is make(BEHIND, length=10).piece(11, more=True)


def test_a_full_piece_that_nobody_waits_for_any_more_goes_out_behind_the_body(make):
    order = make(BEHIND, length=10, passed_bytes=4)
    order.piece(6, more=True)
    order.is_patient = False

    assert Plan.READ_AHEAD_FIRST is order.piece(6, more=True)


def test_an_empty_last_piece_ends_what_was_held_as_full(make):
    order = make(BEHIND, status=413, length=5)
    order.piece(5, more=True)

    assert BEHIND_PLAN is order.piece(5, more=False)


# --- an error without a length, and what it may become --------------------------------------------

MAY_BE_HELD = {"between": BETWEEN, "behind": BEHIND, "stream": STREAM, "behind nginx": BEHIND_NGINX}


@pytest.mark.parametrize("moments", MAY_BE_HELD.values(), ids=MAY_BE_HELD)
@pytest.mark.parametrize("status", [400, 413, 500])
def test_the_first_piece_of_an_error_is_held_to_see_whether_it_is_all(make, moments, status):
    order = make(moments, status=status)

    assert order.may_become_whole
    assert Plan.HOLD is order.piece(BUFFER, more=True)
    assert Stage.HELD is order.stage


@pytest.mark.parametrize(
    "fields",
    [
        {"status": 399},
        {"status": 200},
        {"status": None},
        {"length": 10},
        {"has_trailers": True},
        {"passed_bytes": 7},
        {"moments": DISCARD_FIRST},
        {"moments": BEHIND_GO},
    ],
    ids=str,
)
def test_nothing_else_is_held_for_that(make, fields):
    """A success is no error; a whole one that comes behind the body is no quicker for it."""
    order = make(**{"status": 413, **fields})

    assert not order.may_become_whole
    assert Plan.PASS is order.piece(5, more=True)


def test_an_error_that_has_become_more_than_a_buffer_holds_is_not_held(make):
    order = make(status=413)

    assert Plan.HOLD is order.piece(BUFFER, more=True)
    assert Plan.READ_AHEAD is order.piece(BUFFER + 1, more=True)


def test_an_error_that_is_held_is_whole_with_its_end(make):
    order = make(STREAM, status=413)

    assert Plan.HOLD is order.piece(5, more=True)
    assert BETWEEN_PLAN is order.piece(5, more=False)


def test_an_error_that_nobody_waits_for_any_more_passes(make):
    order = make(status=413)
    order.piece(5, more=True)
    order.is_patient = False

    assert not order.may_become_whole
    assert Plan.PASS is order.piece(5, more=True)


def test_where_only_small_errors_are_safe_others_wait_for_the_body(make):
    """Over HTTP/2 a client ends its upload short at the status, and the answer with it."""
    order = make(STREAM, status=413)
    order.is_patient = False

    assert Plan.READ_AHEAD_FIRST is order.piece(5, more=True)
    assert Plan.READ_AHEAD_FIRST is make(STREAM, status=413, length=99).piece(5, more=True)


def test_but_not_behind_their_first_piece_nor_for_who_has_begun_to_read(make):
    assert Plan.PASS is make(STREAM, status=413, length=99, passed_bytes=7).piece(5, more=True)
    assert Plan.PASS is make(STREAM, status=413, length=99, read_bytes=1).piece(5, more=True)
    assert Plan.PASS is make(STREAM, status=200, length=99).piece(5, more=True)


@pytest.mark.parametrize(
    ("nbytes", "is_sent", "is_too_much"),
    [(BUFFER, False, False), (BUFFER + 1, False, True), (BUFFER + 1, True, False)],
)
def test_more_than_a_buffer_holds_is_not_held_with_the_start(make, nbytes, is_sent, is_too_much):
    order = make(status=413)
    if is_sent:
        order.released()

    assert is_too_much == order.is_too_much(nbytes)


# --- headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("nbytes", [0, 5, BUFFER + 1])
@pytest.mark.parametrize("status", [200, 302, 401, 413, 500])
def test_a_whole_answer_without_a_length_is_to_have_one(make, status, nbytes):
    order = make(status=status)

    assert nbytes == order.length_to_add(nbytes, method="POST", has_coding=False)
    assert nbytes == order.length
    assert order.length_to_add(nbytes, method="POST", has_coding=False) is None


@pytest.mark.parametrize(
    ("fields", "arguments"),
    [
        ({"length": 5}, {}),
        ({"passed_bytes": 5}, {}),
        ({"status": None}, {}),
        ({"status": 103}, {}),
        ({"status": 199}, {}),
        ({"status": 204}, {}),
        ({"status": 304}, {}),
        ({}, {"method": "HEAD"}),
        ({}, {"has_coding": True}),
    ],
    ids=str,
)
def test_no_length_where_there_is_one_or_must_be_none(make, fields, arguments):
    """RFC 9110 sections 8.6 and 9.3.2; RFC 9112 section 6.2."""
    order = make(**fields)
    length = order.length

    assert order.length_to_add(5, **{"method": "POST", "has_coding": False, **arguments}) is None
    assert length == order.length


@pytest.mark.parametrize("outcome", Outcome)
def test_a_drain_that_has_ended_says_itself_whether_the_connection_can_be_used(make, outcome):
    order = make()
    drain_of(order).stop(outcome, 0.0)

    assert outcome.closes == order.leaves_body


def test_a_body_that_is_read_or_will_be_is_not_left(make):
    assert not make().leaves_body

    order = make(policy=DrainPolicy(max_bytes=1))
    settle(order)

    assert not order.leaves_body


def test_a_body_that_the_application_wants_to_have_left_alone_is_the_servers(make):
    assert not make(policy=None, expects=True).leaves_body


def test_a_body_that_waits_for_an_invitation_is_left(make):
    assert make(expects=True).leaves_body


@pytest.mark.parametrize(
    ("read_bytes", "is_over", "is_left"),
    [(0, False, True), (0, True, True), (1, False, False), (1, True, True)],
)
def test_a_body_that_exceeds_the_bounds_is_left_unless_the_application_may_read_it(
    make, read_bytes, is_over, is_left
):
    order = make(policy=DrainPolicy(max_bytes=10), read_bytes=read_bytes)
    if is_over:
        order.end(0)

    assert is_left == order.leaves_body


# --- whatever the answer --------------------------------------------------------------------------


@rows
@pytest.mark.parametrize("status", [200, 413])
@pytest.mark.parametrize("length", [None, "the sum"])
@pytest.mark.parametrize("read_bytes", [0, 1])
def test_no_more_than_a_buffer_is_sent_to_a_client_that_may_not_read(
    make, row, status, length, read_bytes
):
    """A strict client reads nothing before it has written everything."""
    for sizes in itertools.product((0, 5, BUFFER, BUFFER + 1), repeat=3):
        total = None if length is None else sum(sizes)
        order = make(row[0], status=status, length=total, read_bytes=read_bytes)
        held_bytes = 0
        for at, nbytes in enumerate(sizes):
            held_bytes += nbytes
            plan = order.piece(held_bytes, more=at < len(sizes) - 1)
            if plan is Plan.HOLD:
                continue
            if plan is Plan.PASS:
                assert order.passed_bytes + held_bytes <= BUFFER, sizes
            order.released()
            order.passed(held_bytes)
            held_bytes = 0

        assert order.is_over, sizes
        assert (0, sum(sizes)) == (held_bytes, order.passed_bytes), sizes


# --- the moments of a row -------------------------------------------------------------------------

BIG = BUFFER + 1


@pytest.mark.parametrize(
    ("moments", "always"),
    [
        (BETWEEN, Moment.BETWEEN),
        (Moments(whole=Moment.BETWEEN, pieces=Moment.BETWEEN, big=Moment.BETWEEN), Moment.BETWEEN),
        (BEHIND, None),
        (STREAM, None),
        (BEHIND_NGINX, None),
        (BEHIND_GO, Moment.FIRST),
    ],
)
def test_a_row_says_whether_its_moment_depends_on_the_piece(moments, always):
    """So that most answers cost no more than a look."""
    pieces = [(1, 0), (BIG, 0), (0, 0), (1, 1), (BIG, 1), (0, 1)]
    found = {moments.of_last_piece(status, *piece) for status in (200, 401) for piece in pieces}

    assert {always} == found if always else len(found) > 1
    assert always is moments.always is moments.of_any_piece(401)


def test_a_status_may_say_the_moment_whatever_the_last_piece_is():
    moments = NOT_WHOLE_WITH_413
    pieces = [(1, 0), (BIG, 0), (0, 0), (1, 1)]

    assert {moments.pieces} == {moments.of_last_piece(413, *piece) for piece in pieces}
    assert moments.pieces is moments.of_any_piece(413) is not moments.of_any_piece(401)
    assert moments.whole is moments.of_last_piece(401, 1, 0) is not moments.pieces


def test_a_row_that_is_replaced_works_its_moment_out_anew():
    moments = dataclasses.replace(BETWEEN, big=Moment.FIRST)

    assert (None, Moment.FIRST) == (moments.always, moments.of_last_piece(200, BIG, 0))
    assert BETWEEN == dataclasses.replace(moments, big=None)
