"""What came back is shown when asked for, and what was sent in secret never is."""

import base64
import json
import re
from urllib.parse import quote

import pytest

pytest.importorskip("click", reason="drainkit probe needs click (extra: cli)")
pytest.importorskip("rich", reason="drainkit probe needs rich (extra: cli)")
pytest.importorskip("jsonschema", reason="the tests of --json need jsonschema")

from drainkit_probe import BadTargetError, Plan, Target, bearer_header, cookie_header
from drainkit_probe._secrets import Secrets
from tests.adapters.probed import (
    CLOSED,
    MIB,
    Peer,
    closing_on_uploads,
    discarding,
    gateway,
    malformed,
    serving,
)
from tests.adapters.test_probe import SMALL, TINY, data_of, on_terminal, run, screen_of

NGINX = b"<html>\r\n<center>nginx/1.22.1</center>\r\n</html>\r\n"
TOKEN, SESSION = "eyJhbGci.hunter2.x-_y", "s3ss+ion/8=="
CREDENTIALS = ("--bearer", TOKEN, "--cookie", f"id={SESSION}", "--cookie", "theme=midnight-blue")
SECRETS = (TOKEN, "hunter2", SESSION, quote(SESSION, safe=""), "midnight-blue", "hunt")


def test_what_came_instead_is_shown_once_with_its_number():
    with serving(gateway(NGINX, from_bytes=MIB)) as url:
        result = run(url, "--verbose", *SMALL)
        quiet = run(url, *SMALL)
        data = data_of(run(url, "--verbose", "--json", *SMALL))
    said = result.stdout[result.stdout.index("Came back, ") :].splitlines()

    assert 1 == result.exit_code
    assert [
        "Came back, replaced: 2 uploads, the first: strict, keep-alive, 8 MiB",
        "    HTTP/1.1 502 Bad Gateway",
        f"    content-length: {len(NGINX)}",
        "    connection: close",
        "    ",
        "    <html>",
        "    <center>nginx/1.22.1</center>",
        "    </html>",
        f"    ({len(NGINX)} bytes of body)",
        "Came back, delivered: 2 uploads, the first: strict, keep-alive, 64 KiB",
        "    HTTP/1.1 413 Content Too Large",
    ] == said[:11]
    assert "Came back" not in quiet.stdout
    assert ["replaced", "delivered"] == [one["fate"] for one in data["came"]]
    assert "HTTP/1.1 502 Bad Gateway" == data["came"][0]["head"][0]


def test_where_nothing_came_that_is_said(tmp_path):
    report = tmp_path / "report.html"
    with serving(closing_on_uploads) as url:
        result = run(url, "-v", "--html", str(report), *TINY)

    assert "    (nothing of an answer)" in result.stdout
    assert "nothing of an answer" in report.read_text(encoding="utf-8")


def test_a_malformed_answer_is_shown_with_the_rule_and_what_broke_it():
    with serving(malformed) as url:
        result = run(url, "-v", *TINY)

    assert (
        "    (malformed: Content-Lengths that contradict each other: '10, 11')"
        in result.stdout.splitlines()
    )


def test_on_a_narrow_terminal_it_fits():
    with serving(gateway(NGINX, from_bytes=1)) as url:
        status, written = on_terminal(url, "-v", *TINY, columns=40)
    lines = screen_of(written)
    shown = lines[next(i for i, line in enumerate(lines) if line.startswith("Came back, ")) :]

    assert 1 == status
    assert max(map(len, shown)) <= 40
    assert "    HTTP/1.1 502 Bad Gateway" in [line.rstrip() for line in shown]


def echoing(peer: Peer) -> None:
    """Say what was heard, in the forms in which pages and headers say it."""
    peer.read_head()
    peer.read_body()
    heard = peer.head.decode("latin-1")
    forms = [heard, heard.upper(), quote(heard), quote(SESSION, safe=""), f"id={SESSION}"]
    forms += [base64.b64encode(TOKEN.encode()).decode(), json.dumps({"token": TOKEN})]
    body = "\n".join(forms).encode("latin-1")
    cookies = b"\r\nSet-Cookie: sid=fresh-made-token; HttpOnly"
    where = b"\r\nLocation: /login?next=fresh-made-token\r\nX-Heard: " + TOKEN.encode()
    peer.socket.sendall(
        CLOSED.replace(b"Content-Length: 10", b"Content-Length: %d" % len(body) + cookies + where)
        .removesuffix(b"too large\n")
        + body
    )  # fmt: skip


def cut(peer: Peer) -> None:
    """Say what was heard, and close in the middle of it."""
    peer.read_head()
    if not peer.is_upload:
        return peer.socket.sendall(CLOSED)
    peer.read_body()
    said = peer.head[: peer.head.index(TOKEN.encode()) + 13]
    peer.socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + said)


def heard_as_status(peer: Peer) -> None:
    """Say what was heard where a status belongs."""
    peer.read_head()
    peer.read_body()
    peer.socket.sendall(b"HTTP/1.1 " + TOKEN.encode() + b"\r\n\r\n" if peer.is_upload else CLOSED)


@pytest.mark.parametrize("script", [discarding, echoing, cut, heard_as_status])
def test_no_credential_is_shown_anywhere(tmp_path, script):
    """Not in words, JSON, the page or what came back, even where the target echoes it."""
    report = tmp_path / "report.html"
    seen = ""
    with serving(script) as url:
        for more in ((), ("--json",), ("-v",), ("-v", "--json"), ("-v", "--html", str(report))):
            seen += run(f"{url}/up?key={TOKEN}", *CREDENTIALS, *more, *TINY).output
    seen += report.read_text(encoding="utf-8")

    assert [] == [secret for secret in SECRETS if secret.lower() in seen.lower()]
    assert "fresh-made-token" not in seen
    assert "Authorization" in seen  # names are shown
    assert script is discarding or "[hidden]" in seen


def test_credentials_are_sent():
    heads: list[bytes] = []

    def script(peer: Peer) -> None:
        heads.append(peer.read_head())
        peer.read_body()
        peer.socket.sendall(CLOSED)

    with serving(script) as url:
        run(url.replace("http://", "http://ann:pa@"), *CREDENTIALS, *TINY)
        run(url, *TINY, env={"DRAINKIT_PROBE_BEARER": "abc", "DRAINKIT_PROBE_COOKIE": "a=1; b=2"})

    assert 6 == len(heads)
    for head in heads[:3]:
        assert 1 == head.count(b"\r\nAuthorization: ")
        assert f"\r\nAuthorization: Bearer {TOKEN}".encode() in head
        assert f"\r\nCookie: id={SESSION}; theme=midnight-blue".encode() in head
    for head in heads[3:]:
        assert b"\r\nAuthorization: Bearer abc" in head
        assert b"\r\nCookie: a=1; b=2" in head


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bearer", "Bearer hunter2"], "a bearer token is one word, without 'Bearer' in front"),
        (["--bearer", ""], "a bearer token is one word"),
        (["--bearer", "hunter2\x01"], "holds a control character"),
        (["--cookie", "hunter2"], "a cookie is given as NAME=VALUE, as in 'sessionid=...'"),
        (["--cookie", "a=hunter2, b"], "a cookie is given as NAME=VALUE"),
        (["--cookie", ";"], "a cookie is given as NAME=VALUE"),
        (["--bearer", "hunter2", "-H", "authorization: x"], "--bearer and -H 'Authorization: ...'"),
        (["--cookie", "a=hunter2", "-H", "Cookie: b=c"], "--cookie and -H 'Cookie: ...' exclude"),
    ],
)
def test_wrong_credentials_are_named_and_not_repeated(arguments, said):
    result = run("http://127.0.0.1:1/", *arguments)

    assert 2 == result.exit_code, result.output
    assert said in re.sub(r"[\s│]+", " ", result.stderr)
    assert "hunter2" not in result.output


def test_credentials_from_python():
    assert ("Authorization", "Bearer abc") == bearer_header(" abc\n")
    assert ("Cookie", "a=1; b=2; c=") == cookie_header("a=1;b=2", "c=")
    with pytest.raises(BadTargetError):
        cookie_header()


def test_what_is_no_secret_is_not_hidden():
    """A type or a version stands in every page."""
    plan = Plan(headers=(("Content-Type", "text/plain"), ("X-Api-Version", "2")))
    secrets = Secrets(Target.parse("http://a.test/?page=3"), plan)

    assert "text/plain, 2, 3, page" == secrets.hide("text/plain, 2, 3, page")


def test_credentials_that_are_not_utf_8_go_out_as_they_were_typed():
    """Python hands over such an argument with surrogates."""
    target = Target.parse("http://j\udcf6rg:pw@127.0.0.1/")

    assert "Basic " + base64.b64encode(b"j\xf6rg:pw").decode() == target.credentials


def test_credentials_in_the_url_are_hidden_in_each_form():
    secrets = Secrets(Target.parse("http://bob:pa%40sswd@a.test/?k=tok%2Den1"), Plan())
    encoded = base64.b64encode(b"bob:pa@sswd").decode()

    said = secrets.hide(f"pa@sswd pa%40sswd {encoded} tok-en1 tok%2Den1")
    assert "[hidden] [hidden] [hidden] [hidden] [hidden]" == said


def test_a_credential_is_hidden_however_short_it_is():
    """Where it stands alone; in 127 it says nothing."""
    plan = Plan(headers=(cookie_header("pin=12"), ("X-Api-Version", "7")))
    secrets = Secrets(Target.parse("http://a.test/"), plan)

    assert "[hidden] 127 [hidden] 7" == secrets.hide("12 127 pin=12 7")


@pytest.mark.parametrize(
    "spelled", ["abc/d\u00e9", r"abc\/d\u00e9", "abc\\/d\u00e9", "abc/d%C3%A9", "abc%2Fd%C3%A9"]
)
def test_a_credential_is_hidden_in_json_and_urls(spelled):
    secrets = Secrets(
        Target.parse("http://a.test/"), Plan(headers=(cookie_header("x=abc/d\u00e9"),))
    )

    assert "'[hidden]'" == secrets.hide(f"'{spelled}'")


ONE = ("--tries", "1", "--sizes", "64K", "--ways", "close", "--clients", "strict", "--timeout", "1")


@pytest.mark.parametrize(
    "script", [discarding, closing_on_uploads, malformed, gateway(b"x", from_bytes=1)]
)
def test_one_is_never_many(tmp_path, script):
    """``1 bytes``, ``1 answers`` and the like stand nowhere, with one upload and one byte."""
    before, report = tmp_path / "before.json", tmp_path / "report.html"
    with serving(script) as url:
        before.write_text(run(url, "--json", *ONE).stdout, encoding="utf-8")
        options = ("-v", "--compare", str(before), "--html", str(report), *ONE)
        seen = run(url, *options).output
    seen += report.read_text(encoding="utf-8")

    wrong = re.findall(
        r"(?<![\d.,])1 (?:(?:byte|answer|upload|trie|connection|time|row)s|\w+ (?:were|have))\b",
        seen,
    )

    assert [] == wrong
    assert "1 upload" in seen
