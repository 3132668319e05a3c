"""Arbitrary answers, servers and uploads against a model: what no list of cases would find."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from drainkit import (
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

MAYBE_MOMENT = st.none() | st.sampled_from(Moment)
MOMENTS = st.builds(
    Moments,
    whole=st.sampled_from(Moment),
    pieces=st.sampled_from(Moment),
    small_error=MAYBE_MOMENT,
    big=MAYBE_MOMENT,
    uninvited=MAYBE_MOMENT,
    pieces_with_status=st.sampled_from([frozenset(), frozenset({413})]),
    holds_full=st.booleans(),
    is_discarded_by_server=st.booleans(),
)

SIZES = st.sampled_from([0, 1, 5, BUFFER - 1, BUFFER, BUFFER + 1, 3 * BUFFER]) | st.integers(
    0, 1000
)
STATUSES = st.sampled_from([200, 304, 399, 400, 413, 500, None])

DISCARDING = {
    Plan.DISCARD_FIRST: Moment.FIRST,
    Plan.DISCARD_BETWEEN: Moment.BETWEEN,
    Plan.DISCARD_BEHIND: Moment.BEHIND,
}
LAST = {*DISCARDING, Plan.END}
SENT = {Plan.PASS, Plan.READ_AHEAD, Plan.READ_AHEAD_FIRST}
OVER = {Stage.ENDING, Stage.ENDED, Stage.CUT}


class OrderMachine(RuleBasedStateMachine):
    """One answer, sent by a shell that does what the plans say, whatever the server's row."""

    @initialize(data=st.data())
    def begin(self, data):
        draw = data.draw
        kind = draw(st.sampled_from([BodyKind.LENGTH, BodyKind.CHUNKED]), label="kind")
        length = 1000 if kind is BodyKind.LENGTH else None
        framing = Framing(kind, length, draw(st.booleans(), label="expects"))
        max_bytes = draw(st.sampled_from([2**20, None, 10]), label="max_bytes")
        declines = draw(st.integers(0, 4), label="declines") == 4
        policy = None if declines else DrainPolicy(max_bytes=max_bytes)
        moments = draw(MOMENTS, label="moments")
        sends_while_reading = draw(st.booleans(), label="sends_while_reading")
        self.drain = Drain(policy, framing, capacity=Capacity())
        self.moments = moments
        self.sends_while_reading = sends_while_reading
        self.order = Order(self.drain, moments, sends_while_reading=sends_while_reading)
        self.has_trailers = False
        self.was_over = False
        self.start_is_sent = False
        # What the application told, what is held of it, and what was sent.
        self.told_bytes = self.held_bytes = self.sent_bytes = 0
        self.last_plan = None
        self.is_at_end = False
        if draw(st.integers(0, 3), label="starts later") < 3:
            self.the_answer_starts(data)

    # --- what the shell does ----------------------------------------------------------------------

    def do(self, plan, nbytes):
        """Do what a plan says with what is held and so many bytes more."""
        order, total = self.order, self.held_bytes + nbytes
        sent_bytes = self.sent_bytes + total
        if plan is Plan.HOLD:
            assert not self.drain.settled
            assert self.may_be_held(sent_bytes)
            self.held_bytes = total
            return
        if plan in SENT and not self.drain.settled:
            self.check_sent(plan, sent_bytes)
        if plan in LAST:
            self.take_last(plan, self.right(sent_bytes))
        self.held_bytes = 0
        self.sent_bytes = sent_bytes
        self.start_is_sent = True
        order.released()
        order.passed(total)

    def may_be_held(self, sent_bytes):
        """Whether a piece may have to wait for what follows."""
        is_full = self.moments.holds_full and sent_bytes == self.length
        is_small_error = (
            (self.status or 0) >= 400
            and self.length is None
            and not self.start_is_sent
            and sent_bytes <= BUFFER
            and Moment.FIRST is not (self.moments.small_error or self.moments.whole)
        )
        return (
            self.sends_while_reading
            and self.order.is_patient
            and not self.has_trailers
            and (is_full or is_small_error)
        )

    def check_sent(self, plan, sent_bytes):
        """Check what is done with a piece that is not the last, of an answer to an unread body."""
        untouched = self.drain.untouched
        errors_wait = (
            (self.status or 0) >= 400
            and self.moments.small_error is not None
            and not self.start_is_sent
            and untouched
        )
        is_full = self.moments.holds_full and sent_bytes == self.length
        if self.sends_while_reading and (errors_wait or is_full):
            assert Plan.READ_AHEAD_FIRST is plan
        elif sent_bytes > BUFFER and (self.sends_while_reading or untouched):
            assert Plan.READ_AHEAD is plan, "sent to a client that may not read"
        else:
            assert Plan.PASS is plan

    def take_last(self, plan, right):
        """Check the plan for the last piece; *right* is for a body that comes by itself."""
        assert self.last_plan is None, "an answer ends once"
        self.last_plan = plan
        moment = DISCARDING.get(plan, Moment.NEVER)
        if self.drain.settled:
            assert Moment.NEVER is moment
            return
        assert Stage.ENDING is self.order.stage
        if not self.drain.invited:
            if self.moments.uninvited is not None:
                right = self.moments.uninvited
            elif right is Moment.FIRST and not self.sent_bytes:
                right = Moment.NEVER  # the first read would invite what the answer refuses
        assert right is moment

    def right(self, sent_bytes):
        """Return when the row has a body discarded that comes by itself."""
        row = self.moments
        nbytes = sent_bytes - self.sent_bytes
        fits = sent_bytes <= BUFFER
        if nbytes and not (fits or self.sends_while_reading or self.order.client_is_quiet):
            return Moment.FIRST
        is_whole = not self.sent_bytes and self.status not in row.pieces_with_status
        small_error = row.small_error if nbytes and (self.status or 0) >= 400 else None
        return ((small_error if fits else row.big) or row.whole) if is_whole else row.pieces

    def ask(self, nbytes, more):
        """Tell of a piece."""
        order, total = self.order, self.held_bytes + nbytes
        if self.sends_while_reading and order.is_too_much(total) and self.held_bytes:
            self.give_up_the_wait()
            total = nbytes
        return order.piece(total, more=more)

    def give_up_the_wait(self):
        order = self.order
        order.is_patient = False
        held_bytes = self.held_bytes
        if held_bytes:
            plan = order.piece(held_bytes, more=True)
            assert plan is not Plan.HOLD, "held for nobody"
            self.do(plan, 0)
        elif not self.start_is_sent:
            order.released()
            self.start_is_sent = True

    @property
    def is_under_way(self):
        return not (
            self.order.stage is Stage.EXPECTED
            or self.order.is_over
            or self.last_plan
            or self.is_at_end
        )

    # --- events -----------------------------------------------------------------------------------

    @precondition(lambda self: self.order.stage is Stage.EXPECTED)
    @rule(data=st.data())
    def the_answer_starts(self, data):
        self.status = data.draw(STATUSES, label="status")
        self.length = data.draw(st.none() | SIZES, label="length")
        has_trailers = data.draw(st.integers(0, 5), label="trailers") == 5
        self.has_trailers = has_trailers and self.sends_while_reading
        plan = self.order.start(self.status, self.length, has_trailers=self.has_trailers)
        if plan is Plan.PASS:
            assert self.drain.settled or not self.sends_while_reading
            self.order.released()
            self.start_is_sent = True
        else:
            assert Plan.HOLD is plan

    @precondition(lambda self: self.is_under_way)
    @rule(nbytes=SIZES)
    def a_piece_comes(self, nbytes):
        self.told_bytes += nbytes
        self.do(self.ask(nbytes, True), nbytes)

    @precondition(lambda self: self.is_under_way)
    @rule(nbytes=SIZES)
    def the_last_piece_comes(self, nbytes):
        self.told_bytes += nbytes
        plan = self.ask(nbytes, False)
        if plan is Plan.HOLD:
            assert self.has_trailers
            # What follows is no piece: nothing is held any more.
            self.held_bytes += nbytes
            self.give_up_the_wait()
        else:
            self.do(plan, nbytes)
        if self.has_trailers:
            assert not self.order.is_over
            self.give_up_the_wait()
            row = self.moments
            self.take_last(
                self.order.end_with_trailers(), row.pieces if self.sent_bytes else row.whole
            )
        elif not self.order.is_over and not self.drain.settled:
            # A shell that did not look behind the piece: the end comes by itself.
            assert not self.sends_while_reading
            assert self.right(self.sent_bytes) is self.order.moment_at_end
            self.is_at_end = True

    @precondition(lambda self: self.is_under_way and not self.sent_bytes and not self.held_bytes)
    @rule()
    def the_server_is_to_send_a_file(self):
        right = Moment.FIRST if self.drain.invited else Moment.NEVER
        self.take_last(self.order.end_with_file(), right)

    @precondition(lambda self: self.is_under_way)
    @rule()
    def nobody_waits_any_longer(self):
        self.give_up_the_wait()

    @precondition(lambda self: not self.drain.settled and self.drain.framing.length is None)
    @rule(nbytes=st.integers(0, 100))
    def the_application_reads(self, nbytes):
        self.drain.invited = True
        self.drain.app_read(nbytes, more=True)

    @precondition(lambda self: not self.drain.settled)
    @rule(how=st.integers(0, 3), outcome=st.sampled_from(Outcome))
    def the_body_is_settled(self, how, outcome):
        # Not always: most of what there is to try comes before.
        if how == 3:
            self.drain.app_read(0, more=False)
        elif how == 2:
            self.drain.stop(outcome, 0.0)

    @precondition(lambda self: self.is_under_way and not self.sends_while_reading)
    @rule(is_quiet=st.booleans())
    def the_client_goes_quiet(self, is_quiet):
        self.order.client_is_quiet = is_quiet

    @precondition(lambda self: self.order.stage is Stage.ENDING)
    @rule()
    def the_end_is_sent(self):
        self.order.ended()

    @precondition(lambda self: self.order.stage in (Stage.HELD, Stage.OPEN, Stage.ENDING))
    @rule(gives_up=st.integers(0, 9))
    def the_answer_is_given_up(self, gives_up):
        if gives_up == 9:
            self.order.cut()

    @precondition(lambda self: not (self.is_under_way or self.order.stage is Stage.EXPECTED))
    @rule(data=st.data())
    def the_next_request_comes(self, data):
        self.teardown()
        self.begin(data)

    # --- what is true at any time -----------------------------------------------------------------

    @invariant()
    def nothing_is_sent_that_was_not_told(self):
        assert self.order.passed_bytes == self.sent_bytes
        assert self.told_bytes == self.sent_bytes + self.held_bytes

    @invariant()
    def what_is_over_stays_over(self):
        assert (self.order.stage in OVER) == self.order.is_over
        assert self.order.is_over or not self.was_over
        self.was_over = self.order.is_over

    @invariant()
    def a_body_that_was_read_is_not_left(self):
        if self.drain.finished and self.drain.report is None:
            assert not self.order.leaves_body

    def teardown(self):
        """The application sends the last piece of what it began: then all of it is sent."""
        order = self.order
        if self.is_under_way:
            self.the_last_piece_comes(0)
        if order.stage in (Stage.EXPECTED, Stage.CUT):
            return
        assert self.last_plan or self.is_at_end or self.drain.settled
        order.ended()

        assert Stage.ENDED is order.stage
        assert (0, self.told_bytes) == (self.held_bytes, self.sent_bytes)


OrderMachine.TestCase.settings = settings(stateful_step_count=30)


class TestOrder(OrderMachine.TestCase):
    """Any answer, whatever the server's row, comes to its end, once and whole."""
