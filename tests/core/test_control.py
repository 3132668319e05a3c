"""What the application may say about its own request's body."""

import copy

import pytest

from drainkit import CONTROL_KEY, BodyKind, Drain, DrainControl, DrainPolicy, Framing, Outcome, Read


def drain_with(policy):
    return Drain(policy, Framing(BodyKind.CHUNKED))


def test_the_key_is_the_documented_one():
    assert "drainkit.control" == CONTROL_KEY


def test_it_begins_with_the_middlewares_policy():
    policy = DrainPolicy(max_bytes=5)

    assert policy is DrainControl(policy).policy


@pytest.mark.parametrize("policy", [None, DrainPolicy(max_bytes=6)], ids=["None", "policy"])
def test_another_policy_or_none_may_be_set(policy):
    control = DrainControl(DrainPolicy())
    control.policy = policy

    assert policy is control.policy


@pytest.mark.parametrize("policy", [None, DrainPolicy(max_bytes=6)], ids=["None", "policy"])
def test_a_drain_has_what_was_set_before_it_was_made_and_what_is_set_behind(policy):
    control, drain = DrainControl(DrainPolicy()), drain_with(DrainPolicy(max_bytes=7))
    control.policy = policy
    control.bind(drain)

    assert policy is drain.policy
    control.policy = DrainPolicy(max_bytes=8)
    assert DrainPolicy(max_bytes=8) == drain.policy


@pytest.mark.parametrize("policy", [None, DrainPolicy(max_bytes=6)], ids=["None", "policy"])
def test_what_is_set_while_a_drain_is_under_way_does_not_disturb_it(policy):
    """An application may still run, and say something, while its body is being discarded."""
    drain = drain_with(DrainPolicy())
    drain.begin(0.0)
    control = DrainControl(drain.policy)
    control.bind(drain)
    control.policy = policy

    assert isinstance(drain.received(1000, more=True, now=1.0), Read)
    assert Outcome.COMPLETE is drain.received(1000, more=False, now=2.0).outcome


@pytest.mark.parametrize("wrong", [False, 0, "", {}, {"max_bytes": 5}, DrainPolicy], ids=repr)
def test_anything_else_is_refused_at_once_and_changes_nothing(wrong):
    """At once, and not in the drain behind the response, where nobody would see it."""
    policy = DrainPolicy()
    control = DrainControl(policy)

    with pytest.raises(ValueError, match="must be a DrainPolicy, or None to decline; got "):
        control.policy = wrong
    assert policy is control.policy


def test_a_misspelled_attribute_is_refused():
    with pytest.raises(AttributeError):
        DrainControl(None).polcy = None


def test_it_survives_a_copied_environ():
    """Middleware hands copies of the environ or scope down; the handle is one and the same."""
    control = DrainControl(DrainPolicy())
    copied = copy.copy({CONTROL_KEY: control})
    copied[CONTROL_KEY].policy = None

    assert control.policy is None
