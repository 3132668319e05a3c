"""What the in-process tests of the adapters share."""

import gc
import sys
import types

import pytest

from drainkit import _report as report_module
from drainkit import process_budget, process_capacity
from drainkit.testing import FakeClock

# On Windows no connection is reached, so there is nothing for a watchdog to end.
collect_ignore_glob = ["test_wsgi_watchdog*.py"] if sys.platform == "win32" else []


@pytest.fixture(autouse=True)
def every_place_is_given_back():
    """Whatever a test does, it leaves no drain under way."""
    yield
    active, process_capacity.active = process_capacity.active, 0

    assert 0 == active


@pytest.fixture(autouse=True)
def every_byte_is_given_back():
    """No test finds the process's budget taken by what the one before kept."""
    yield
    if process_budget.taken_bytes:
        # An error that a test caught holds its frames, and they hold the request.
        gc.collect()
    left_bytes = process_budget.taken_bytes
    process_budget.give(left_bytes)

    assert 0 == left_bytes


@pytest.fixture(autouse=True)
def new_throttle(monkeypatch):
    """No test finds its warning held back by the one before."""
    monkeypatch.setattr(report_module, "_throttle", report_module._Throttle())


@pytest.fixture
def only_the_rows_of_the_table(monkeypatch):
    """What else this process has loaded must not make a server of the unknown one."""
    monkeypatch.setattr("drainkit_asgi.servers._table._is_loaded", lambda server: False)
    monkeypatch.setattr("drainkit_asgi.servers._table._known", {})


@pytest.fixture
def clock(monkeypatch):
    """Time for drainkit_wsgi that moves only when told to."""
    clock = FakeClock(1000.0)
    time = types.SimpleNamespace(monotonic=clock, sleep=clock.advance)
    monkeypatch.setattr("drainkit_wsgi._exchange.time", time)
    monkeypatch.setattr("drainkit_wsgi._reading.time", time)
    monkeypatch.setattr("drainkit_wsgi._upload.time", time)
    return clock
