"""How many drains are under way is exact: never above the limit, always given back."""

import random
import threading
import time

import anyio
import pytest

from drainkit import DrainPolicy, Outcome, process_capacity
from tests.adapters import asgi_server, wsgi_server

LIMIT_SECONDS = 60.0
THREADS = 12
ROUNDS = 60
MOST = 3


class WorkerEnds(BaseException):
    """What ends a worker comes through a read, as SystemExit and GreenletExit do."""


class Counted:
    """A body of a thousand bytes that counts how many like it are being discarded, and fails."""

    lock = threading.Lock()

    def __init__(self, counts, ends):
        self._counts = counts
        self._ends = ends
        self._left = 1000
        self._is_counted = False

    def read(self, size):
        if not self._is_counted:
            self._is_counted = True
            with self.lock:
                self._counts["now"] += 1
                self._counts["most"] = max(self._counts["most"], self._counts["now"])
                self._counts["said"] = max(self._counts["said"], process_capacity.active)
        time.sleep(0.0005)
        self._left -= size
        if self._left > 0 and self._ends is None:
            return b"x" * size
        with self.lock:
            self._counts["now"] -= 1
        if self._ends is not None:
            raise self._ends
        return b"x" * (size + self._left)


def test_threads_never_drain_more_than_the_limit_whatever_ends_each_drain():
    counts = {"now": 0, "most": 0, "said": 0}
    outcomes = []
    policy = DrainPolicy(max_concurrent=MOST, min_bytes_per_second=1, idle_seconds=5)
    endings = [None, None, OSError("gone"), ValueError("malformed"), WorkerEnds()]
    apps = [
        wsgi_server.answering(b"no"),
        wsgi_server.answering(b"r" * 100_000),
        wsgi_server.answering(b"r" * 100_000, b"end", make=wsgi_server.generator),
        failing,
    ]

    def work(seed):
        chance = random.Random(seed)
        for _ in range(ROUNDS):
            got = wsgi_server.serve(
                chance.choice(apps),
                length=1000,
                policy=policy,
                **{"wsgi.input": Counted(counts, chance.choice(endings))},
            )
            outcomes.append(got.outcome)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_SECONDS)

    assert THREADS * ROUNDS == len(outcomes)
    assert {Outcome.COMPLETE, Outcome.AT_CAPACITY, Outcome.ERROR, Outcome.DISCONNECTED} == set(
        outcomes
    )
    assert (0, MOST, MOST) == (counts["now"], counts["most"], counts["said"])
    assert 0 == process_capacity.active


def failing(environ, start_response):
    raise LookupError


@pytest.mark.parametrize("on", asgi_server.BACKENDS)
def test_tasks_never_drain_more_than_the_limit_whatever_ends_each_drain(on):
    """Cancelled, failing, silent, gone, or complete; in one loop there are no threads to race."""
    chance = random.Random(6)
    policy = DrainPolicy(max_concurrent=MOST)
    most = []
    outcomes = []
    apps = [
        asgi_server.answering(b"no"),
        asgi_server.answering(b"r" * 100_000, b"end"),
        asgi_failing,
    ]

    async def one():
        silent = asgi_server.Silence(chance.choice([0.1, 1, 30]))
        script = [b"x" * 500, silent, chance.choice([b"x" * 500, asgi_server.Disconnect()])]
        got = await asgi_server.serve(
            chance.choice(apps),
            script,
            length=1000,
            policy=policy,
            send_seconds=1,
            cancel_after=chance.choice([None, None, 0.05, 0.5, 2]),
        )
        outcomes.extend(report.outcome for report in got.reports)

    async def watch():
        while True:
            most.append(process_capacity.active)
            await anyio.sleep(0.05)

    async def run():
        async with anyio.create_task_group() as watching:
            watching.start_soon(watch)
            async with anyio.create_task_group() as tasks:
                for _ in range(100):
                    tasks.start_soon(one)
                    await anyio.sleep(0.2)
            watching.cancel_scope.cancel()

    name, options = asgi_server.backend(on)
    anyio.run(run, backend=name, backend_options=options)

    assert 60 < len(outcomes) <= 100  # one that is cancelled before its drain begins has none
    assert {Outcome.COMPLETE, Outcome.AT_CAPACITY, Outcome.ERROR, Outcome.DISCONNECTED} <= set(
        outcomes
    )
    assert (MOST, 0) == (max(most), process_capacity.active)


async def asgi_failing(scope, receive, send):
    raise LookupError
