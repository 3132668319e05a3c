"""The probe finds what the real servers do, with drainkit and without it."""

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("click", reason="drainkit probe needs click (extra: cli)")
pytest.importorskip("rich", reason="drainkit probe needs rich (extra: cli)")

from click.testing import CliRunner

from drainkit_cli._commands import main
from tests.servers import harness
from tests.servers.cases import TRIES_WITHOUT
from tests.servers.conftest import Fleet
from tests.servers.harness import running
from tests.servers.proxies import certificate, in_front_of, missing

pytestmark = pytest.mark.server

# Two rungs: what fits into the kernel's buffers, and what does not.
LADDER = ("--sizes", "64K,16M", "--tries", "4", "--ways", "keep-alive,close", "--timeout", "10")

# What the uploads came to without drainkit in every run so far, by the ways that lose answers.
BOTH, CLOSE_ONLY = {"keep-alive", "close"}, {"close"}
LOSES_WITHOUT: dict[str, set[str]] = {
    "wsgiref": BOTH,
    "gunicorn-sync": BOTH,
    "gunicorn-gthread": BOTH,
    "granian-wsgi": BOTH,
    "granian-asgi": BOTH,
    "cheroot": BOTH,
    "uvicorn-h11": CLOSE_ONLY,
    "uvicorn-httptools": CLOSE_ONLY,
    "hypercorn-asyncio": BOTH,
}
# They store the upload before they call the application.
SPOOLING = ("waitress", "daphne")

# What the place has to name, and the world of the first cure.
NAMED = {
    "wsgiref": ("wsgiref", "Flask"),
    "gunicorn-sync": ("gunicorn", "Flask"),
    "gunicorn-gthread": ("gunicorn", "Flask"),
    "granian-wsgi": ("granian", "Flask"),
    "granian-asgi": ("granian", "Flask"),
    "cheroot": ("cheroot", "Flask"),
    "uvicorn-h11": ("uvicorn", "Starlette, FastAPI"),
    "uvicorn-httptools": ("uvicorn", "Starlette, FastAPI"),
    "hypercorn-asyncio": ("hypercorn", "Starlette, FastAPI"),
}


def probe(url: str, *options: str) -> tuple[int, dict[str, Any]]:
    """Run the command; return its exit status and what it saw."""
    result = CliRunner().invoke(main, ["probe", url, "--json", *options])
    assert result.stdout, result.output
    return result.exit_code, json.loads(result.stdout)


def probe_until(kind: str, url: str, *options: str) -> tuple[int, dict[str, Any]]:
    """Probe again while the verdict is another: what a proxy loses, and how, is a race."""
    for _ in range(TRIES_WITHOUT):
        status, seen = probe(url, *options)
        if seen["verdict"]["kind"] == kind:
            break
    return status, seen


def url_of(address: tuple[str, int], path: str = "/413", scheme: str = "http") -> str:
    return f"{scheme}://{address[0]}:{address[1]}{path}"


@pytest.mark.parametrize("server", LOSES_WITHOUT)
def test_a_loss_is_found_and_with_drainkit_it_is_gone(fleet: Fleet, server: str) -> None:
    bare = fleet.get(server, wrap=False)
    status, seen = probe(url_of(bare.address), *LADDER)
    lossy = {one["way"] for one in seen["uploads"] if one["fate"] != "delivered"}
    name, world = NAMED[server]

    assert (1, "lost") == (status, seen["verdict"]["kind"]), seen["verdict"]
    assert LOSES_WITHOUT[server] == lossy
    assert name in seen["verdict"]["place"]
    assert world == seen["verdict"]["cures"][0]["world"]
    assert re.search(r"\d+ of 24 answers were lost: ", seen["verdict"]["sentence"])

    wrapped = fleet.get(server, wrap=True)
    status, seen = probe(url_of(wrapped.address), *LADDER)

    assert (0, "delivered") == (status, seen["verdict"]["kind"]), seen["verdict"]
    assert {413} == {one["status"] for one in seen["uploads"]}


@pytest.mark.parametrize("server", SPOOLING)
def test_a_server_that_stores_uploads_first_has_nothing_to_lose(fleet: Fleet, server: str) -> None:
    status, seen = probe(url_of(fleet.get(server, wrap=False).address), *LADDER)

    assert (0, "not early") == (status, seen["verdict"]["kind"]), seen["verdict"]


def test_a_login_redirect_is_an_answer_like_any_other(fleet: Fleet) -> None:
    status, seen = probe(url_of(fleet.get("gunicorn-sync", wrap=False).address, "/302"), *LADDER)

    assert (1, "lost") == (status, seen["verdict"]["kind"]), seen["verdict"]
    assert {302} == {one["status"] for one in seen["uploads"] if one["fate"] == "delivered"}


# --- behind proxies ----------------------------------------------------------------------------

# What becomes of answers there without drainkit: nginx writes a 502 of its own (and loses one now
# and then, which is then the verdict), HAProxy passes the reset on.
BEHIND = {"nginx": "replaced", "haproxy": "lost"}


@pytest.mark.parametrize("proxy", BEHIND)
def test_behind_a_proxy_the_loss_is_found_and_with_drainkit_it_is_gone(
    fleet: Fleet, proxy: str
) -> None:
    if absent := missing(proxy):
        pytest.skip(f"needs {absent}")
    with in_front_of(fleet.get("gunicorn-sync", wrap=False).address, proxy) as address:
        status, seen = probe_until(BEHIND[proxy], url_of(address), *LADDER)

    assert (1, BEHIND[proxy]) == (status, seen["verdict"]["kind"]), seen["verdict"]
    if proxy == "nginx":
        assert "in the words of nginx" in seen["verdict"]["sentence"]
        assert "between nginx and the application server behind it" in seen["verdict"]["place"]
    else:
        # HAProxy hides: only the application server's header is to be seen.
        assert "A proxy in between that does not name itself" in seen["verdict"]["place"]

    with in_front_of(fleet.get("gunicorn-sync", wrap=True).address, proxy) as address:
        status, seen = probe(url_of(address), *LADDER)

    assert (0, "delivered") == (status, seen["verdict"]["kind"]), seen["verdict"]


@pytest.mark.parametrize("proxy", BEHIND)
def test_a_proxy_without_an_application_cannot_be_tested(proxy: str) -> None:
    if absent := missing(proxy):
        pytest.skip(f"needs {absent}")
    with in_front_of(("127.0.0.1", 1), proxy) as address:
        status, seen = probe(url_of(address), *LADDER)

    assert (3, "gateway") == (status, seen["verdict"]["reason"])
    assert "start it, or look at the proxy's error log" in seen["verdict"]["sentence"]


# --- over TLS ----------------------------------------------------------------------------------


@contextlib.contextmanager
def secured(folder: Path, *, wrap: bool) -> Iterator[tuple[str, int]]:
    """Serve over TLS with gunicorn itself, with a certificate that nobody has signed."""
    made, key = certificate(folder)
    with running(harness.secured("gunicorn-sync", made, key), wrap=wrap) as started:
        yield started.address


def test_over_tls_the_loss_is_found_and_with_drainkit_it_is_gone(tmp_path: Path) -> None:
    pytest.importorskip("gunicorn", reason="needs gunicorn")
    bare, drained = tmp_path / "bare", tmp_path / "drained"
    bare.mkdir()
    drained.mkdir()
    with secured(bare, wrap=False) as address:
        url = url_of(address, scheme="https")
        refused, distrust = probe(url, *LADDER)
        status, seen = probe(url, "--insecure", *LADDER)

    assert (3, "tls") == (refused, distrust["verdict"]["reason"])
    assert "--insecure if you trust this server" in distrust["verdict"]["sentence"]
    assert (1, "lost", True) == (status, seen["verdict"]["kind"], seen["target"]["tls"])
    assert "gunicorn" in seen["verdict"]["place"]

    with secured(drained, wrap=True) as address:
        status, seen = probe(url_of(address, scheme="https"), "--insecure", *LADDER)

    assert (0, "delivered") == (status, seen["verdict"]["kind"]), seen["verdict"]


# --- over HTTP/2 -------------------------------------------------------------------------------

H2_LADDER = ("--insecure", "--sizes", "64K,8M", "--tries", "4", "--timeout", "5")
# Without drainkit hypercorn ends the connection, which costs either client its answer. granian
# resets the stream without an error: browsers take the answer then, httpx does not.
LOSES_OVER_HTTP2: dict[str, set[str]] = {
    "hypercorn-asyncio": {"strict", "eager"},
    "hypercorn-trio": {"strict", "eager"},
    "granian-asgi": {"strict"},
    "granian-wsgi": {"strict"},
}


@pytest.mark.parametrize("server", LOSES_OVER_HTTP2)
def test_over_http2_the_loss_is_found_and_with_drainkit_it_is_gone(
    tmp_path: Path, server: str
) -> None:
    pytest.importorskip("h2", reason="needs h2 (extra: http2)")
    losers = LOSES_OVER_HTTP2[server]
    row = harness.secured(server, *certificate(tmp_path))
    with running(row, wrap=False) as bare:
        url = url_of(bare.address, scheme="https")
        status, seen = probe(url, "--ways", "http2", *H2_LADDER)
    lost = [one for one in seen["uploads"] if one["fate"] == "lost"]

    # hypercorn's trio worker ends with the first such upload: then its connections are refused.
    assert (1, "lost") == (status, seen["verdict"]["kind"]), seen["verdict"]
    assert losers == {one["client"] for one in lost if one["size_bytes"] > 65536}
    assert "ends the stream, or the connection" in seen["verdict"]["place"] or any(
        one["ended"] == "refused" for one in lost
    )
    if losers == {"strict"}:
        whom = "for clients like Python's httpx ("
        assert whom in seen["verdict"]["sentence"]
        assert "not for clients like browsers (0 of " in seen["verdict"]["sentence"]

    with running(row, wrap=True) as drained:
        url = url_of(drained.address, scheme="https")
        status, seen = probe(url, "--ways", "keep-alive,http2", *H2_LADDER)

    assert (0, "delivered") == (status, seen["verdict"]["kind"]), seen["verdict"]
    over_http2 = [one for one in seen["uploads"] if one["way"] == "http2"]
    assert {(413, "used again")} == {(one["status"], one["connection"]) for one in over_http2}


def test_a_server_without_http2_is_told_from_a_loss(tmp_path: Path) -> None:
    pytest.importorskip("gunicorn", reason="needs gunicorn")
    pytest.importorskip("h2", reason="needs h2 (extra: http2)")
    with secured(tmp_path, wrap=False) as address:
        status, seen = probe(
            url_of(address, scheme="https"), "--ways", "keep-alive,http2", *H2_LADDER
        )

    assert (3, "http2") == (status, seen["verdict"]["reason"]), seen["verdict"]
    assert "does not choose HTTP/2" in seen["verdict"]["sentence"]


def test_that_browsers_get_http2_is_noted_where_it_was_not_probed(tmp_path: Path) -> None:
    pytest.importorskip("hypercorn", reason="needs hypercorn")
    row = harness.secured("hypercorn-asyncio", *certificate(tmp_path))
    with running(row, wrap=True) as drained:
        url = url_of(drained.address, scheme="https")
        _, seen = probe(url, "--insecure", "--sizes", "64K", "--tries", "1", "--ways", "keep-alive")

    assert seen["preflight"]["offers_http2"]
    assert any("--ways keep-alive,http2 does it" in note for note in seen["verdict"]["notes"])


def test_http_to_a_tls_port_names_https(tmp_path: Path) -> None:
    pytest.importorskip("gunicorn", reason="needs gunicorn")
    with secured(tmp_path, wrap=False) as address:
        status, seen = probe(url_of(address), *LADDER)

    assert 3 == status
    assert "https://" in seen["verdict"]["sentence"]
