"""What the page says of servers can be seen on them, with its own files and without drainkit."""

import importlib.util
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.as_on_a_page import wait_until_ready
from tests.servers.harness import reserved_port, start_logged, stop
from tests.servers.proxies import certificate

pytestmark = pytest.mark.server

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "found-in-servers.md"
FILES = dict(
    re.findall(
        r"^```\{code-block\} py\n:caption: (\w+\.py)\n\n(.*?)^```$",
        PAGE.read_text(encoding="utf-8"),
        re.M | re.S,
    )
)
LISTEN = "127.0.0.1:{port}"
SERVERS = {
    "hypercorn-asyncio": ("hypercorn", "-k", "asyncio", "-b", LISTEN, "early_asgi:app"),
    "hypercorn-trio": ("hypercorn", "-k", "trio", "-b", LISTEN, "early_asgi:app"),
    "granian-asgi": ("granian", "--interface", "asgi", "--port", "{port}", "granian_app:app"),
    "granian-wsgi": ("granian", "--interface", "wsgi", "--port", "{port}", "early_wsgi:app"),
    "uvicorn": ("uvicorn", "--port", "{port}", "early_asgi:app"),
    **{
        f"hypercorn-{worker}-h3": (
            *("hypercorn", "-k", worker, "-b", LISTEN, "--quic-bind", "127.0.0.1:{quic}"),
            *("--certfile", "certificate.pem", "--keyfile", "key.pem", "early_asgi:app"),
        )
        for worker in ("asyncio", "trio")
    },
    "django": ("gunicorn", "--no-control-socket", "-b", LISTEN, "django_upload:app"),
    "gunicorn": ("gunicorn", "--no-control-socket", "-b", LISTEN, "early_wsgi:app"),
}
H2 = ("h2_upload.py", "http://127.0.0.1:{port}/")
H3 = ("h3_upload.py", "{quic}")
NEEDED = {H2: ("httpx", "h2"), H3: ("aioquic",)}
LIMIT_SECONDS = 60.0
# Most of these are races; each is lost most of the time.
TRIES = 20


@pytest.fixture
def port():
    with reserved_port() as reserved:
        yield reserved


def free_udp_port():
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("server", "client", "seen", "log", "ends"),
    [
        ("hypercorn-asyncio", H2, "Error", "KeyError: 1", False),
        ("hypercorn-trio", H2, "Error", "KeyError: 1", True),
        ("hypercorn-asyncio-h3", H3, "2 TimeoutError()", "", False),
        ("hypercorn-trio-h3", H3, "2 TimeoutError()", "KeyError: 0", True),
        ("django", ("send_form.py", "{port}", "8000000"), "Error(", "", False),
        ("hypercorn-asyncio", ("send_all.py", "{port}", "8000000"), "Error(", "", False),
        ("granian-asgi", ("send_all.py", "{port}", "16000000"), "", "http.disconnect ins", False),
        ("granian-wsgi", ("send_all.py", "{port}", "10"), "413", "False\n", False),
        ("gunicorn", ("send_all.py", "{port}", "10"), "413", "True\n", False),
        ("uvicorn", ("send_all.py", "{port}", "100000000"), "413", "", False),
        ("gunicorn", ("send_all.py", "{port}", "60000"), "413", "", False),
        ("gunicorn", ("send_all.py", "{port}", "8000000"), "Error(", "", False),
    ],
)
def test_a_fault_of_a_server_is_seen_as_the_page_says(
    tmp_path, port, server, client, seen, log, ends
):
    django = ("django",) if server == "django" else ()
    for needed in (SERVERS[server][0], *NEEDED.get(client, ()), *django):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"needs {needed}")
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    ports = {"port": port, "quic": free_udp_port()}
    tls = certificate(tmp_path) if client is H3 else None
    log_path = tmp_path / "log"
    process = start_logged(
        [sys.executable, "-m", *(word.format(**ports) for word in SERVERS[server])],
        tmp_path,
        log_path,
        {"PYTHONPATH": str(tmp_path), "PYTHONUNBUFFERED": "1"},
    )
    try:
        wait_until_ready(process, port, log_path, tls=tls is not None)
        for _ in range(TRIES):
            ran = subprocess.run(
                [sys.executable, *(word.format(**ports) for word in client)],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=True,
                timeout=LIMIT_SECONDS,
            )
            written = log_path.read_text(encoding="utf-8", errors="replace")
            # Over HTTP/3 a server tells of its end when it is stopped, or not at all.
            if seen in ran.stdout and (log in written or client is H3):
                break
        if ends:
            process.wait(LIMIT_SECONDS)
    finally:
        stop(process)

    written = log_path.read_text(encoding="utf-8", errors="replace")
    assert seen in ran.stdout
    assert log in written, written
