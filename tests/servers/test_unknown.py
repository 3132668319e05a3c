"""A server that drainkit does not know gets an order that is clean on each server of the matrix."""

import pytest

from drainkit_clients import Connection
from tests.servers.cannot import CANNOT
from tests.servers.cases import CASES, TRIES
from tests.servers.conftest import Fleet
from tests.servers.harness import SERVERS
from tests.servers.test_delivery import DRAINED

pytestmark = pytest.mark.server

NAMES = ["413-16MiB-length-keep-alive", "413-1MiB-chunked-close", "page-stream", "422", "raise"]


@pytest.mark.parametrize("server", DRAINED)
@pytest.mark.parametrize("name", NAMES)
def test_the_answer_arrives_on_a_server_whose_row_is_missing(
    fleet: Fleet, server: str, name: str
) -> None:
    if (server, name) in CANNOT:
        pytest.skip(CANNOT[server, name])
    drained = fleet.get(
        server,
        wrap=True,
        app=f"served_{SERVERS[server].interface}",
        env={"DRAINKIT_TEST_UNKNOWN": "1"},
    )
    case = CASES[name]
    for _ in range(TRIES):
        with Connection(drained.address) as connection:
            assert case.problem(case.run(connection)) is None, drained.log()
    reports = drained.wait_for_reports(TRIES)
    assert {"unknown"} == {report["server"] for report in reports}
