"""Measure drainkit under load: ``python -m tests.load slow-drains``, ``... soak`` and ``... link``.

Each prints tables, and writes ``docs/load.json`` and ``docs/explanation/load.md``.
"""

import argparse
import dataclasses
import shlex
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from tests.load import machine, over_link, page, record, servers, slow_drains, soak
from tests.load.processes import LimitError
from tests.revision import revision
from tests.servers.harness import ServerError

_QUICK_MINUTES = 1.5


def main() -> int:
    """Do what the command line says; return the exit status."""
    signal.signal(signal.SIGTERM, _ended)
    options = _arguments()
    if options.command == "page":
        page.write()
        return 0
    revision()  # asked for now: what takes an hour was of this commit
    try:
        measured = _MEASURE[options.command](options)
    except LimitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ServerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing was recorded", file=sys.stderr)
        return 130
    made = machine.described(
        shlex.join(["python", "-m", "tests.load", *sys.argv[1:]]),
        servers.packages(measured["servers"]),
    )
    measured = {"made": {**made, "quick": options.quick}, **measured}
    for table in _TABLES[options.command]:
        print(f"\n{table(measured)}")
    if options.record is not None:
        record.save(options.command, measured, options.record)
        print(f"\nrecorded in {options.record}")
        if options.record == record.RECORD:
            page.write()
            print(f"written: {page.PAGE}")
    found = record.misses(options.command, measured)
    print("", *(found or ["everything is as wanted"]), sep="\n")
    return 1 if found else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    slow = commands.add_parser("slow-drains", help="what slow drains cost everybody else")
    _add_common(slow, slow_drains.TARGETS, slow_drains.DEFAULT_TARGETS)
    slow.add_argument("--rounds", type=_count, help="how often each state is measured")
    slow.add_argument("--clients", type=_count, help="slow clients at once; 500 if not given")
    soaking = commands.add_parser("soak", help="minutes of good and bad clients")
    _add_common(soaking, soak.NAMES, tuple(soak.NAMES))
    soaking.add_argument("--minutes", type=_minutes, help="10 unless --quick")
    over = commands.add_parser("link", help="minutes of uploads over a link, which needs root")
    _add_common(over, over_link.NAMES, over_link.NAMES)
    over.add_argument("--minutes", type=_minutes, help="10 unless --quick")
    over.add_argument("--uploads", type=_count, help=f"at once; {over_link.UPLOADS} if not given")
    commands.add_parser("page", help="write the page from the record")
    options = parser.parse_args()
    if options.command != "page" and options.record is None and not options.quick:
        options.record = record.RECORD
    return options


def _add_common(
    parser: argparse.ArgumentParser, known: Iterable[str], default: tuple[str, ...]
) -> None:
    parser.add_argument(
        *("--servers", "-s"),
        nargs="+",
        choices=list(known),
        default=list(default),
        metavar="SERVER",
        help=f"of {', '.join(known)}; {', '.join(default)} if not given",
    )
    parser.add_argument("--quick", action="store_true", help="only try whether everything works")
    parser.add_argument(
        "--record",
        type=lambda text: Path(text).resolve(),
        help="the file to record in; docs/load.json, or none with --quick, if not given",
    )


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of 1 or more, not {text!r}")
    return int(text)


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes <= _MOST_MINUTES:
        raise argparse.ArgumentTypeError(
            f"must be a number above 0 and up to {_MOST_MINUTES}, not {text!r}"
        )
    return minutes


_MOST_MINUTES = 24 * 60


def _slow_drains(options: argparse.Namespace) -> dict[str, Any]:
    plan = slow_drains.QUICK if options.quick else slow_drains.Plan()
    given = {"rounds": options.rounds, "clients": options.clients}
    plan = dataclasses.replace(plan, **{name: n for name, n in given.items() if n is not None})
    return slow_drains.measured(options.servers, plan, _say)


def _soak(options: argparse.Namespace) -> dict[str, Any]:
    minutes = options.minutes or (_QUICK_MINUTES if options.quick else 10.0)
    return soak.measured(options.servers, minutes, _say)


def _link(options: argparse.Namespace) -> dict[str, Any]:
    minutes = options.minutes or (_QUICK_MINUTES if options.quick else 10.0)
    uploads = options.uploads or (over_link.UPLOADS // 10 if options.quick else over_link.UPLOADS)
    return over_link.measured(options.servers, minutes, uploads, _say)


_MEASURE = {"slow-drains": _slow_drains, "soak": _soak, "link": _link}
_TABLES = {
    "slow-drains": (page.waits_table, page.extra_table, page.capacity_table, page.memory_table),
    "soak": (page.answers_table, page.rests_table),
    "link": (page.uploads_table, page.rests_table),
}


def _say(text: str) -> None:
    print(text, flush=True)


def _ended(number: int, frame: FrameType | None) -> None:
    # As an exception, so that the servers and the slow clients are stopped too.
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
