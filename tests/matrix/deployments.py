"""What the matrix is measured on: a server, alone or behind a proxy, in one protocol of HTTP.

To add a deployment, add a row to ``_all``. A row names a server of ``harness.ALL_SERVERS``, or none
(None) or one of ``proxies.ALL_PROXIES`` in front of it, or ``OVER_UNIX``, and a protocol:

- ``h1``: plain HTTP/1.1. ``tls``: HTTP/1.1 over TLS (the server's row needs ``tls_arguments``).
- ``h2c``: HTTP/2 with prior knowledge. ``h2``: HTTP/2 over TLS.

A cell that cannot be green, whatever drainkit does, gets a row in ``REASONS``. ``started`` is all
that the runner calls: it yields where a client finds the deployment, and raises `DeploymentError`
with the end of a log where there is nothing to find. ``proxies.in_front_of(address, name)`` must
raise (RuntimeError, AssertionError or OSError) rather than skip; ``Deployment.missing`` asks
``proxies.missing(name)`` first.
"""

import contextlib
import functools
import importlib.metadata
import platform
import re
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.servers import harness, proxies
from tests.servers.cannot import BEHIND, CANNOT

Protocol = Literal["h1", "tls", "h2c", "h2"]

# nginx that reaches the server over a Unix socket; not a proxy in front of an address.
OVER_UNIX = "nginx-unix"

_VERSION_SECONDS = 10.0


class DeploymentError(RuntimeError):
    """A deployment cannot be measured; the text says why, for its cells."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a client finds a deployment that runs.

    Attributes:
        address: Host and port.
        protocol: What is spoken there.
        ssl_context: What a client written in Python speaks TLS with; None for plain TCP.
        running: The server itself, for its log and drainkit's reports.
    """

    address: tuple[str, int]
    protocol: Protocol
    ssl_context: ssl.SSLContext | None
    running: harness.Running

    @property
    def url(self) -> str:
        """The address as a URL without a path."""
        scheme = "http" if self.ssl_context is None else "https"
        return f"{scheme}://{self.address[0]}:{self.address[1]}"


@dataclass(frozen=True, slots=True)
class Deployment:
    """One row of the matrix.

    Attributes:
        server: A key of ``harness.ALL_SERVERS``.
        proxy: A key of ``proxies.ALL_PROXIES``, or ``OVER_UNIX``; None for a server that the
            clients reach directly.
        protocol: What the clients speak.
    """

    server: str
    proxy: str | None = None
    protocol: Protocol = "h1"

    @property
    def name(self) -> str:
        """What the command line and the page call it, as in ``nginx>gunicorn-sync`` or ``x:h2``."""
        front = "" if self.proxy is None else f"{self.proxy}>"
        behind = "" if self.protocol == "h1" else f":{self.protocol}"
        return f"{front}{self.server}{behind}"

    def missing(self) -> str | None:
        """Return the first thing that it needs and that is not here; None if it can start."""
        absent = self._row().missing()
        if absent is None and self._front is not None:
            absent = proxies.missing(self._front)
        if absent is None and self.protocol in ("tls", "h2"):
            absent = None if harness.find_program("openssl") else "openssl"
        return absent

    @contextlib.contextmanager
    def started(self, *, wrap: bool) -> Iterator[Target]:
        """Run it until the block ends.

        Args:
            wrap: Whether drainkit is around the application.

        Raises:
            DeploymentError: If it cannot start here.
        """
        with contextlib.ExitStack() as stack:
            try:
                target = self._target(stack, wrap=wrap)
            except DeploymentError:
                raise
            except (RuntimeError, AssertionError, OSError, subprocess.SubprocessError) as no:
                raise DeploymentError(f"did not start: {no}") from no
            yield target

    def _target(self, stack: contextlib.ExitStack, *, wrap: bool) -> Target:
        if absent := self.missing():
            raise DeploymentError(f"needs {absent}")
        server = self._row()
        if self.protocol in ("tls", "h2"):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="drainkit-tls-"))
            server = harness.secured(self.server, *proxies.certificate(Path(folder)))
        running = stack.enter_context(harness.running(server, wrap=wrap))
        address = running.address
        if self._front is not None:
            address = stack.enter_context(proxies.in_front_of(address, self._front))
        return Target(address, self.protocol, server.ssl_context, running)

    def versions(self) -> dict[str, str]:
        """Return the versions of what takes part, by name."""
        row = self._row()
        found = {} if row.requires else {"Python": platform.python_version()}
        found |= {name: version for name in row.requires if (version := _module_version(name))}
        programs = list(row.programs)
        if self._front is not None:
            programs.append(proxies.ALL_PROXIES[self._front].program)
        found |= {name: version for name in programs if (version := program_version(name))}
        return found

    @property
    def _front(self) -> str | None:
        """The proxy that is started once the server runs."""
        return None if self.proxy == OVER_UNIX else self.proxy

    def _row(self) -> harness.Server:
        row = harness.ALL_SERVERS[self.server]
        return harness.over_unix(row) if self.proxy == OVER_UNIX else row


def _all() -> Iterator[Deployment]:
    for name in harness.ALL_SERVERS:
        yield Deployment(name)
    for proxy in (*proxies.ALL_PROXIES, OVER_UNIX):
        for server in (
            "gunicorn-sync",
            "gunicorn-gthread",
            "uvicorn-h11",
            "hypercorn-asyncio",
            "granian-asgi",
        ):
            yield Deployment(server, proxy)
    for server, row in harness.ALL_SERVERS.items():
        if row.tls_arguments:
            yield Deployment(server, protocol="tls")
    for server in ("hypercorn-asyncio", "hypercorn-trio", "granian-asgi", "granian-wsgi"):
        yield Deployment(server, protocol="h2c")
        yield Deployment(server, protocol="h2")


DEPLOYMENTS: dict[str, Deployment] = {row.name: row for row in _all()}

# Cells that drainkit cannot make green, and why: (deployment, client, case), * for every one.
REASONS: dict[tuple[str, str, str], str] = {
    (name, "*", case): why
    for name, row in DEPLOYMENTS.items()
    for (what, case), why in (CANNOT | BEHIND).items()
    if what in (row.server, row.proxy)
}


def reason(deployment: str, client: str, case: str) -> str | None:
    """Return why a cell cannot be green; None where it must be."""
    for (one, two, three), why in REASONS.items():
        if one in ("*", deployment) and two in ("*", client) and three in ("*", case):
            return why
    return None


@functools.cache
def _module_version(name: str) -> str | None:
    names = importlib.metadata.packages_distributions().get(name, [])
    return importlib.metadata.version(names[0]) if names else None


@functools.cache
def program_version(name: str) -> str | None:
    """Return what a program says of its version, or None; each has its own way to be asked."""
    program = harness.find_program(name)
    if program is None:
        return None
    for option in ("--version", "-v", "version"):
        try:
            said = subprocess.run(
                [program, option],
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=_VERSION_SECONDS,
                check=False,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        found = re.search(rb"(?:^|[/ v])(\d+(?:\.\d+)+)", said.stdout + said.stderr)
        if said.returncode == 0 and found:
            return found[1].decode()
    return None
