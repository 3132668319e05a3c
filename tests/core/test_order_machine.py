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

    # --- what the shell does ----------------------------------------------------------------------

    def do(self, plan, nbytes):
        """Do what a plan says with what is held and so many bytes more."""
        order, total = self.order, self.held_bytes + nbytes
        sent_bytes = self.sent_bytes + total
        if plan is Plan.HOLD:
            assert not self.drain.settled
            self.held_bytes = total
            return
        if plan is Plan.PASS and not self.drain.settled:
            may_read = not (self.sends_while_reading or self.drain.untouched)
            assert sent_bytes <= BUFFER or may_read, "sent to a client that may not read"
        if plan in LAST:
            self.take_last(plan, sent_bytes)
        self.held_bytes = 0
        self.sent_bytes = sent_bytes
        self.start_is_sent = True
        order.released()
        order.passed(total)

    def take_last(self, plan, sent_bytes):
        """Check the plan for the last piece against what the row allows."""
        assert self.last_plan is None, "an answer ends once"
        self.last_plan = plan
        assert Stage.ENDING is self.order.stage or self.drain.settled
        if self.drain.settled:
            assert Plan.END is plan
            return
        allowed = self.allowed(sent_bytes)
        uninvited = self.moments.uninvited
        if not self.drain.invited and uninvited is not None:
            allowed = {uninvited}
        elif not (self.drain.invited or self.sent_bytes):
            # The first read would invite what the answer refuses.
            allowed = (allowed - {Moment.FIRST}) | {Moment.NEVER}
        assert DISCARDING.get(plan, Moment.NEVER) in allowed

    def allowed(self, sent_bytes):
        """Return when a body that comes by itself may be discarded."""
        row = self.moments
        must_be_first = not self.sends_while_reading and sent_bytes > BUFFER
        return {row.whole, row.pieces, row.small_error, row.big, must_be_first and Moment.FIRST}

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
    @rule(
        status=STATUSES,
        length=st.none() | SIZES,
        has_trailers=st.sampled_from([False, False, False, True]),
    )
    def the_answer_starts(self, status, length, has_trailers):
        self.has_trailers = has_trailers and self.sends_while_reading
        plan = self.order.start(status, length, has_trailers=self.has_trailers)
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
            self.do(self.order.end_with_trailers(), 0)
        elif not self.order.is_over and not self.drain.settled:
            # A shell that did not look behind the piece: the end comes by itself.
            assert not self.sends_while_reading
            assert self.order.moment_at_end in self.allowed(self.sent_bytes)
            self.is_at_end = True

    @precondition(lambda self: self.is_under_way and not self.sent_bytes and not self.held_bytes)
    @rule()
    def the_server_is_to_send_a_file(self):
        plan = self.order.end_with_file()
        if not self.drain.settled and self.drain.invited:
            assert Plan.DISCARD_FIRST is plan
            self.last_plan = plan
        else:
            self.take_last(plan, 0)

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
    @rule()
    def the_body_is_read_to_its_end(self):
        self.drain.app_read(0, more=False)

    @precondition(lambda self: not self.drain.settled)
    @rule(outcome=st.sampled_from(Outcome))
    def the_drain_ends(self, outcome):
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
