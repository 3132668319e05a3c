"""The probe against scripted servers: the verdict is right, and each error names its cure."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest

pytest.importorskip("click", reason="drainkit probe needs click (extra: cli)")
pytest.importorskip("rich", reason="drainkit probe needs rich (extra: cli)")

pytest.importorskip("jsonschema", reason="the tests of --json need jsonschema")

import jsonschema
from click.testing import CliRunner, Result

from drainkit_cli._commands import main
from drainkit_clients import Answer
from drainkit_probe import CLIENTS, WAYS, BadTargetError, Target, is_loopback, schema
from drainkit_probe._stacks import stack_of, whose_words
from tests.adapters.probed import (
    CLOSED,
    LIMIT_SECONDS,
    MIB,
    Peer,
    always_malformed,
    before_the_head,
    closing,
    closing_on_uploads,
    discarding,
    dripping,
    dripping_on_uploads,
    echo,
    garbage,
    garbling,
    gateway,
    malformed,
    moved,
    never,
    never_on_uploads,
    old,
    page_before_reading,
    reading,
    resetting,
    serving,
    truncating,
    unannounced,
)

# --- tools -------------------------------------------------------------------------------------

SMALL = ("--sizes", "64K,8M", "--tries", "1", "--ways", "keep-alive", "--timeout", "2")
TINY = ("--sizes", "64K", "--tries", "1", "--ways", "keep-alive", "--timeout", "5")
# Where a silence is what is looked for.
SILENT = (*TINY[:-1], "0.5")


def run(*arguments: str, **options: Any) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(main, ["probe", *arguments], **options)


def data_of(result: Result) -> dict[str, Any]:
    """Return what --json printed, once it fits the schema."""
    data: dict[str, Any] = json.loads(result.stdout)
    jsonschema.validate(data, schema())
    assert data["interrupted"] or result.exit_code == data["verdict"]["exit_status"]
    return data


# --- verdicts ----------------------------------------------------------------------------------


def test_answers_that_arrive_early_are_delivered():
    """Exit status 0, and the sentence says that there was something to lose."""
    with serving(discarding) as url:
        result = run(url, "--json", *SMALL)
    data = data_of(result)

    assert 0 == result.exit_code
    assert "delivered" == data["verdict"]["kind"]
    assert re.fullmatch(
        "All 4 answers arrived, [2-4] of them early: nothing was lost.",
        data["verdict"]["sentence"],
    )
    large = [one for one in data["uploads"] if one["size_bytes"] == 8 * MIB]
    assert all(one["sent_at_noticed_bytes"] < 8 * MIB for one in large)
    assert ["used again"] == [u["connection"] for u in large if u["client"] == "strict"]


def test_where_uploads_are_read_nothing_could_be_lost():
    """Exit status 0, but the verdict does not claim more than was tested."""
    with serving(reading) as url:
        result = run(url, "--json", *SMALL)
    data = data_of(result)

    assert (0, "not early") == (result.exit_code, data["verdict"]["kind"])
    assert "none was early" in data["verdict"]["sentence"]
    assert "Probe such a path" in data["verdict"]["notes"][0]


@pytest.mark.parametrize("script", [resetting, before_the_head])
def test_a_reset_is_a_loss_for_those_who_send_first(script):
    """The sentence says from where on and for whom; the place and the cure are named."""
    with serving(script) as url:
        result = run(url, "--json", *SMALL)
    data = data_of(result)
    verdict = data["verdict"]

    assert (1, "lost") == (result.exit_code, verdict["kind"])
    assert re.fullmatch(
        r"\d of 4 answers (was|were) lost: (already at 64 KiB|at 8 MiB), for (clients like "
        r"browsers and Python's http.client \(. of .\), not for clients like curl \(0 of .\)\. "
        r"With so few tries the difference may be chance; more --tries tell|every kind of "
        r"client)\.",
        verdict["sentence"],
    )
    assert "calls itself 'scripted'" in verdict["place"]
    assert {"Flask", "Starlette, FastAPI"} <= {cure["world"] for cure in verdict["cures"]}
    (lost,) = [u for u in data["uploads"] if (u["client"], u["size_bytes"]) == ("strict", 8 * MIB)]
    assert ("lost", "reset", None) == (lost["fate"], lost["ended"], lost["status"])
    assert 0 <= lost["noticed_seconds"] < lost["seconds"]
    assert lost["sent_at_noticed_bytes"] <= lost["sent_bytes"] < 8 * MIB


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (closing_on_uploads, "No answer arrived: 4 uploads, and all were lost."),
        (truncating, "No answer arrived: 4 uploads, and all were lost."),
    ],
)
def test_without_any_answer_it_is_a_loss_for_everybody(script, sentence):
    with serving(script) as url:
        result = run(url, "--json", *SMALL)

    assert 1 == result.exit_code
    assert sentence == data_of(result)["verdict"]["sentence"]


def test_a_large_page_that_stops_both_sides_is_a_loss():
    """The answer lies ready, and a client that sends first never comes to read it."""
    with serving(page_before_reading) as url:
        result = run(
            url, "--json", "--sizes", "32M", "--tries", "1", "--ways", "keep-alive",
            "--clients", "strict", "--timeout", "0.5",
        )  # fmt: skip
    data = data_of(result)

    assert 1 == result.exit_code
    assert ("lost", "timeout") == (data["uploads"][0]["fate"], data["uploads"][0]["ended"])
    assert "stops reading while its answer waits" in data["verdict"]["place"]


@pytest.mark.parametrize(
    ("page", "whose"),
    [
        (b"<center>nginx/1.22.1</center>", "nginx"),
        (b"The server returned an invalid or incomplete response.", "HAProxy"),
        (b"upstream connect error or disconnect/reset before headers", "Envoy"),
        (b"oh no", "a proxy that does not name itself"),
    ],
)
def test_a_proxys_words_are_a_loss_and_it_is_named(page, whose):
    with serving(gateway(page, from_bytes=MIB)) as url:
        result = run(url, "--json", *SMALL)
    verdict = data_of(result)["verdict"]

    assert (1, "replaced") == (result.exit_code, verdict["kind"])
    assert (
        f"2 of 4 answers were replaced by a 502 in the words of {whose}: at 8 MiB, for every kind "
        "of client."
    ) == verdict["sentence"]
    assert f"between {whose} and gunicorn behind it" in verdict["place"]
    assert "Flask" == verdict["cures"][0]["world"]


def test_an_application_may_mean_its_503():
    """Only beside other answers is it a proxy's."""
    with serving(gateway(b"busy", from_bytes=1, status=b"503 Service Unavailable")) as url:
        alone = run(url, "--json", *TINY)

    assert 0 == alone.exit_code


def test_malformed_answers_have_a_verdict_of_their_own():
    """Clients refuse them, so they count; drainkit is no cure for them, and none is named."""
    with serving(malformed) as url:
        result = run(url, "--json", *SMALL)
        plain = run(url, *SMALL)
    data = data_of(result)
    verdict = data["verdict"]

    assert (1, "malformed") == (result.exit_code, verdict["kind"])
    assert {"malformed"} == {one["fate"] for one in data["uploads"]}
    assert (
        "4 of 4 answers were malformed (Content-Lengths that contradict each other): already at "
        "64 KiB, for every kind of client." == verdict["sentence"]
    )
    assert [] == verdict["cures"]
    assert 1 == plain.exit_code
    assert "try 1: malformed; answer ready after" in plain.stdout
    assert "malformed: Content-Lengths that contradict each other" in plain.stdout


@pytest.mark.parametrize(
    ("script", "reason", "cure"),
    [
        (always_malformed, "malformed", "(a status line that breaks the grammar); mend what wrote"),
        (closing, "closed", "look at its log"),
        (never, "silent", "--timeout"),
        (dripping, "slow", "--timeout"),
        (garbage, "not-http", "check that the port is the web server's"),
        (echo, "not-http", "https://"),
        (never_on_uploads, "uploads", "--timeout"),
        (dripping_on_uploads, "uploads", "--timeout"),
        (gateway(b"", from_bytes=0), "gateway", "start it, or look at the proxy's error log"),
        (moved(b"301 Moved", b"https://elsewhere.test/a?t=1"), "redirect",
         "probe https://elsewhere.test/a?... instead"),
        (moved(b"308 Moved", b"//elsewhere.test/"), "redirect", "probe http://elsewhere.test/"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)  # fmt: skip
def test_what_cannot_be_tested_names_the_reason_and_the_cure(script, reason, cure):
    """Exit status 3, as JSON and in words."""
    options = SILENT if cure == "--timeout" else TINY
    with serving(script) as url:
        result = run(url, "--json", *options)
        plain = run(url, *options)
    verdict = data_of(result)["verdict"]

    assert (3, 3) == (result.exit_code, plain.exit_code)
    assert ("not tested", reason) == (verdict["kind"], verdict["reason"])
    assert cure in verdict["sentence"]
    assert cure in plain.output


def test_found_at_https_is_elsewhere_and_a_login_page_is_an_answer():
    """302 is how logins answer; only when nothing but the scheme differs has the endpoint moved."""
    with serving(moved(b"302 Found", b"https://127.0.0.1/up")) as url:
        secured = run(url + "/up", "--json", *TINY)
    with serving(moved(b"302 Found", b"https://login.test/?next=up")) as url:
        login = run(url + "/up", "--json", *TINY)

    assert (3, "redirect") == (secured.exit_code, data_of(secured)["verdict"]["reason"])
    assert 0 == login.exit_code
    assert {302} == {one["status"] for one in data_of(login)["uploads"]}


def test_http_1_0_is_delivered_and_noted():
    with serving(old) as url:
        result = run(url, "--json", *TINY)
    data = data_of(result)

    assert 0 == result.exit_code
    assert {("delivered", "fin", "closed as announced")} == {
        (one["fate"], one["ended"], one["connection"]) for one in data["uploads"]
    }
    assert any("HTTP/1.0" in note for note in data["verdict"]["notes"])


@pytest.mark.parametrize(
    ("script", "seen", "note"),
    [
        (unannounced, "closed unannounced", "ended after the answer although nothing"),
        (garbling, "took leftover body for a request", "took leftover body for a request"),
    ],
)
def test_what_becomes_of_the_connection_is_noted(script, seen, note):
    """Not a lost answer, but the next request is in trouble."""
    with serving(script) as url:
        result = run(url, "--json", "--clients", "strict", *TINY)
    data = data_of(result)

    assert 0 == result.exit_code
    assert [seen] == [one["connection"] for one in data["uploads"]]
    assert any(note in one for one in data["verdict"]["notes"])


def test_a_server_that_goes_away_in_the_middle_is_a_loss():
    """Refused connections count once the first ones had worked."""
    left = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT_SECONDS)

        def serve() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                with connection:
                    peer = Peer(connection, 0)
                    peer.read_head()
                    peer.read_body()
                    if peer.is_upload:
                        listener.close()
                    connection.sendall(CLOSED)
            left.set()

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        result = run(url, "--json", *TINY)
        thread.join(LIMIT_SECONDS)
    data = data_of(result)

    assert left.is_set()
    assert 1 == result.exit_code
    assert ["delivered", "lost"] == [one["fate"] for one in data["uploads"]]
    assert "refused" == data["uploads"][1]["ended"]
    assert "it may have crashed" in data["verdict"]["place"]


def test_nobody_listens():
    # Bound, so that nobody else gets the port, and without listen().
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        result = run(f"http://127.0.0.1:{taken.getsockname()[1]}/", "--json", *TINY)
    verdict = data_of(result)["verdict"]

    assert (3, "connect") == (result.exit_code, verdict["reason"])
    assert "connection refused; start the server, or check the port" in verdict["sentence"]


def test_a_name_without_an_address(monkeypatch):
    def unknown(*arguments: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    result = run("http://nowhere.test/", "--yes", "--json", *TINY)
    verdict = data_of(result)["verdict"]

    assert (3, "dns") == (result.exit_code, verdict["reason"])
    assert "check its spelling" in verdict["sentence"]


def test_tls_with_a_server_that_speaks_none():
    def script(peer: Peer) -> None:
        peer.socket.recv(65536)
        peer.socket.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with serving(script) as url:
        result = run(url.replace("http", "https"), "--json", *TINY)
    verdict = data_of(result)["verdict"]

    assert (3, "tls") == (result.exit_code, verdict["reason"])
    assert "try http://" in verdict["sentence"]


# --- what is sent ------------------------------------------------------------------------------


def test_the_request_is_what_was_asked_for():
    """Method, headers, form; one connection after the other."""
    heads: list[bytes] = []

    def script(peer: Peer) -> None:
        heads.append(peer.read_head())
        peer.read_body()
        peer.socket.sendall(CLOSED)

    with serving(script) as url:
        secret = url.replace("http://", "http://ann:pa%40ss@")
        run(f"{secret}/up?k=v", "-X", "put", "-H", "X-Token: t1", "--field", "photo", *TINY)

    assert heads[0].startswith(b"GET /up?k=v HTTP/1.1\r\n")
    assert all(head.startswith(b"PUT /up?k=v HTTP/1.1\r\n") for head in heads[1:])
    assert 3 == len(heads)
    for head in heads:
        assert b"\r\nX-Token: t1" in head
        assert b"\r\nAuthorization: Basic YW5uOnBhQHNz" in head  # ann:pa@ss
        assert b"\r\nUser-Agent: drainkit-probe/" in head
        assert 1 == head.count(b"\r\nHost: ")
    assert b"\r\nContent-Type: multipart/form-data; boundary=" in heads[1]


def test_a_file_is_sent_as_it_is(tmp_path):
    file = tmp_path / "body.json"
    file.write_bytes(b'{"a": "' + b"x" * 100_000 + b'"}')
    got: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.read_head()
        if peer.is_upload:
            body = peer._early
            while len(body) < file.stat().st_size:
                body += peer.socket.recv(65536)
            got.append(peer.head.split(b"Content-Type: ")[1].split(b"\r\n")[0] + b"\n" + body)
        peer.socket.sendall(CLOSED)

    options = ("--tries", "1", "--ways", "keep-alive", "--timeout", "2", "--json")
    with serving(script) as url:
        result = run(
            url, "--body-file", str(file), "-H", "Content-Type: application/json", *options
        )

    assert [100_009] == data_of(result)["plan"]["sizes_bytes"]
    assert [b"application/json\n" + file.read_bytes()] * 2 == got


def test_every_client_goes_every_way_within_the_announced_total():
    """The ladder for the first way, one size for the others; nothing beyond the plan."""
    with serving(discarding) as url:
        result = run(url, "--json", "--sizes", "64K,128K", "--tries", "2", "--timeout", "2",
                     "--ways", "keep-alive,close,expect")  # fmt: skip
    data = data_of(result)

    counted = Counter((one["client"], one["way"], one["size_bytes"]) for one in data["uploads"])
    assert {
        (client, way, size)
        for client in CLIENTS
        for way, sizes in (
            ("keep-alive", (65536, 131072)), ("close", (131072,)), ("expect", (131072,))
        )
        for size in sizes
    } == set(counted)  # fmt: skip
    assert {2} == set(counted.values())
    assert 2 * 2 * (65536 + 3 * 131072) == data["plan"]["total_bytes"]
    assert sum(one["size_bytes"] for one in data["uploads"]) == data["plan"]["total_bytes"]


def test_a_rate_makes_a_slow_link():
    """256 KiB at 512 KiB a second take half a second, for either client."""
    with serving(reading) as url:
        result = run(url, "--json", "--sizes", "256K", "--tries", "1", "--rate", "512K", "--ways",
                     "keep-alive")  # fmt: skip

    assert all(0.4 < one["seconds"] < 5 for one in data_of(result)["uploads"])


def test_over_ipv6():
    try:
        with serving(reading, "::1") as url:
            result = run(url, "-6", "--json", *TINY)
    except OSError:
        pytest.skip("needs IPv6 on the loopback interface")
    data = data_of(result)

    assert (0, "::1") == (result.exit_code, data["target"]["address"])
    assert re.fullmatch(r"http://\[::1\]:\d+/", data["target"]["url"])


# --- manners -----------------------------------------------------------------------------------


def test_nothing_secret_is_shown_anywhere(tmp_path):
    """Not by an echo, a redirect or a failure, in words, JSON or the report."""
    secrets = ("hunter2", "tok-en", "sess-ion", "Ym9iOmh1bnRlcjI")
    report = tmp_path / "report.html"
    seen = ""
    redirect = moved(b"307 Moved", b"http://bob:hunter2@elsewhere.test/up?key=tok-en")
    for script in (discarding, resetting, echo, garbage, closing, redirect):
        with serving(script) as url:
            target = url.replace("http://", "http://bob:hunter2@") + "/up?key=tok-en"
            for more in ((), ("--json",)):
                arguments = ("-H", "Cookie: id=sess-ion", "--html", str(report), *TINY, *more)
                seen += run(target, *arguments).output + report.read_text(encoding="utf-8")
    for wrong in ("http://bob:hunter2@x:99999/", "ftp://bob:hunter2@x/?key=tok-en"):
        seen += run(wrong).output
    for wrong in ("Cookie id=sess-ion", "Content-Length: sess-ion", "Cookie: sess-ion\n"):
        seen += run("http://127.0.0.1:1/", "-H", wrong).output
    seen += run("http://bob:hunter2@192.0.2.1/?key=tok-en").output

    assert [] == [secret for secret in secrets if secret in seen]
    assert "/up?..." in seen
    assert '"Cookie"' in seen  # names are shown


def test_another_machine_needs_a_yes(monkeypatch):
    """192.0.2.1 is nobody's: nothing is sent, neither without a terminal nor at a wrong name."""

    def no_connection(*arguments: object, **options: object) -> None:
        raise AssertionError("connected")

    monkeypatch.setattr(socket, "create_connection", no_connection)
    result = run("http://192.0.2.1/")

    assert 2 == result.exit_code
    said = re.sub(r"\s+", " ", result.stderr)
    assert "192.0.2.1 is not this machine, and up to 390.4 MiB would be sent there" in said
    assert "give --yes" in said


def test_the_typed_name_is_checked():
    status, written = on_terminal("http://192.0.2.1/", typed="192.0.2.2\n")

    assert 2 == status
    assert "at most 390.4 MiB in all. 192.0.2.1 is not this machine." in written
    assert "that was not '192.0.2.1', so nothing was sent" in re.sub(r"\s+", " ", written)


def test_no_answer_to_the_question_sends_nothing():
    status, written = on_terminal("http://192.0.2.1/", typed="\x04")

    assert 130 == status, written
    assert "Not confirmed, so nothing was sent." in written


@pytest.mark.parametrize(
    ("address", "ours"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True),
     ("fe80::1%eth0", False), ("10.0.0.1", False), ("::", False), ("0.0.0.0", False)],
)  # fmt: skip
def test_which_addresses_are_this_machine(address, ours):
    assert ours == is_loopback(address)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["ftp://example.test"], "the URL must begin with http:// or https://"),
        (["http://"], "the URL names no host"),
        (["http://127.0.0.1:0x50/"], "the URL cannot be read; check its host and its port"),
        (["http://127.0.0.1/a b"], "percent-encode it"),
        (["http://127.0.0.1/", "--sizes", "big"], "'big' is not a size"),
        (["http://127.0.0.1/", "--sizes", "1M,"], "'' is not a size"),
        (["http://127.0.0.1/", "--sizes", "10"], "give a size from 1 KiB to 1 GiB"),
        (["http://127.0.0.1/", "--sizes", "1" * 5000], "is not a size"),
        (["http://127.0.0.1/", "--tries", "0"], "not a whole number from 1 to 100; try 3"),
        (["http://127.0.0.1/", "--clients", "lazy"], "'lazy' is none of strict, eager"),
        (["http://127.0.0.1/", "--ways", "h3"], "none of keep-alive, close, chunked, expect"),
        (["http://127.0.0.1/", "--ways", "http2"], "http2 is probed over TLS only; give an https"),
        (["http://127.0.0.1/", "--timeout", "nan"], "not a number of seconds above 0"),
        (["http://127.0.0.1/", "--timeout", "0"], "try 20"),
        (["http://127.0.0.1/", "--rate", "fast"], "'fast' is not a size"),
        (["http://127.0.0.1/", "-X", "HEAD"], "no method that uploads; give POST"),
        (["http://127.0.0.1/", "-H", "no colon"], "a header is given as 'Name: value'"),
        (["http://127.0.0.1/", "-H", "Expect: x"], "choose it with --ways expect"),
        (["http://127.0.0.1/", "-H", "X: \x01"], "holds a control character"),
        (["http://127.0.0.1/", "-H", "X: \u20ac"], "beyond Latin-1; encode it"),
        (["http://127.0.0.1/", "--field", 'a"b'], "without quotes and line ends"),
        (["http://127.0.0.1/", "--body-file", "/nowhere/at/all"], "does not exist"),
        (["http://127.0.0.1/", "--body-file", os.devnull], f"{os.devnull!r} is empty"),
        (["http://127.0.0.1/", "--body-file", __file__, "--sizes", "1M"], "leave one of them out"),
        (["http://127.0.0.1/", "--html", "/nowhere/at/all"], "folder of '/nowhere/at/all' does"),
        (["http://127.0.0.1/", "--html", ""], "'' names no file; give one such as report.html"),
        (["http://127.0.0.1/", "--max-total", "100M"], "390.4 MiB, more than --max-total 100 MiB"),
    ],
)  # fmt: skip
def test_wrong_usage_is_named_with_its_cure(arguments, named):
    """Exit status 2, and nothing is sent."""
    result = run(*arguments)

    assert 2 == result.exit_code, result.output
    said = re.sub(r"[\s│]+", " ", result.stderr)
    assert named in said
    assert "" == result.stdout


def test_http2_without_its_extra_names_it():
    program = PROGRAM.replace("import signal, sys", "import signal, sys; sys.modules['h2'] = None")
    result = subprocess.run(
        [sys.executable, "-c", program, "https://127.0.0.1:1/", "--ways", "http2"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    said = re.sub(r"\s+", " ", result.stderr)

    assert 2 == result.returncode
    assert 'http2: it needs h2, which is not installed: pip install "drainkit[http2]"' in said


# --- what is shown -----------------------------------------------------------------------------


class Report(HTMLParser):
    """Collects what a report holds and refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.outside += [name for name, _ in attrs if name in ("src", "href", "srcset", "action")]


def test_the_report_needs_nothing_else(tmp_path):
    """One file: two pictures, every upload, no script, no reference, names escaped."""
    report = tmp_path / "report.html"

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.socket.sendall(CLOSED.replace(b"scripted", b"<script>x</script>"))
        if peer.is_upload:
            time.sleep(0.02)
            peer.reset()

    with serving(script) as url:
        result = run(url, "--html", str(report), *SMALL)
    text = report.read_text(encoding="utf-8")
    parsed = Report()
    parsed.feed(text)

    assert 1 == result.exit_code
    assert (2, 0, []) == (parsed.tags["svg"], parsed.tags["script"], parsed.outside)
    assert "&lt;script&gt;" in text
    assert "url(" not in text
    assert "drainkit_flask.init_app(app)" in text


def test_a_report_is_written_although_nothing_could_be_tested(tmp_path):
    report = tmp_path / "report.html"
    with serving(closing) as url:
        result = run(url, "--html", str(report), *TINY)

    assert 3 == result.exit_code
    assert "look at its log" in report.read_text(encoding="utf-8")


def test_plain_lines_in_a_pipe():
    """The plan first, a line for each upload, then the verdict; no control characters."""
    with serving(resetting) as url:
        result = run(url, "--clients", "strict", *SMALL)
    lines = result.stdout.splitlines()

    assert re.fullmatch(
        r"drainkit \S+: POST to http://127.0.0.1:\d+/: 2 uploads one after the other, at most "
        r"8.1 MiB in all",
        lines[0],
    )
    assert lines[1].startswith("strict, keep-alive, 64 KiB, try 1: ")
    assert re.match(
        r"strict, keep-alive, 8 MiB, try 1: lost; answer ready after .* with .* sent; "
        r"\w+ while sending; .* sent in .*; connection reset",
        lines[2],
    )
    assert lines[3].startswith("Verdict: lost. ")
    assert "\x1b" not in result.stdout


def test_colours_when_asked_for():
    with serving(resetting) as url:
        always = run(url, "--color", "always", *TINY)

    assert "\x1b[3" in always.stdout


PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from drainkit_cli._commands import main
main(["probe", *sys.argv[1:]])
"""


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_prints_what_was_measured(as_json):
    """Exit status 130, and the uploads before it are not lost."""
    seen = threading.Event()

    def script(peer: Peer) -> None:
        if peer.number < 3:
            return resetting(peer)
        seen.set()
        peer.read_to_end()

    options = ("--sizes", "8M", "--tries", "5", "--ways", "keep-alive", "--clients", "strict")
    more = ("--json",) if as_json else ()
    with serving(script) as url:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, url, *options, *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert seen.wait(LIMIT_SECONDS)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=LIMIT_SECONDS)

    assert 130 == process.returncode, errors
    assert "Traceback" not in errors
    if as_json:
        data = json.loads(output)
        jsonschema.validate(data, schema())
        assert (True, 2, "lost") == (
            data["interrupted"], len(data["uploads"]), data["verdict"]["kind"]
        )  # fmt: skip
    else:
        assert "Interrupted after 2 of 5 uploads; what was measured so far:" in output
        assert "Verdict: lost." in output


def on_terminal(*arguments: str, typed: str = "", columns: int = 80, **env: str) -> tuple[int, str]:
    """Run the command on a terminal; return its exit status and all that was written."""
    pty = pytest.importorskip("pty", reason="needs a terminal of Unix")
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "drainkit_cli", "probe", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={
                **{name: value for name, value in os.environ.items() if name != "NO_COLOR"},
                "TERM": "xterm",
                "COLUMNS": str(columns),
                "PYTHONIOENCODING": "utf-8",
                **env,
            },
        )
    finally:
        os.close(theirs)
    if typed:
        os.write(ours, typed.encode())
    written = b""
    # Linux says EIO when the other side of a terminal is closed.
    with contextlib.suppress(OSError):
        while piece := os.read(ours, 65536):
            written += piece
    os.close(ours)
    return process.wait(LIMIT_SECONDS), written.decode()


def screen_of(written: str) -> list[str]:
    """Return the lines behind the live display, without colours and cursor movements."""
    last = written[written.rindex("\x1b[2K") :] if "\x1b[2K" in written else written
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last).replace("\r", "").splitlines()


def test_on_a_terminal_it_fits_80_columns_and_draws_the_pictures():
    with serving(resetting) as url:
        status, written = on_terminal(url, *SMALL)
    lines = screen_of(written)

    assert 1 == status, written
    assert "of 4 uploads" in written  # while it worked
    assert "\x1b[31m" in written
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "╭─ LOST ─" in text
    assert "Lost: strict, keep-alive, 8 MiB" in text
    assert "Delivered: " in text
    assert re.search(r"▲ answer ready: .*, .* of 8 MiB sent", text)
    assert re.search(r"✗ reset: .*, .* sent", text)
    assert "…" not in text  # nothing is cut off


@pytest.mark.parametrize("columns", [60, 40])
def test_on_a_narrow_terminal_it_fits_too(columns):
    """Nothing is cut off: tables have other forms, and lines to copy are the terminal's to wrap."""
    with serving(resetting) as url:
        status, written = on_terminal(url, *SMALL, columns=columns)
    code = re.compile(r"    (import|from|MIDDLEWARE|app|application|drainkit_)\b.*")
    lines = [line for line in screen_of(written) if not code.match(line)]

    assert 1 == status, written
    assert [] == [line for line in lines if len(line) > columns]
    assert "…" not in written
    text = "\n".join(lines)
    assert "╭─ LOST ─" in text
    assert re.search(
        r"keep-alive +strict .*✗\s*\n" if columns == 60 else r"strict +8 MiB +✗\s", text
    )
    assert "keep-alive, strict, 8 MiB: ✗ none" in text
    assert re.search(r"▲ answer ready: .*, .* of 8\s+MiB sent", text)
    assert re.search(r"✗ reset: .*, .* sent", text)
    assert '    MIDDLEWARE.insert(0, "drainkit_django.DrainMiddleware")' in screen_of(written)


def test_no_color_is_honoured():
    """https://no-color.org: no colour, whatever else."""
    with serving(resetting) as url:
        status, written = on_terminal(url, *TINY, NO_COLOR="1")

    assert status in (0, 1), written
    assert not re.search(r"\x1b\[[0-9;]*\b(3[0-7]|9[0-7])\b[0-9;]*m", written)


def test_a_terminal_that_knows_ascii_only_gets_ascii():
    with serving(resetting) as url:
        status, written = on_terminal(url, *SMALL, PYTHONIOENCODING="ascii")

    assert 1 == status, written
    assert written.isascii()


def in_another_language(peer: Peer) -> None:
    peer.read_head()
    body = "zu groß: 中文".encode()
    head = b"HTTP/1.1 413 Zu gro\xdf\r\nServer: caf\xe9\r\nContent-Length: %d\r\n" % len(body)
    peer.socket.sendall(head + b"Connection: close\r\n\r\n" + body)
    peer.read_to_end()


@pytest.mark.parametrize(
    ("charset", "expected"), [("ascii", "zu gro?: ??"), ("cp1252", "zu groß: ??")]
)
def test_where_characters_are_not_to_be_had_a_run_still_ends_with_its_verdict(charset, expected):
    """As on Windows, in a file; exit status 1 would say that answers were lost."""
    with serving(in_another_language) as url:
        arguments = ["probe", url, "--verbose", "--clients", "eager", *TINY]
        result = CliRunner(charset=charset).invoke(main, arguments)

    assert 0 == result.exit_code, result.exception
    assert expected in result.stdout_bytes.decode(charset)


def test_without_standard_input_it_asks_for_yes(monkeypatch, capsys):
    """A service, or a shell's `<&-`, has none. Nobody answers at this address (RFC 5737)."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SystemExit) as ended:
        main(["probe", "http://192.0.2.1/"])

    assert 2 == ended.value.code
    assert "give --yes" in re.sub(r"\s+", " ", capsys.readouterr().err)


def test_without_standard_output_the_exit_status_still_tells(monkeypatch):
    with serving(discarding) as url:
        monkeypatch.setattr(sys, "stdout", None)
        with pytest.raises(SystemExit) as ended:
            main(["probe", url, "--clients", "eager", *TINY])
        monkeypatch.undo()

    assert 0 == ended.value.code


# --- tables ------------------------------------------------------------------------------------


def page(body: bytes, *headers: tuple[str, str]) -> Answer:
    return Answer(
        status=502, headers=headers, body=body, complete=True, sent_bytes=0, error=None,
        first_byte_seconds=0.0, sent_at_first_byte_bytes=0, seconds=0.0, ended="open",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("server", "name", "interface"),
    [
        ("gunicorn", "gunicorn", "wsgi"),
        ("gunicorn/asgi", "gunicorn (asgi worker)", "asgi"),
        ("uvicorn", "uvicorn", "asgi"),
        ("hypercorn-h11", "hypercorn", "asgi"),
        ("Cheroot/11.1.2", "cheroot", "wsgi"),
        ("Werkzeug/3.1.9 Python/3.11.7", "Werkzeug's development server", "wsgi"),
        ("WSGIServer/0.2 CPython/3.11.7", "wsgiref (or Django's runserver)", "wsgi"),
        ("nginx/1.22.1", "nginx", "either"),
    ],
)
def test_servers_are_known_by_their_header(server, name, interface):
    found = stack_of(server)

    assert found is not None
    assert (name, interface) == (found.name, found.interface)


def test_an_unknown_server_and_unknown_words_stay_unknown():
    assert None is stack_of("Frobnicator/1")
    assert None is stack_of(None)
    assert None is whose_words(page(b"hm"))
    assert "Cloudflare" == whose_words(page(b"hm", ("server", "cloudflare")))
    assert None is whose_words(page(b"hm", ("server", "gunicorn")))


def test_the_plan_and_the_schema_know_the_same_names():
    upload = schema()["properties"]["uploads"]["items"]["properties"]

    assert list(CLIENTS) == upload["client"]["enum"]
    assert list(WAYS) == upload["way"]["enum"]


@pytest.mark.parametrize(
    ("location", "elsewhere"),
    [
        ("/login", None),
        ("login?next=http", None),
        ("http://a.test/other", None),
        ("http://a.test:80/", None),
        ("https://a.test/up", "https://a.test/up"),
        ("//b.test/?q", "http://b.test/?..."),
        ("ftp://b.test/", "an address that cannot be read"),
    ],
)
def test_elsewhere_is_another_scheme_host_or_port(location, elsewhere):
    assert elsewhere == Target.parse("http://a.test/up").elsewhere(location)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("127.0.0.1:8000/x", "http://127.0.0.1:8000/x"),
        ("localhost:8000/x?a=1", "http://localhost:8000/x?..."),
        ("shop.example", "http://shop.example/"),
        ("[::1]:8000", "http://[::1]:8000/"),
        ("bob:pa@a.test/up", "http://a.test/up"),
        ("a.test/?next=https://b.test/", "http://a.test/?..."),
        ("HTTPS://a.test/", "https://a.test/"),
    ],
)
def test_a_url_without_a_scheme_is_one_of_http(url, shown):
    """As with curl; what it was taken for is shown before anything is sent."""
    assert shown == Target.parse(url).shown


@pytest.mark.parametrize("url", ["", "/up", "//a.test/", "::1"])
def test_what_names_no_host_is_refused(url):
    with pytest.raises(BadTargetError):
        Target.parse(url)


def test_the_typed_host_is_shown_without_control_characters():
    shown = Target.parse("http://a.test/" + "%1b" * 3 + "x" * 300).shown

    assert 200 == len(shown)
    assert shown.isprintable()
