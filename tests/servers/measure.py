"""Measure what is lost without drainkit, for the table ``LOST_WITHOUT`` of ``test_delivery``.

``python -m tests.servers.measure [--wrap] [--tries 20] [--tls] [--proxy NAME] [SERVER ...]``
prints, for each server and case, how many tries did not bring the right answer.
"""

import argparse
import contextlib
import dataclasses
import signal
import ssl
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from drainkit_conformance import judge
from tests.servers.cases import CASES, TIMEOUT_SECONDS, TIMEOUT_WITHOUT_SECONDS, Case
from tests.servers.harness import ALL_SERVERS, running, secured
from tests.servers.proxies import PROXIES, Address, certificate, in_front_of


def _ended(number: int, frame: FrameType | None) -> None:
    # As an exception, so that the server is stopped too.
    raise SystemExit(128 + number)


@contextlib.contextmanager
def _deployed(
    name: str, options: argparse.Namespace
) -> Iterator[tuple[Address, ssl.SSLContext | None]]:
    """Run a server as the options want it; yield where clients find it, and how."""
    with contextlib.ExitStack() as stack:
        server = ALL_SERVERS[name]
        if options.tls:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="drainkit-tls-"))
            server = secured(name, *certificate(Path(folder)))
        started = stack.enter_context(running(server, wrap=options.wrap))
        address = started.address
        if options.proxy:
            address = stack.enter_context(in_front_of(address, options.proxy))
        yield address, server.ssl_context


def _losses(
    address: Address,
    ssl_context: ssl.SSLContext | None,
    case: Case,
    tries: int,
    timeout_seconds: float,
) -> tuple[int, int, str]:
    lost, first = 0, ""
    for number in range(1, tries + 1):
        (only,) = judge(
            case, address, tries=1, timeout_seconds=timeout_seconds, ssl_context=ssl_context
        ).tries
        if only.problem:
            lost += 1
            first = first or only.problem
            if "TimeoutError" in only.problem and number >= 3:
                # A deadlock is the same each time, and slow.
                return lost, number, first
    return lost, tries, first


@contextlib.contextmanager
def _deployed(
    name: str, options: argparse.Namespace
) -> Iterator[tuple[Address, ssl.SSLContext | None]]:
    with contextlib.ExitStack() as stack:
        server = ALL_SERVERS[name]
        if options.tls:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="drainkit-"))
            server = secured(name, *certificate(Path(folder)))
        address = stack.enter_context(running(server, wrap=options.wrap)).address
        if options.proxy:
            address = stack.enter_context(in_front_of(address, options.proxy))
        yield address, server.ssl_context


def _main() -> int:
    signal.signal(signal.SIGTERM, _ended)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("servers", nargs="*", metavar="SERVER")
    parser.add_argument("--wrap", action="store_true", help="with drainkit")
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--case", action="append", choices=list(CASES))
    parser.add_argument("--tls", action="store_true", help="over TLS")
    parser.add_argument("--proxy", choices=list(PROXIES), help="with this in front")
    parser.add_argument("--eager", action="store_true", help="read while sending, in every case")
    options = parser.parse_args()
    timeout_seconds = TIMEOUT_SECONDS if options.wrap else TIMEOUT_WITHOUT_SECONDS
    cases = [CASES[name] for name in options.case or CASES]
    if options.eager:
        cases = [dataclasses.replace(case, client="eager") for case in cases]
    total = 0
    for name in options.servers or ALL_SERVERS:
        with _deployed(name, options) as (address, context):
            for case in cases:
                lost, tries, problem = _losses(
                    address, context, case, options.tries, timeout_seconds
                )
                total += lost
                print(f"{name:18} {case.name:28} {lost:2}/{tries:2} {problem}", flush=True)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(_main())
