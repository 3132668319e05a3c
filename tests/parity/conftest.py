"""The servers that scenarios are played on, started when first asked for."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.parity.harness import SERVERS, Stage
from tests.servers.harness import Running, Server
from tests.servers.latest import Latest, go_server_by_server
from tests.servers.proxies import certificate


class _Fleet(Latest):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def start(
        self, server: Server, app: str, *, wrap: bool, policy: dict[str, Any] | None
    ) -> Running:
        row = replace(self._certified(server), app=app)
        return self.started(row, wrap=wrap, policy=policy)

    def _certified(self, server: Server) -> Server:
        """Give a server that speaks TLS a certificate."""
        if server.ssl_context is None:
            return server
        made, key = certificate(self._folder)
        names = {"{certificate}": str(made), "{key}": str(key)}
        return replace(server, arguments=tuple(names.get(w, w) for w in server.arguments))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Return what plays scenarios; its servers are stopped at the end of the module."""
    fleet = _Fleet(tmp_path_factory.mktemp("servers"))
    with fleet.stopped():
        yield Stage(fleet.start)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of each module of this folder server by server."""
    here = Path(__file__).parent
    modules = list(dict.fromkeys(item.path for item in items if here in item.path.parents))
    go_server_by_server(items, here, list(SERVERS), before=lambda item: modules.index(item.path))
