"""Reverse proxies in subprocesses, in front of a server that runs, and certificates for TLS."""

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.harness import find_program, reserved_port, start_logged, stop

_READY_SECONDS = 10.0
_POLL_SECONDS = 0.05

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Proxy:
    """One row of the table.

    Attributes:
        name: What the tests call it.
        program: What has to be installed.
        config: Its configuration; ``{port}`` and ``{behind}`` (the server's port) are filled in.
        arguments: The arguments of the program; ``{folder}`` and ``{config}`` are filled in.
        notes: What is special about this row.
    """

    name: str
    program: str
    config: str
    arguments: tuple[str, ...]
    notes: str = ""


def _nginx(name: str, version: str, *, buffered: bool = False) -> Proxy:
    config = """
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
      proxy_http_version %s;
      proxy_request_buffering %s;
    }}
  }}
}}
"""
    arguments = ("-p", "{folder}", "-e", "stderr", "-c", "{config}")
    buffering = "on" if buffered else "off"
    notes = f"proxy_request_buffering {buffering}; HTTP/{version} to the server"
    return Proxy(name, "nginx", config % (version, buffering), arguments, notes)


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

_APACHE = """
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
PidFile apache.pid
ErrorLog /dev/stderr
DefaultRuntimeDir .
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
<IfModule unixd_module>
  User www-data
  Group www-data
</IfModule>
StartServers 1
ProxyPass / http://127.0.0.1:{behind}/
"""

_CADDY = """
{{
  admin off
  auto_https off
}}
http://127.0.0.1:{port} {{
  reverse_proxy 127.0.0.1:{behind}
}}
"""

PROXIES: dict[str, Proxy] = {
    proxy.name: proxy
    for proxy in (
        _nginx("nginx", "1.1"),
        _nginx("nginx-1.0", "1.0"),
        Proxy("haproxy", "haproxy", _HAPROXY, ("-db", "-f", "{config}")),
        Proxy(
            "apache",
            "apache2",
            _APACHE,
            ("-DFOREGROUND", "-d", "{folder}", "-f", "{config}"),
            "mod_proxy_http",
        ),
        Proxy("caddy", "caddy", _CADDY, ("run", "--config", "{config}", "--adapter", "caddyfile")),
    )
}

# The matrix alone has these: nginx as it comes reads the whole upload before it asks the server.
ALL_PROXIES: dict[str, Proxy] = {
    **PROXIES,
    "nginx-buffered": _nginx("nginx-buffered", "1.1", buffered=True),
}


def missing(name: str) -> str | None:
    """Return the program that a proxy needs and that is not here; None if it can start."""
    program = ALL_PROXIES[name].program
    return program if find_program(program) is None else None


@contextlib.contextmanager
def in_front_of(address: Address, name: str) -> Iterator[Address]:
    """Run a proxy in front of a server until the block ends.

    Args:
        address: Where the server listens.
        name: A key of ``ALL_PROXIES``; its program must be there (`missing`).
    """
    proxy = ALL_PROXIES[name]
    program = find_program(proxy.program)
    assert program is not None, f"needs {proxy.program}"
    with (
        tempfile.TemporaryDirectory(prefix="drainkit-", ignore_cleanup_errors=True) as folder,
        reserved_port() as port,
    ):
        config = Path(folder, "proxy.conf")
        config.write_text(proxy.config.format(port=port, behind=address[1]), encoding="utf-8")
        log_path = Path(folder, "log")
        process = start_logged(
            [program, *(a.format(folder=folder, config=config) for a in proxy.arguments)],
            Path(folder),
            log_path,
            {"HOME": folder, "XDG_DATA_HOME": folder},
        )
        try:
            _wait_until_ready(process, port, log_path)
            yield ("127.0.0.1", port)
        finally:
            stop(process)


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
    program = find_program("openssl")
    if program is None:
        pytest.skip("needs openssl")
    key, made = folder / "key.pem", folder / "certificate.pem"
    names = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run(
        [
            *(program, "req", "-x509", "-newkey", "ec"),
            *("-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", key, "-out", made, *names),
        ],
        check=True,
        capture_output=True,
        timeout=20,
    )
    return made, key
