"""How many drains are under way is exact: never above the limit, always given back."""

import random
import threading
import time

import anyio
import pytest

from drainkit import (
    CONTROL_KEY,
    METHODS_WITHOUT_CONTENT,
    DrainPolicy,
    Outcome,
    process_capacity,
)
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


@pytest.fixture
def anyio_backend():
    return asgi_server.backend("asyncio")


@pytest.fixture
def full():
    """Take the only place; return the policy that has no other."""
    assert process_capacity.acquire(1)
    yield DrainPolicy(max_concurrent=1)
    process_capacity.release()


@pytest.mark.parametrize("method", sorted(METHODS_WITHOUT_CONTENT))
@pytest.mark.parametrize(
    "kind", [asgi_server.HYPERCORN, asgi_server.GRANIAN_2, asgi_server.UNKNOWN_2]
)
@pytest.mark.parametrize("length", [None, 0])
@pytest.mark.anyio
async def test_over_http_2_a_get_is_no_business_of_drainkit_under_asgi(full, method, kind, length):
    """Nothing but the end of its stream says that it has no body, and that may come late."""
    got = await asgi_server.serve(
        asgi_server.answering(b"hello", status=200),
        [asgi_server.Silence(3)],
        kind=kind,
        policy=full,
        length=length,
        method=method,
        http_version="2",
    )

    assert ([], b"hello", 0.0) == (got.reports, got.body, got.seconds)
    assert CONTROL_KEY not in got.scope


@pytest.mark.parametrize(
    ("method", "headers"), [("POST", []), ("GET", [(b"content-type", b"application/json")])]
)
@pytest.mark.anyio
async def test_over_http_2_a_body_without_a_length_is_still_drained_under_asgi(method, headers):
    got = await asgi_server.serve(
        asgi_server.answering(b"no"),
        kind=asgi_server.HYPERCORN,
        length=None,
        method=method,
        headers=headers,
        http_version="2",
    )

    assert (Outcome.COMPLETE, 1000) == (got.outcome, got.report.bytes_discarded)


@pytest.mark.parametrize("method", sorted(METHODS_WITHOUT_CONTENT))
@pytest.mark.parametrize("protocol", ["HTTP/2", "HTTP/2.0", "HTTP/3"])
def test_over_http_2_a_get_is_no_business_of_drainkit_under_wsgi(full, method, protocol):
    got = wsgi_server.serve(
        wsgi_server.answering(b"hello"),
        b"",
        length=None,
        policy=full,
        REQUEST_METHOD=method,
        SERVER_PROTOCOL=protocol,
        **{"wsgi.input_terminated": True},
    )

    assert ([], b"hello") == (got.reports, got.body)
    assert CONTROL_KEY not in got.environ


@pytest.mark.parametrize(
    "request_with_body",
    [{"REQUEST_METHOD": "POST"}, {"REQUEST_METHOD": "GET", "CONTENT_TYPE": "application/json"}],
)
def test_over_http_2_a_body_without_a_length_is_still_drained_under_wsgi(request_with_body):
    got = wsgi_server.serve(
        wsgi_server.answering(b"no"),
        length=None,
        SERVER_PROTOCOL="HTTP/2",
        **{"wsgi.input_terminated": True},
        **request_with_body,
    )

    assert (Outcome.COMPLETE, 1000) == (got.outcome, got.report.bytes_discarded)
