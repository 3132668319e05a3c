"""Over a link, too: the answer is lost without drainkit, and arrives with it."""

from collections.abc import Iterator

import pytest

from drainkit_clients import eager, strict
from drainkit_conformance import Case, judge
from tests.clients.clients import answers
from tests.link.emulated import Emulated, emulated
from tests.link.links import LINKS
from tests.servers.harness import ALL_SERVERS, running

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("link_allowed")]

LINK = LINKS["4g"]
SERVERS = ["gunicorn-sync", "gunicorn-gthread", "hypercorn-asyncio", "granian-asgi"]
CLIENTS = {"strict": strict, "eager": eager}
CASES = answers(700_000)
ASKED = [("strict", "413"), ("strict", "page"), ("eager", "413"), ("eager", "302")]
TIMEOUT_SECONDS = 60.0


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> str:
    """Return a server that is here."""
    name: str = request.param
    if absent := ALL_SERVERS[name].missing():
        pytest.skip(f"needs {absent}")
    return name


@pytest.fixture
def link() -> Iterator[Emulated]:
    """Return a link of its own."""
    with emulated(LINK) as made:
        yield made


def problem(link: Emulated, address: tuple[str, int], case: Case, client: str) -> str | None:
    """Return what one client had instead of the right answer; None if it had that."""
    verdict = link.client.call(
        judge, case, address, client=CLIENTS[client], tries=1, timeout_seconds=TIMEOUT_SECONDS
    )
    return verdict.tries[0].problem


def test_an_answer_is_lost_without_drainkit_and_every_one_arrives_with_it(
    server: str, link: Emulated
) -> None:
    with link.server.entered(), running(ALL_SERVERS[server], wrap=False) as bare:
        lost = problem(link, bare.address, CASES["413"], "strict")
    with link.server.entered(), running(ALL_SERVERS[server], wrap=True) as drained:
        left = {
            (client, name): found
            for client, name in ASKED
            if (found := problem(link, drained.address, CASES[name], client))
        }
        log = drained.log()

    assert lost is not None
    assert {} == left, log
