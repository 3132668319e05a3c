"""Over TLS the same holds: the answer arrives, and a deadline never costs it."""

import dataclasses
from pathlib import Path

import pytest

from drainkit_clients import Upload, slow
from drainkit_conformance import judge
from tests.servers import proxies
from tests.servers.cases import CASES, MIB, PAGE, TIMEOUT_WITHOUT_SECONDS, TRIES_WITHOUT
from tests.servers.harness import SERVERS, Server, running, secured
from tests.servers.test_bounds import OUT_OF_REACH

pytestmark = pytest.mark.server

SECURED = [name for name, row in SERVERS.items() if row.tls_arguments]

# It is lost on each of the others in each of 5 tries; werkzeug reads away by itself what comes.
LOST = "413-16MiB-chunked-close"
LOSES_NOTHING = {"werkzeug"}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a certificate that nobody has signed, and its key."""
    return proxies.certificate(tmp_path_factory.mktemp("tls"))


def over_tls(name: str, certificate: tuple[Path, Path]) -> Server:
    """Return a server that speaks TLS; skip where it is not installed."""
    if absent := SERVERS[name].missing():
        pytest.skip(f"needs {absent}")
    return secured(name, *certificate)


@pytest.mark.parametrize("name", SECURED)
def test_the_answer_is_lost_without_drainkit_and_arrives_with_it(
    certificate: tuple[Path, Path], name: str
) -> None:
    server = over_tls(name, certificate)
    lost = False
    with running(server, wrap=False) as bare:
        for _ in range(0 if name in LOSES_NOTHING else TRIES_WITHOUT):
            (only,) = judge(
                CASES[LOST],
                bare.address,
                tries=1,
                timeout_seconds=TIMEOUT_WITHOUT_SECONDS,
                ssl_context=server.ssl_context,
            ).tries
            lost = lost or only.problem is not None
            if lost:
                break
    cases = [CASES[LOST], CASES["302"], CASES["page"]]
    cases += [dataclasses.replace(case, client="eager") for case in cases]
    with running(server, wrap=True) as drained:
        problems = [
            (case.name, case.client, one.problem)
            for case in cases
            for one in judge(case, drained.address, tries=3, ssl_context=server.ssl_context).tries
            if one.problem
        ]

    assert [] == problems
    assert lost == (name not in LOSES_NOTHING)


@pytest.mark.parametrize("name", [name for name in SECURED if name not in OUT_OF_REACH])
def test_a_client_that_falls_silent_has_the_page_that_was_still_to_be_sent(
    certificate: tuple[Path, Path], name: str
) -> None:
    """A shut read side would end the write side of TLS, too."""
    server = over_tls(name, certificate)
    page = Upload(path="/page", size_bytes=MIB)
    answers = []
    for wrap in (False, True):
        with running(server, wrap=wrap, policy={"idle_seconds": 1.0}) as started:
            answer = slow(
                started.address,
                page,
                interval_seconds=None,
                first_bytes=1000,
                timeout_seconds=8,
                ssl_context=server.ssl_context,
            )
        answers.append(answer)
    bare, drained = answers

    assert (413, PAGE) == (drained.status, drained.body)
    assert drained.seconds < 2.5
    if (bare.status, bare.body) == (413, PAGE):
        # Nothing but the silence of the client, which drainkit waits for.
        assert drained.seconds < bare.seconds + 1.0 + 0.5


BLOCKING = [name for name in SECURED if SERVERS[name].interface == "wsgi"]


@pytest.mark.parametrize("name", [name for name in BLOCKING if name not in OUT_OF_REACH])
def test_an_answer_in_pieces_has_its_end_although_a_bound_ends_its_upload(
    certificate: tuple[Path, Path], name: str
) -> None:
    """The last chunk, or that nothing follows, is written behind the discarding on some servers."""
    server = over_tls(name, certificate)
    upload = Upload(path="/413-in-pieces", size_bytes=MIB)
    policy = {"idle_seconds": 1.0, "max_seconds": 1.5}
    with running(server, wrap=True, policy=policy) as drained:
        answer = slow(
            drained.address,
            upload,
            interval_seconds=0.02,
            timeout_seconds=8,
            ssl_context=server.ssl_context,
        )

    assert (413, b"too large", None) == (answer.status, answer.body, answer.error)
