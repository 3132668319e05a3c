"""Arbitrary orders of events against a model: what no list of cases would find."""

import pytest
from hypothesis import event, given, settings
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
SMALLEST_READ = 512

POLICIES = st.builds(
    DrainPolicy,
    max_bytes=st.one_of(st.none(), st.integers(0, 300_000), st.integers(1000, 300_000)),
    max_seconds=st.sampled_from([5.0, 20.0]) | st.floats(0.01, 60),
    idle_seconds=st.sampled_from([1.0, 5.0]) | st.floats(0.01, 60),
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

    @initialize(data=st.data(), now=st.floats(0, 1e9))
    def start(self, data, now):
        declines = data.draw(st.integers(0, 9), label="declines") == 9
        policy = None if declines else data.draw(POLICIES, label="policy")
        framing = data.draw(FRAMINGS, label="framing")
        others = data.draw(st.sampled_from([0, 0, 0, 1, 2, 3]), label="others")
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
        self.arrived = 0
        self.progress_at = None
        self.was_doomed = False
        if data.draw(st.booleans(), label="answered at once"):
            self.the_application_answers()

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
        assert step.wait_seconds <= step.most_seconds
        assert step.most_seconds <= policy.max_seconds - self.spent() + slack
        if self.left is not None and policy.max_bytes is not None and self.drain.doomed:
            assert step.most_seconds <= policy.idle_seconds

    def judge(self, outcome):
        """Check that the bound which a drain is said to have reached has been reached, and why."""
        policy = self.policy
        slack = 1e-5
        spent = self.drained_seconds
        silence = self.now - self.progress_at
        rate = policy.min_bytes_per_second or 1
        slowest = max(policy.grace_seconds or SMALLEST_READ / rate, self.arrived / rate)
        reached = {
            Outcome.IDLE: silence >= policy.idle_seconds - slack,
            Outcome.TIME_LIMIT: spent >= policy.max_seconds - slack and not self.was_doomed,
            Outcome.TOO_SLOW: policy.min_bytes_per_second > 0 and spent >= slowest - slack,
            Outcome.BYTE_LIMIT: self.discarded == policy.max_bytes
            or (self.was_doomed and spent >= min(policy.max_seconds, policy.idle_seconds) - slack),
        }
        if outcome is Outcome.EXPECT_PENDING:
            assert self.framing.expects_continue
            assert (0, 0) == (self.read, self.discarded)
            assert any(reached.values())
        else:
            assert reached[outcome]

    def amount(self, data, most):
        if self.left is not None:
            most = min(most, self.left)
        return data.draw(st.integers(0, most), label="bytes")

    @precondition(lambda self: self.ended)
    @rule(data=st.data())
    def the_next_request_comes(self, data):
        self.start(data, self.now)

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
        self.begun_at = self.progress_at = self.now
        most = self.policy.max_bytes if self.policy else None
        self.was_doomed = None not in (self.left, most) and self.left > most - self.discarded
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
        self.arrived += nbytes
        if nbytes:
            self.progress_at = self.now
        step = self.drain.received(nbytes, more, self.now)
        self.take(step)
        if not more:
            assert Outcome.COMPLETE is step.outcome
            assert self.drain.finished
        elif self.ended:
            self.judge(step.outcome)

    @precondition(lambda self: self.draining)
    @rule(data=st.data(), share=st.sampled_from([0.5, 1, 1.5]))
    def a_wait_ends(self, data, share):
        nbytes = self.amount(data, self.step.max_bytes - 1)
        wait_seconds = self.step.wait_seconds
        waits_to_the_end = share >= 1 and self.now + wait_seconds > self.now
        overslept = share > 1 and wait_seconds > 1e-4
        self.now += wait_seconds * share
        self.discarded += nbytes
        self.arrived += nbytes
        step = self.drain.waited(self.now, nbytes)
        self.take(step)
        if self.ended:
            self.judge(step.outcome)
        if overslept and nbytes == 0:
            assert self.ended
        if waits_to_the_end and nbytes == 0 and self.draining:
            # One rounding of the sum is allowed; a deadline further off is not.
            assert self.step.wait_seconds < 1e-5

    @precondition(lambda self: self.draining)
    @rule(share=st.sampled_from([0, 0.5, 1]))
    def a_wait_ends_and_the_client_was_seen_to_send(self, share):
        began = self.now
        self.now += self.step.most_seconds * share
        last_at = began + (self.now - began) / 2
        self.progress_at = max(self.progress_at, last_at)
        self.take(self.drain.waited(self.now, last_at=last_at))
        if self.ended:
            self.judge(self.step.outcome)

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

    @rule(outcome=st.sampled_from(Outcome), really=st.integers(0, 5))
    def the_adapter_stops_it(self, outcome, really):
        first = self.drain.report
        if first is None and really:
            return  # or few drains would come further
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
            lambda: self.drain.is_silence(1, 1.0),
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


DrainMachine.TestCase.settings = settings(stateful_step_count=30)


class TestDrain(DrainMachine.TestCase):
    """Any order of events leaves the bounds, the bytes and the places as the model says."""


@given(
    policy=POLICIES.filter(lambda policy: policy.max_bytes != 0),
    pieces=st.lists(st.tuples(st.integers(1, 100_000), st.floats(0, 0.99)), max_size=10),
    now=st.floats(0, 1e6),
)
def test_a_client_that_stops_is_given_up_at_the_nearest_of_all_its_deadlines(policy, pieces, now):
    """Pieces come within each wait, then nothing does; the oracle knows times and sums only."""
    drain = Drain(policy, Framing(BodyKind.CHUNKED), capacity=Capacity())
    began = last = now
    arrived = 0
    step = drain.begin(now)
    for nbytes, share in pieces:
        if not isinstance(step, Read):
            break
        now += step.wait_seconds * share
        taken = min(nbytes, step.max_bytes)
        arrived, last = arrived + taken, now
        step = drain.received(taken, True, now)
    if not isinstance(step, Read):
        event("a bound of bytes, or of rounding")
        return
    rate = policy.min_bytes_per_second
    ends = {
        Outcome.TIME_LIMIT: began + policy.max_seconds,
        Outcome.IDLE: last + policy.idle_seconds,
        Outcome.TOO_SLOW: began
        + (max(policy.grace_seconds or SMALLEST_READ / rate, arrived / rate) if rate else 1e9),
    }
    nearest = min(ends.values())
    early = drain.waited(now + (nearest - now) * 0.99)
    if not isinstance(early, Read):
        assert nearest - now < 1e-6
        return
    report = drain.waited(nearest + 1e-6)

    assert nearest == pytest.approx(now + step.wait_seconds, abs=1e-6)
    assert ends[report.outcome] == pytest.approx(nearest, abs=3e-6)
