"""Each server is attacked with everything; the tests look at the figures.

An attack that took surprisingly long is made once more, alone: it counts if it does so again.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.attacks.attacks import ATTACKS, POLICY
from tests.attacks.expected import (
    AT_ONCE,
    AT_ONCE_ELSEWHERE,
    applies,
    may_be_the_machines,
    must_be_alone,
)
from tests.attacks.runner import Figures, attacked, roomy
from tests.servers.harness import ServerError, running

# Most of the time is waiting.
_SERVERS_AT_ONCE = 2


class Attacked:
    """The figures of some servers."""

    def __init__(self, pool: ThreadPoolExecutor, names: Iterable[str]) -> None:
        """Begin to attack them, a few at once."""
        self._rows = {name: pool.submit(_rows, name) for name in names}

    def rows(self, name: str) -> dict[str, Figures]:
        """Return a server's figures by attack."""
        rows = self._rows[name].result()
        if rows is None:
            pytest.skip(f"needs {roomy(name).missing()}")
        return rows


def _rows(name: str) -> dict[str, Figures] | None:
    server = roomy(name)
    if server.missing():
        return None
    with running(server, wrap=True, policy=POLICY) as started:
        rows = attacked(
            started,
            [attack for attack in ATTACKS.values() if applies(name, attack)],
            at_once=AT_ONCE.get(name, AT_ONCE_ELSEWHERE),
            is_alone=lambda attack: must_be_alone(name, attack),
        )
        figures = {row.attack: row for row in rows}
        again = [ATTACKS[row.attack] for row in figures.values() if may_be_the_machines(row)]
        figures |= {row.attack: row for row in attacked(started, again)}
        if not started.alive():
            raise ServerError(f"{name} ended\n{started.log()}")
        return figures


@pytest.fixture(scope="module")
def figures(request: pytest.FixtureRequest) -> Iterator[Attacked]:
    """Return the figures of the servers that this module's tests, as they were chosen, ask for."""
    here = request.node.path
    chosen = [item for item in request.session.items if item.path == here]
    names = dict.fromkeys(item.callspec.params["server"] for item in chosen)
    with ThreadPoolExecutor(_SERVERS_AT_ONCE) as pool:
        yield Attacked(pool, names)
        pool.shutdown(cancel_futures=True)
