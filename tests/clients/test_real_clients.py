"""The clients that people use get the answer: 413, 302 and 200, and a page of 4 MB.

Strict clients (http.client, Chromium) are shown to lose it first on the bare servers that lose it
every time; the others recover an answer from a reset connection on loopback, or read while they
send, so that only their delivery is tested.
"""

from collections.abc import Iterator

import pytest

from drainkit_conformance import Client, judge
from tests.clients.clients import CLIENTS, Kit, answers
from tests.servers.cases import MIB, TIMEOUT_WITHOUT_SECONDS
from tests.servers.conftest import Fleet

pytestmark = pytest.mark.server

SERVERS = ["gunicorn-sync", "uvicorn-h11", "hypercorn-asyncio", "granian-asgi"]
# Measured: without drainkit an upload of this size is lost there every time.
LOSES = ["gunicorn-sync", "hypercorn-asyncio", "granian-asgi"]
UPLOAD_BYTES = 20 * MIB
FORM_BYTES = 50_000_000
LIMIT_SECONDS = 30.0
TRIES = 2

CASES = answers(UPLOAD_BYTES)
FORM_CASES = answers(FORM_BYTES)
LIBRARIES = [
    name for name, row in CLIENTS.items() if not row.any_upload and not name.startswith("chromium")
]
FORM_SERVERS = ["wsgiref", "gunicorn-sync", "hypercorn-asyncio"]


@pytest.fixture(scope="module")
def kit() -> Iterator[Kit]:
    """Return what the clients need; Chromium is started once."""
    with Kit() as kit:
        yield kit


def client(kit: Kit, name: str) -> Client:
    """Return a client, or skip where it cannot run."""
    row = CLIENTS[name]
    if absent := row.missing():
        pytest.skip(f"needs {absent}")
    assert row.http1 is not None
    return row.http1(kit)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_client_has_the_whole_answer(
    fleet: Fleet, kit: Kit, server: str, name: str, library: str
) -> None:
    drained = fleet.get(server, wrap=True)
    verdict = judge(
        CASES[name],
        drained.address,
        client=client(kit, library),
        tries=TRIES,
        timeout_seconds=LIMIT_SECONDS,
    )

    assert verdict.passed, f"{verdict}\n{drained.log()}"


@pytest.mark.parametrize("server", LOSES)
def test_without_drainkit_http_client_never_has_it(fleet: Fleet, kit: Kit, server: str) -> None:
    bare = fleet.get(server, wrap=False)
    verdict = judge(CASES["413"], bare.address, client=client(kit, "http.client"), tries=TRIES)

    assert verdict.delivered == 0
    assert all("Broken pipe" in told or "reset by peer" in told for told in verdict.problems)


@pytest.mark.parametrize("server", FORM_SERVERS)
@pytest.mark.parametrize("name", FORM_CASES)
@pytest.mark.parametrize("how", ["chromium-form", "chromium-fetch"])
def test_chromium_has_the_answer_to_a_form_and_to_fetch(
    fleet: Fleet, kit: Kit, server: str, name: str, how: str
) -> None:
    drained = fleet.get(server, wrap=True)
    verdict = judge(
        FORM_CASES[name],
        drained.address,
        client=client(kit, how),
        tries=1,
        timeout_seconds=LIMIT_SECONDS,
    )

    assert verdict.passed, f"{verdict}\n{drained.log()}"


@pytest.mark.parametrize("server", FORM_SERVERS)
@pytest.mark.parametrize("name", ["200", "302"])
def test_without_drainkit_chromium_shows_a_reset(
    fleet: Fleet, kit: Kit, server: str, name: str
) -> None:
    bare = fleet.get(server, wrap=False)
    verdict = judge(
        FORM_CASES[name], bare.address, client=client(kit, "chromium-form"), tries=TRIES
    )

    assert "lost: net::ERR_CONNECTION_RESET" in verdict.problems


def test_without_drainkit_chromium_has_no_page(fleet: Fleet, kit: Kit) -> None:
    bare = fleet.get("hypercorn-asyncio", wrap=False)
    verdict = judge(
        FORM_CASES["page"],
        bare.address,
        client=client(kit, "chromium-form"),
        tries=1,
        timeout_seconds=2 * TIMEOUT_WITHOUT_SECONDS,
    )

    # As a rule it waits for ever; seldom the page breaks off.
    ways = {"lost: timed out", "lost: net::ERR_CONTENT_LENGTH_MISMATCH"}
    assert 1 == sum(verdict.problems.values())
    assert ways > verdict.problems.keys()
