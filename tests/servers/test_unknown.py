"""A server that drainkit does not know gets an order that is clean on each server of the matrix."""

import pytest

from drainkit_clients import Connection, Upload, strict
from tests.servers.cannot import CANNOT
from tests.servers.cases import CASES, MIB, TRIES, TRIES_WITHOUT
from tests.servers.conftest import Fleet
from tests.servers.harness import SERVERS
from tests.servers.test_delivery import DRAINED

pytestmark = pytest.mark.server

# Each says that it has one thread, which nothing could free from a silent client without its row:
# it is left alone.
ONE_THREAD = {"wsgiref", "gunicorn-sync"}

NAMES = ["413-16MiB-length-keep-alive", "413-1MiB-chunked-close", "page-stream", "422", "raise"]


@pytest.mark.parametrize("server", [name for name in DRAINED if name not in ONE_THREAD])
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


@pytest.mark.parametrize("server", sorted(ONE_THREAD))
def test_a_server_with_one_thread_is_left_alone_where_its_row_is_missing(
    fleet: Fleet, server: str
) -> None:
    drained = fleet.get(server, wrap=True, app="served_wsgi", env={"DRAINKIT_TEST_UNKNOWN": "1"})
    upload = Upload(path="/413", size_bytes=16 * MIB)
    for _ in range(TRIES_WITHOUT):
        strict(drained.address, upload)

    reports = drained.wait_for_reports(TRIES_WITHOUT)
    seen = {(one["server"], one["outcome"], one["bytes_discarded"]) for one in reports}
    assert {("unknown", "AT_CAPACITY", 0)} == seen
