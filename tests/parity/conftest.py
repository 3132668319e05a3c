"""The servers that scenarios are played on, started when first asked for."""

import contextlib
import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.parity.harness import SERVERS, Stage
from tests.servers.harness import Running, Server, running
from tests.servers.proxies import certificate

# Two servers, each bare and with drainkit; the tests go server by server.
_AT_ONCE = 4


class _Fleet:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, tuple[contextlib.ExitStack, Running]] = {}

    def start(
        self,
        server: Server,
        app: str,
        *,
        wrap: bool,
        policy: dict[str, Any] | None,
    ) -> Running:
        if absent := server.missing():
            pytest.skip(f"needs {absent}")
        key = json.dumps([server.name, app, wrap, policy], sort_keys=True)
        if key in self._running and not self._running[key][1].alive():
            self._stop(key)
        if key not in self._running:
            while len(self._running) >= _AT_ONCE:
                self._stop(next(iter(self._running)))
            with contextlib.ExitStack() as stack:
                row = replace(self._certified(server), app=app)
                started = stack.enter_context(running(row, wrap=wrap, policy=policy))
                self._running[key] = (stack.pop_all(), started)
        # The one asked for last stays longest.
        self._running[key] = self._running.pop(key)
        return self._running[key][1]

    def _certified(self, server: Server) -> Server:
        """Give a server that speaks TLS a certificate."""
        if server.ssl_context is None:
            return server
        made, key = certificate(self._folder)
        names = {"{certificate}": str(made), "{key}": str(key)}
        return replace(server, arguments=tuple(names.get(w, w) for w in server.arguments))

    def stop(self) -> None:
        with contextlib.ExitStack() as stack:
            for key in list(self._running):
                stack.callback(self._stop, key)

    def _stop(self, key: str) -> None:
        self._running.pop(key)[0].close()


def _ended(number: int, frame: FrameType | None) -> None:
    # As Ctrl-C: pytest tears down its fixtures and the servers end.
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Return what plays scenarios; its servers are stopped at the end of the module."""
    before = signal.signal(signal.SIGTERM, _ended)
    fleet = _Fleet(tmp_path_factory.mktemp("servers"))
    try:
        yield Stage(fleet.start)
    finally:
        fleet.stop()
        signal.signal(signal.SIGTERM, before)


def _server_of(item: pytest.Item) -> str:
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return str(parameters.get("server", ""))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of each module of this folder server by server: each is then started once."""
    here = Path(__file__).parent
    places = [place for place, item in enumerate(items) if here in item.path.parents]
    modules = list(dict.fromkeys(items[place].path for place in places))
    order = list(SERVERS)
    ours = sorted(
        (items[place] for place in places),
        key=lambda item: (
            modules.index(item.path),
            order.index(name) if (name := _server_of(item)) in order else -1,
        ),
    )
    for place, item in zip(places, ours, strict=True):
        items[place] = item
