"""The bounds hold over a long link, and what is still under way behind one does no harm."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from drainkit_clients import Answer, Upload, strict
from tests.attacks.attacks import ATTACKS
from tests.attacks.runner import roomy
from tests.link import bounds
from tests.link.bounds import BOUNDS, FAR, MORE_OUTCOMES
from tests.link.emulated import Emulated, emulated
from tests.link.links import LINKS
from tests.servers.harness import ALL_SERVERS, Running, running

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("link_allowed")]

SERVERS = ["gunicorn-gthread", "uvicorn-httptools", "hypercorn-asyncio", "granian-asgi"]
TIMEOUT_SECONDS = 60.0


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> str:
    """Return a server that is here."""
    name: str = request.param
    if absent := ALL_SERVERS[name].missing():
        pytest.skip(f"needs {absent}")
    return name


def test_attacks_end_at_their_bounds_and_their_answer_was_not_destroyed(
    server: str, tmp_path: Path
) -> None:
    with (
        emulated(FAR) as link,
        link.server.entered(),
        running(roomy(server), wrap=True, policy=BOUNDS) as drained,
    ):
        with link.traced(tmp_path):
            seen = bounds.attacked(link, drained)
        reports = {report["path"]: report["outcome"] for report in drained.reports()}
        log = drained.log()

    ended = {name: reports.get(ATTACKS[name].asked_path, "") for name in seen}
    wrong = {
        name: outcome
        for name, outcome in ended.items()
        if outcome not in ATTACKS[name].outcomes | MORE_OUTCOMES
    }
    held = {
        name: one.held_seconds
        for name, one in seen.items()
        if not one.was_let_go or one.held_seconds > bounds.MOST_HELD_SECONDS
    }
    assert ({}, {}) == (wrong, held), log
    assert [] == [name for name, one in seen.items() if b"smuggled" in one.received]
    assert [] == bounds.early_resets(tmp_path, drained.address[1])


UPLOADS = (
    Upload(path="/413", size_bytes=300_000),
    Upload(path="/413", size_bytes=300_000, framing="chunked"),
    Upload(path="/413", size_bytes=300_000, connection="close"),
    Upload(path="/raise", size_bytes=100_000),
    Upload(path="/422", size_bytes=300_000),
)


def uploaded(link: Emulated, server: Running) -> list[Answer]:
    """Return what became of all uploads, at the same time."""

    def upload(one: Upload) -> Answer:
        return link.client.call(strict, server.address, one, timeout_seconds=TIMEOUT_SECONDS)

    with ThreadPoolExecutor(len(UPLOADS)) as pool:
        return list(pool.map(upload, UPLOADS))


def test_the_close_behind_an_answer_never_destroys_it(server: str, tmp_path: Path) -> None:
    """Over a link that loses one packet in fifty, also what was lost is sent again."""
    early: list[list[str]] = []
    lost: list[list[str | None]] = []
    with emulated(LINKS["hotel"]) as link:
        for wrap in (False, True):
            folder = tmp_path / str(wrap)
            folder.mkdir()
            with link.server.entered(), running(roomy(server), wrap=wrap) as started:
                with link.traced(folder):
                    answers = uploaded(link, started)
                early.append(bounds.early_resets(folder, started.address[1]))
            lost.append([answer.error for answer in answers if not answer.delivered])

    assert lost[0], "without drainkit some are"
    assert ([], []) == (lost[1], early[1])
