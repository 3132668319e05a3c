"""Measure what is lost without drainkit, for the table ``LOST_WITHOUT`` of ``test_delivery``.

``python -m tests.servers.measure [--wrap] [--tries 20] [SERVER ...]`` prints, for each server and
case, how many tries did not bring the right answer.
"""

import argparse
import signal
import sys
from types import FrameType

from drainkit_clients import Connection
from tests.servers.cases import CASES, TIMEOUT_SECONDS, TIMEOUT_WITHOUT_SECONDS, Case
from tests.servers.harness import SERVERS, Running, running


def _ended(number: int, frame: FrameType | None) -> None:
    # As an exception, so that the server is stopped too.
    raise SystemExit(128 + number)


def _losses(
    server: Running, case: Case, tries: int, timeout_seconds: float
) -> tuple[int, int, str]:
    lost, first = 0, ""
    for number in range(1, tries + 1):
        try:
            with Connection(server.address) as connection:
                problem = case.problem(case.run(connection, timeout_seconds=timeout_seconds))
        except OSError as error:
            problem = f"{type(error).__name__} while connecting"
        if problem:
            lost += 1
            first = first or problem
            if "TimeoutError" in problem and number >= 3:
                # A deadlock is the same each time, and slow.
                return lost, number, first
    return lost, tries, first


def _main() -> int:
    signal.signal(signal.SIGTERM, _ended)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("servers", nargs="*", metavar="SERVER")
    parser.add_argument("--wrap", action="store_true", help="with drainkit")
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--case", action="append", choices=list(CASES))
    options = parser.parse_args()
    timeout_seconds = TIMEOUT_SECONDS if options.wrap else TIMEOUT_WITHOUT_SECONDS
    total = 0
    for name in options.servers or SERVERS:
        with running(SERVERS[name], wrap=options.wrap) as server:
            for case in map(CASES.__getitem__, options.case or CASES):
                lost, tries, problem = _losses(server, case, options.tries, timeout_seconds)
                total += lost
                print(f"{name:18} {case.name:28} {lost:2}/{tries:2} {problem}", flush=True)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(_main())
