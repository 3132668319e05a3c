"""Try one upload by hand: ``python -m tests.servers.probe_once gunicorn-sync --wrap /413 16M``."""

import argparse
import json
import signal
import sys
from types import FrameType

from drainkit_clients import Answer, Upload, eager, slow, strict
from tests.servers.harness import ALL_SERVERS, Running, running

_UNITS = {"k": 1024, "m": 1024 * 1024}


def _size(text: str) -> int:
    unit = _UNITS.get(text[-1:].lower())
    return int(text[:-1]) * unit if unit else int(text)


def _ended(number: int, frame: FrameType | None) -> None:
    # As an exception, so that the server is stopped too.
    raise SystemExit(128 + number)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", choices=[*ALL_SERVERS, "all", "wsgi", "asgi"])
    parser.add_argument("path")
    parser.add_argument("size", type=_size, help="bytes, or with K or M")
    parser.add_argument("--wrap", action="store_true", help="with drainkit around the application")
    parser.add_argument("--policy", type=json.loads, default={}, help="fields of the policy, JSON")
    parser.add_argument("--framing", choices=["length", "chunked"], default="length")
    parser.add_argument("--connection", choices=["keep-alive", "close"], default="keep-alive")
    parser.add_argument("--client", choices=["strict", "eager", "slow"], default="strict")
    parser.add_argument(
        "--interval", type=float, default=None, help="slow: seconds between bytes; else silent"
    )
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between headers and body")
    parser.add_argument("--expect", action="store_true", help="send Expect: 100-continue")
    parser.add_argument("--method", default="POST")
    parser.add_argument("--tries", type=int, default=5)
    parser.add_argument("--timeout", type=float, default=10.0)
    parser.add_argument("--reports", action="store_true", help="print drainkit's reports")
    parser.add_argument("--log", action="store_true", help="print the server's log")
    return parser.parse_args()


def _once(server: Running, options: argparse.Namespace) -> Answer:
    upload = Upload(
        path=options.path,
        method=options.method,
        size_bytes=options.size,
        framing=options.framing,
        connection=options.connection,
        pause_seconds=options.pause,
        expect_continue=options.expect,
    )
    if options.client == "eager":
        return eager(server.address, upload, timeout_seconds=options.timeout)
    if options.client == "slow":
        return slow(
            server.address,
            upload,
            interval_seconds=options.interval,
            timeout_seconds=options.timeout,
        )
    return strict(server.address, upload, timeout_seconds=options.timeout)


def _line(answer: Answer) -> str:
    first = answer.first_byte_seconds
    return (
        f"{'ok  ' if answer.delivered else 'LOST'} status={answer.status} body={len(answer.body)} "
        f"complete={answer.complete} sent={answer.sent_bytes} first_byte="
        + ("-" if first is None else f"{first:.3f}s@{answer.sent_at_first_byte_bytes}")
        + f" seconds={answer.seconds:.3f} ended={answer.ended}"
        f" connection={answer.header('connection')}"
        + (f" error={answer.error!r}" if answer.error else "")
    )


def _main() -> int:
    signal.signal(signal.SIGTERM, _ended)
    options = _arguments()
    chosen = [s for s in ALL_SERVERS.values() if options.server in ("all", s.name, s.interface)]
    lost = 0
    for server in chosen:
        with running(server, wrap=options.wrap, policy=options.policy) as started:
            for _ in range(options.tries):
                answer = _once(started, options)
                lost += not answer.delivered
                print(f"{server.name:18} {_line(answer)}", flush=True)
            if options.reports:
                print(*map(json.dumps, started.reports()), sep="\n")
            if options.log:
                print(started.log(20000))
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(_main())
