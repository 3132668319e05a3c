"""The servers that the tests share, started when first asked for."""

import contextlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.servers.harness import ALL_SERVERS, Running, running, serving

# Each is some 50 MB; the tests go server by server, so few are asked for again.
_AT_ONCE = 4


class Fleet:
    """Starts servers lazily, keeps the latest few, and stops them all."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[contextlib.ExitStack, Running]] = {}

    def get(
        self,
        name: str,
        *,
        wrap: bool,
        policy: dict[str, Any] | None = None,
        app: str | None = None,
        env: dict[str, str] | None = None,
    ) -> Running:
        """Return a server that runs, with drainkit around its application or without.

        Args:
            name: A key of ``ALL_SERVERS``.
            wrap: Whether drainkit is there.
            policy: The fields of its policy that are not at their defaults.
            app: The module in ``apps`` that it serves; the usual one when None.
            env: More environment variables, for that module.
        """
        server = ALL_SERVERS[name] if app is None else serving(name, app, env or {})
        if absent := server.missing():
            pytest.skip(f"needs {absent}")
        key = json.dumps([name, wrap, policy, app, env], sort_keys=True)
        if key in self._running and not self._running[key][1].alive():
            self._stop(key)
        if key not in self._running:
            while len(self._running) >= _AT_ONCE:
                self._stop(next(iter(self._running)))
            with contextlib.ExitStack() as stack:
                started = stack.enter_context(running(server, wrap=wrap, policy=policy))
                self._running[key] = (stack.pop_all(), started)
        # The one asked for last stays longest.
        self._running[key] = self._running.pop(key)
        return self._running[key][1]

    def stop(self) -> None:
        """Stop them all, whichever of them fails to."""
        with contextlib.ExitStack() as stack:
            for key in list(self._running):
                stack.callback(self._stop, key)

    def _stop(self, key: str) -> None:
        self._running.pop(key)[0].close()


def _ended(number: int, frame: FrameType | None) -> None:
    # As Ctrl-C: pytest tears down its fixtures and the servers end.
    raise KeyboardInterrupt


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """Return the servers; they are stopped at the end of the session."""
    before = signal.signal(signal.SIGTERM, _ended)
    servers = Fleet()
    try:
        yield servers
    finally:
        servers.stop()
        signal.signal(signal.SIGTERM, before)


def _server_of(item: pytest.Item) -> str:
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return str(parameters.get("server", ""))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of this folder server by server: each server is then started once."""
    here = Path(__file__).parent
    places = [place for place, item in enumerate(items) if here in item.path.parents]
    order = list(ALL_SERVERS)
    ours = sorted(
        (items[place] for place in places),
        key=lambda item: order.index(name) if (name := _server_of(item)) in order else -1,
    )
    for place, item in zip(places, ours, strict=True):
        items[place] = item
