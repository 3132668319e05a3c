"""The servers that the tests share, started when first asked for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.harness import ALL_SERVERS, Running, serving
from tests.servers.latest import Latest, go_server_by_server


class Fleet(Latest):
    """Starts servers by their names, keeps the latest few, and stops them all."""

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
        return self.started(server, wrap=wrap, policy=policy)


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """Return the servers; they are stopped at the end of the session."""
    servers = Fleet()
    with servers.stopped():
        yield servers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of this folder server by server."""
    go_server_by_server(items, Path(__file__).parent, list(ALL_SERVERS))
