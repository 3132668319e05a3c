"""Reverse proxies in subprocesses, in front of a server that runs, and certificates for TLS."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_READY_SECONDS = 10.0
_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.05

Address = tuple[str, int]

_NGINX = """
daemon off; master_process off; pid nginx.pid; error_log stderr warn;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  client_max_body_size 0;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{behind};
      proxy_http_version 1.1;
      proxy_request_buffering off;
    }}
  }}
}}
"""

_HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 20s
  timeout server 20s
listen proxy
  bind 127.0.0.1:{port}
  server behind 127.0.0.1:{behind}
"""


def _nginx(folder: Path, program: str) -> list[str]:
    return [program, "-p", str(folder), "-e", "stderr", "-c", str(folder / "proxy.conf")]


def _haproxy(folder: Path, program: str) -> list[str]:
    return [program, "-db", "-f", str(folder / "proxy.conf")]


PROXIES: dict[str, tuple[str, Callable[[Path, str], list[str]]]] = {
    "nginx": (_NGINX, _nginx),
    "haproxy": (_HAPROXY, _haproxy),
}


def _program(name: str) -> str:
    # Debian keeps servers where only root's PATH looks.
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    program = shutil.which(name, path=path)
    if program is None:
        pytest.skip(f"needs {name}")
    return program


@contextlib.contextmanager
def in_front_of(address: Address, name: str) -> Iterator[Address]:
    """Run a proxy in front of a server until the block ends; skip where there is no such program.

    Args:
        address: Where the server listens.
        name: A key of ``PROXIES``.
    """
    template, command = PROXIES[name]
    program = _program(name)
    with tempfile.TemporaryDirectory(prefix="drainkit-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        config = template.format(port=port, behind=address[1])
        (folder / "proxy.conf").write_text(config, encoding="utf-8")
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command(folder, program),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _wait_until_ready(process, port, folder / "log")
            yield ("127.0.0.1", port)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(_STOP_SECONDS)


def _wait_until_ready(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(encoding="utf-8", errors="replace")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(_POLL_SECONDS)
    raise AssertionError(log.read_text(encoding="utf-8", errors="replace"))


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that nobody has signed; return it and its key.

    Args:
        folder: Where they are put.
    """
    key, made = folder / "key.pem", folder / "certificate.pem"
    names = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run(
        [
            *(_program("openssl"), "req", "-x509", "-newkey", "ec"),
            *("-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", key, "-out", made, *names),
        ],
        check=True,
        capture_output=True,
        timeout=20,
    )
    return made, key
