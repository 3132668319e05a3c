"""Servers that tests share: started when first asked for, and stopped when others need the room."""

import contextlib
import json
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.servers.harness import Running, Server, running

# Each is some 50 MB; the tests go server by server, so few are asked for again.
_AT_ONCE = 4


class Latest:
    """Starts servers lazily, keeps the latest few, and stops them all."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[contextlib.ExitStack, Running]] = {}

    def started(self, server: Server, *, wrap: bool, policy: dict[str, Any] | None) -> Running:
        """Return a server that runs; skip the test if it cannot.

        Args:
            server: The row; those that differ in name, application or environment are different.
            wrap: Whether drainkit is around its application.
            policy: The fields of its policy that are not at their defaults.
        """
        if absent := server.missing():
            pytest.skip(f"needs {absent}")
        key = json.dumps([server.name, server.app, server.env, wrap, policy], sort_keys=True)
        if key in self._running and not self._running[key][1].alive():
            self._stop(key)
        if key not in self._running:
            while len(self._running) >= _AT_ONCE:
                self._stop(next(iter(self._running)))
            with contextlib.ExitStack() as stack:
                one = stack.enter_context(running(server, wrap=wrap, policy=policy))
                self._running[key] = (stack.pop_all(), one)
        # The one asked for last stays longest.
        self._running[key] = self._running.pop(key)
        return self._running[key][1]

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop them all when the block ends, whichever of them fails to; SIGTERM ends the block."""
        before = signal.signal(signal.SIGTERM, _ended)
        try:
            yield
        finally:
            with contextlib.ExitStack() as stack:
                for key in list(self._running):
                    stack.callback(self._stop, key)
            signal.signal(signal.SIGTERM, before)

    def _stop(self, key: str) -> None:
        self._running.pop(key)[0].close()


def _ended(number: int, frame: FrameType | None) -> None:
    # As Ctrl-C: pytest tears down its fixtures and the servers end.
    raise KeyboardInterrupt


def go_server_by_server(
    items: list[pytest.Item],
    folder: Path,
    order: Sequence[str],
    before: Callable[[pytest.Item], int] = lambda item: 0,
) -> None:
    """Put the tests of a folder server by server: each server is then started once.

    Args:
        items: All tests, as pytest collected them.
        folder: The folder.
        order: The servers' names; tests without a parameter ``server`` come first.
        before: What comes before the server in the order.
    """

    def place(item: pytest.Item) -> tuple[int, int]:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        name = str(parameters.get("server", ""))
        return before(item), order.index(name) if name in order else -1

    places = [at for at, item in enumerate(items) if folder in item.path.parents]
    ours = sorted((items[at] for at in places), key=place)
    for at, item in zip(places, ours, strict=True):
        items[at] = item
