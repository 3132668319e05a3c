"""Arbitrary orders of events against a model: what no list of cases would find."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from drainkit import (
    BodyKind,
    Capacity,
    Drain,
    DrainPolicy,
    DrainReport,
    Framing,
    Outcome,
    Read,
)

LARGEST_READ = 65_536

POLICIES = st.builds(
    DrainPolicy,
    max_bytes=st.none() | st.integers(0, 300_000),
    max_seconds=st.floats(0.01, 60),
    idle_seconds=st.floats(0.01, 60),
    min_bytes_per_second=st.just(0) | st.floats(0.01, 10_000),
    grace_seconds=st.floats(0, 30),
    max_concurrent=st.integers(1, 3),
)

FRAMINGS = st.builds(
    Framing, st.just(BodyKind.LENGTH), st.integers(1, 500_000), st.booleans()
) | st.builds(
    Framing, st.sampled_from([BodyKind.CHUNKED, BodyKind.UNKNOWN]), st.none(), st.booleans()
)

SECONDS = st.just(0.0) | st.floats(0, 0.5) | st.floats(0, 30)


class DrainMachine(RuleBasedStateMachine):
    """One drain among others, driven by an adapter that keeps to the rules of the engine."""

    @initialize(
        policy=st.none() | POLICIES,
        framing=FRAMINGS,
        others=st.integers(0, 3),
        now=st.floats(0, 1e9),
    )
    def start(self, policy, framing, others, now):
        self.capacity = Capacity()
        self.others = others
        for _ in range(others):
            assert self.capacity.acquire(others)
        self.now = now
        self.drain = Drain(policy, framing, capacity=self.capacity)
        self.policy = policy
        self.framing = framing
        self.read = self.discarded = 0
        # Read, None (the application has the word) or a DrainReport
        self.step = None
        self.begun_at = None
        self.drained_seconds = 0.0

    # --- the model --------------------------------------------------------------------------------

    @property
    def draining(self):
        return isinstance(self.step, Read)

    @property
    def ended(self):
        return isinstance(self.step, DrainReport)

    @property
    def left(self):
        if self.framing.length is None:
            return None
        return self.framing.length - self.read - self.discarded

    def spent(self):
        return self.drained_seconds + (self.now - self.begun_at if self.draining else 0)

    def take(self, step):
        """Check a step against every bound of the policy."""
        was_draining = self.draining
        self.step = step
        if isinstance(step, DrainReport):
            if was_draining:
                self.drained_seconds += self.now - self.begun_at
            assert step.bytes_discarded == self.discarded
            assert step.bytes_read == self.read
            assert step.declared_bytes == self.framing.length
            assert step.seconds == pytest.approx(self.drained_seconds, abs=1e-5)
            return
        policy = self.policy
        assert policy is not None
        assert policy.max_bytes != 0
        assert self.framing.kind is not BodyKind.UNKNOWN
        assert 1 <= step.max_bytes <= LARGEST_READ
        if policy.max_bytes is not None:
            assert step.max_bytes <= policy.max_bytes - self.discarded
        if self.left:
            assert step.max_bytes <= self.left
        assert 0 < step.wait_seconds
        slack = 1e-5  # floats of a clock at 1e9 seconds
        assert step.wait_seconds <= policy.idle_seconds + slack
        assert step.wait_seconds <= policy.max_seconds - self.spent() + slack
        if self.left is not None and policy.max_bytes is not None and self.drain.doomed:
            assert step.wait_seconds <= policy.idle_seconds

    def amount(self, data, most):
        if self.left is not None:
            most = min(most, self.left)
        return data.draw(st.integers(0, most), label="bytes")

    # --- events -----------------------------------------------------------------------------------

    @rule(seconds=SECONDS)
    def time_goes_by(self, seconds):
        self.now += seconds

    @precondition(lambda self: self.step is None and not self.drain.finished)
    @rule(data=st.data(), more=st.booleans())
    def the_application_reads(self, data, more):
        nbytes = self.amount(data, 100_000)
        self.drain.app_read(nbytes, more)
        self.read += nbytes

    @precondition(lambda self: self.step is None and self.discarded > 0)
    @rule(data=st.data())
    def the_application_reads_late(self, data):
        nbytes = data.draw(st.integers(0, self.discarded), label="bytes")
        self.drain.late_read(nbytes)
        self.read += nbytes
        self.discarded -= nbytes

    @precondition(lambda self: self.step is None)
    @rule()
    def the_application_answers(self):
        was_finished = self.drain.finished
        full = self.policy is not None and self.capacity.active >= self.policy.max_concurrent
        self.begun_at = self.now
        step = self.drain.begin(self.now)
        self.take(step)
        if was_finished:
            assert Outcome.COMPLETE is step.outcome
        elif self.policy is None or self.policy.max_bytes == 0:
            assert Outcome.DECLINED is step.outcome
        elif self.framing.kind is BodyKind.UNKNOWN:
            assert Outcome.UNFRAMED is step.outcome
        elif full:
            assert Outcome.AT_CAPACITY is step.outcome

    @precondition(lambda self: self.draining)
    @rule(data=st.data(), more=st.booleans())
    def bytes_come(self, data, more):
        nbytes = self.amount(data, self.step.max_bytes)
        self.discarded += nbytes
        step = self.drain.received(nbytes, more, self.now)
        self.take(step)
        if not more:
            assert Outcome.COMPLETE is step.outcome
            assert self.drain.finished

    @precondition(lambda self: self.draining)
    @rule(data=st.data(), whole=st.booleans())
    def a_wait_ends(self, data, whole):
        nbytes = self.amount(data, self.step.max_bytes - 1)
        wait_seconds = self.step.wait_seconds
        waits_to_the_end = whole and self.now + wait_seconds > self.now
        self.now += wait_seconds if whole else wait_seconds / 2
        self.discarded += nbytes
        step = self.drain.waited(self.now, nbytes)
        self.take(step)
        if waits_to_the_end and nbytes == 0 and self.draining:
            # One rounding of the sum is allowed; a deadline further off is not.
            assert self.step.wait_seconds < 1e-5

    @precondition(lambda self: self.draining)
    @rule()
    def the_client_leaves(self):
        self.take(self.drain.disconnected(self.now))

    @precondition(lambda self: self.draining)
    @rule()
    def the_drain_pauses(self):
        self.drain.pause(self.now)
        self.drained_seconds += self.now - self.begun_at
        self.step = None

    @rule(outcome=st.sampled_from(Outcome))
    def the_adapter_stops_it(self, outcome):
        first = self.drain.report
        report = self.drain.stop(outcome, self.now)
        if first is None:
            self.take(report)
        else:
            assert first is report

    @precondition(lambda self: self.ended)
    @rule()
    def nothing_moves_a_drain_that_has_ended(self):
        for call in (
            lambda: self.drain.begin(self.now),
            lambda: self.drain.received(1, False, self.now),
            lambda: self.drain.waited(self.now),
            lambda: self.drain.disconnected(self.now),
            lambda: self.drain.pause(self.now),
        ):
            with pytest.raises(RuntimeError):
                call()

    # --- what always holds ------------------------------------------------------------------------

    @invariant()
    def the_bytes_add_up(self):
        if not hasattr(self, "drain"):
            return
        assert self.read == self.drain.bytes_read
        assert self.discarded == self.drain.bytes_discarded
        assert self.left == self.drain.remaining_bytes
        assert (self.read == 0) == self.drain.untouched

    @invariant()
    def a_place_is_taken_exactly_while_it_drains(self):
        if not hasattr(self, "drain"):
            return
        assert self.draining == self.drain.under_way
        assert self.others + self.draining == self.capacity.active
        if self.draining:
            assert self.capacity.active <= self.policy.max_concurrent

    @invariant()
    def an_ended_drain_keeps_its_first_report(self):
        if not hasattr(self, "drain"):
            return
        assert (self.step if self.ended else None) is self.drain.report

    def teardown(self):
        if hasattr(self, "drain"):
            self.drain.stop(Outcome.ERROR, self.now)
            assert self.others == self.capacity.active


DrainMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


class TestDrain(DrainMachine.TestCase):
    """Any order of events leaves the bounds, the bytes and the places as the model says."""
