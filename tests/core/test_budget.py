"""What all requests of a process keep is counted, never above its limit, and always given back."""

import gc
import os
import threading

import pytest

from drainkit import Budget, Kept, process_budget
from drainkit._budget import BODIES_AT_ONCE


@pytest.fixture
def budget():
    return Budget()


def full(budget, limit_bytes=100):
    """Return as many bodies as there is room for, each reserved."""
    kept = [Kept(limit_bytes, budget=budget) for _ in range(BODIES_AT_ONCE)]
    assert all(one.reserve(None) for one in kept)
    return kept


def take_all(budget, limit_bytes=100):
    """Take all room that is left to bodies of so many bytes."""
    limit = BODIES_AT_ONCE * limit_bytes
    assert budget.take(limit - budget.taken_bytes, limit)


def test_there_is_room_for_so_many_bodies_and_no_more(budget):
    kept = full(budget)
    one_more = Kept(100, budget=budget)

    assert not one_more.reserve(None)
    assert BODIES_AT_ONCE * 100 == budget.taken_bytes
    kept[0].lose()
    assert one_more.reserve(None)


def test_a_body_takes_no_more_room_than_it_has_bytes(budget):
    kept = Kept(100, budget=budget)

    assert kept.reserve(30)
    assert 30 == budget.taken_bytes


def test_a_body_alone_always_has_room_whatever_its_policy_allows(budget):
    assert Kept(10**12, budget=budget).reserve(None)


def test_room_that_is_not_needed_is_given_back(budget):
    kept = Kept(100, budget=budget)
    kept.reserve(None)
    kept.add(b"x" * 40)
    kept.settle()

    assert 40 == budget.taken_bytes
    kept.take(15)
    assert 25 == budget.taken_bytes


def test_room_is_taken_once_however_often_it_is_asked_for(budget):
    kept = Kept(100, budget=budget)
    for _ in range(3):
        kept.reserve(None)
    kept.add(b"x" * 40)
    kept.settle()
    kept.reserve(None)

    assert 100 == budget.taken_bytes


def test_what_is_freed_gives_its_room_back(budget):
    """A generator that nobody closed, a task that was cancelled: nobody says that it is over."""
    kept = full(budget)
    kept[0].add(b"x" * 100)
    del kept
    gc.collect()

    assert 0 == budget.taken_bytes


def test_what_is_freed_in_the_middle_of_a_count_does_no_harm(budget):
    """The garbage collector may run at any moment, also in the thread that holds the lock."""
    kept = Kept(100, budget=budget)
    kept.reserve(None)
    with budget._lock:
        del kept
        gc.collect()

    assert 0 == budget.taken_bytes


def test_what_is_crowded_out_is_lost_and_what_was_kept_stays(budget):
    kept = Kept(100, budget=budget)
    kept.reserve(10)
    kept.add(b"0123456789")
    kept.settle()
    take_all(budget)
    assert not kept.reserve(None)
    kept.crowd_out()
    kept.add(b"lost", more=False)

    assert (b"0123456789", 4, False) == (kept.take(100), kept.lost_bytes, kept.has_ended)
    assert "16 times late_read_bytes=100" in str(kept.error())


def test_threads_never_take_more_than_the_limit(budget):
    most = []

    def work():
        for _ in range(2_000):
            if budget.take(3, 10):
                most.append(budget.taken_bytes)
                budget.give(3)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert max(most) <= 9
    assert 0 == budget.taken_bytes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_begins_anew():
    kept = Kept(100)
    kept.reserve(None)
    pid = os.fork()
    if pid == 0:
        taken = process_budget.taken_bytes
        kept.lose()
        os._exit(taken + process_budget.taken_bytes)
    _, status = os.waitpid(pid, 0)

    assert 0 == os.waitstatus_to_exitcode(status)
    assert process_budget.taken_bytes >= 100
    kept.lose()
