"""HTTP/2: an early answer breaks an upload there too, and drainkit mends it."""

import pytest

from tests.servers.cases import MIB
from tests.servers.conftest import Fleet
from tests.servers.harness import SERVERS, Running, running

httpx = pytest.importorskip("httpx", reason="needs httpx")
pytest.importorskip("h2", reason="needs h2")

pytestmark = pytest.mark.server

TRIES = 4
TIMEOUT_SECONDS = 10.0
BODY = b"abcdefgh" * (MIB)

BODIES = {
    "/413": b"too large\n",
    "/302": b"",
    "/200": b"200 ",
    "/422": b"10 bytes were enough",
}
SERVERS_HERE = ["hypercorn-asyncio", "hypercorn-trio", "granian-asgi", "granian-wsgi"]


def problem(server: Running, path: str) -> str | None:
    """Upload once, on a connection of its own; return what is wrong with the answer."""
    url = f"http://{server.address[0]}:{server.address[1]}{path}"
    try:
        with httpx.Client(http1=False, http2=True, timeout=TIMEOUT_SECONDS) as client:
            answer = client.post(url, content=BODY)
    except httpx.HTTPError as error:
        return repr(error)
    if answer.http_version != "HTTP/2":
        return f"spoke {answer.http_version}"
    if (answer.status_code, answer.content) != (int(path[1:]), BODIES[path]):
        return f"{answer.status_code} {answer.content[:40]!r}"
    return None


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("server", SERVERS_HERE)
def test_an_early_answer_is_lost_without_drainkit_and_arrives_with_it(
    fleet: Fleet, server: str, path: str
) -> None:
    # A server of its own for the loss: on hypercorn's trio worker one such upload ends it.
    with running(SERVERS[server], wrap=False) as bare:
        assert problem(bare, path), "it arrives without drainkit"
    drained = fleet.get(server, wrap=True)
    problems = [problem(drained, path) for _ in range(TRIES)]
    assert problems == [None] * TRIES, drained.log()
    assert drained.alive()
