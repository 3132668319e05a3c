"""Never above the limit, always given back, in threads and behind a fork."""

import os
import threading
import warnings

import pytest

from drainkit import Capacity, process_capacity

LIMIT_SECONDS = 20.0


def test_places_are_taken_up_to_the_limit_and_no_further():
    capacity = Capacity()

    assert [True, True, False, False] == [capacity.acquire(2) for _ in range(4)]
    assert 2 == capacity.active


def test_a_place_given_back_can_be_taken_again():
    capacity = Capacity()
    capacity.acquire(1)
    capacity.release()

    assert 0 == capacity.active
    assert capacity.acquire(1)


def test_each_caller_brings_its_own_limit():
    """Middlewares of different policies share the places of the process."""
    capacity = Capacity()
    capacity.acquire(3)
    capacity.acquire(3)

    assert not capacity.acquire(1)
    assert capacity.acquire(3)


def test_threads_never_exceed_the_limit_and_lose_no_place():
    capacity = Capacity()
    limit, threads, rounds = 3, 8, 400
    most: list[int] = []
    taken: list[int] = []
    started = threading.Barrier(threads)

    def work():
        highest = count = 0
        started.wait(LIMIT_SECONDS)
        for _ in range(rounds):
            if capacity.acquire(limit):
                highest = max(highest, capacity.active)
                count += 1
                capacity.release()
        most.append(highest)
        taken.append(count)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(LIMIT_SECONDS)

    assert threads == len(most)
    assert 1 <= max(most) <= limit
    assert sum(taken) >= rounds
    assert 0 == capacity.active


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_forked_child_begins_with_no_place_taken_and_a_free_lock():
    """The parent's drains belong to threads that the child does not have."""
    assert process_capacity.acquire(64)
    # A thread of the parent may hold the lock at the moment of the fork.
    process_capacity._lock.acquire()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork
            child = os.fork()
        if child == 0:
            ok = process_capacity.active == 0 and process_capacity.acquire(1)
            os._exit(0 if ok else 1)
    finally:
        process_capacity._lock.release()
        process_capacity.release()
    _, status = os.waitpid(child, 0)

    assert 0 == os.waitstatus_to_exitcode(status)
    assert 0 == process_capacity.active
