"""Over TLS the same holds: the answer arrives, and a deadline never costs it."""

from pathlib import Path

import pytest

from drainkit_clients import Upload, slow, strict
from tests.servers import proxies
from tests.servers.cases import MIB, PAGE
from tests.servers.harness import running, secured

pytestmark = pytest.mark.server

SERVERS = ["gunicorn-sync", "gunicorn-gthread", "gunicorn-gevent"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a certificate that nobody has signed, and its key."""
    return proxies.certificate(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("name", SERVERS)
def test_the_answer_is_lost_without_drainkit_and_arrives_with_it(
    certificate: tuple[Path, Path], name: str
) -> None:
    pytest.importorskip("gunicorn")
    server = secured(name, *certificate)
    page = Upload(path="/page", size_bytes=16 * MIB)
    with running(server, wrap=False) as bare:
        lost = strict(bare.address, page, timeout_seconds=3, ssl_context=server.ssl_context)
    with running(server, wrap=True) as drained:
        answers = [strict(drained.address, page, ssl_context=server.ssl_context) for _ in range(5)]

    assert not lost.delivered
    assert [(413, PAGE, None)] * 5 == [(one.status, one.body, one.error) for one in answers]


@pytest.mark.parametrize("name", SERVERS)
def test_a_client_that_falls_silent_has_the_page_that_was_still_to_be_sent(
    certificate: tuple[Path, Path], name: str
) -> None:
    """A shut read side would end the write side of TLS, too."""
    pytest.importorskip("gunicorn")
    server = secured(name, *certificate)
    page = Upload(path="/page", size_bytes=MIB)
    with running(server, wrap=True, policy={"idle_seconds": 1.0}) as drained:
        answer = slow(
            drained.address,
            page,
            interval_seconds=None,
            first_bytes=1000,
            timeout_seconds=8,
            ssl_context=server.ssl_context,
        )

    assert (413, PAGE) == (answer.status, answer.body)
    assert answer.seconds < 2.5
