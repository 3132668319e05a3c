"""Run the benchmarks: ``nox -s bench``, or ``python -m tests.bench [--quick] [--only SECTION]``.

``-s SERVER`` measures that server only, which is for looking and not for the page.
"""

import argparse
import dataclasses
import datetime
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from tests.bench import (
    discarding,
    floors,
    growth,
    import_time,
    instructions,
    per_request,
    profiled,
    reading,
    server_instructions,
    slow_drains,
    time_to_answer,
    whole_servers,
)
from tests.bench.bench import Bench, say
from tests.bench.machine import machine, versions
from tests.bench.page import write
from tests.bench.results import JSON_PATH, Results, ResultsError, Section, load, save
from tests.bench.served import ROWS
from tests.bench.table import text
from tests.bench.targets import judged
from tests.revision import revision

SECTIONS: dict[str, Callable[[Bench], None]] = {
    "per request": per_request.run,
    "instructions": instructions.run,
    "floors": floors.run,
    "profile": profiled.run,
    "import": import_time.run,
    "reading": reading.run,
    "discarding": discarding.run,
    "answer": time_to_answer.run,
    "servers": whole_servers.run,
    "server instructions": server_instructions.run,
    "growth": growth.run,
    "slow drains": slow_drains.run,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return the exit status: 0, or 1 if something could not be measured."""
    signal.signal(signal.SIGTERM, _ended)
    options = _options(arguments)
    if options.list:
        print(*SECTIONS, sep="\n")
        return 0
    chosen = options.only or list(SECTIONS)
    results = Results(machine=machine(), versions=versions(), sections={})
    if options.only and options.output.exists():
        try:
            results = _same(load(options.output), results)
        except ResultsError as error:
            say(f"error: {error}")
            return 1
    failed = []
    for name in chosen:
        try:
            results.sections[name] = _measure(name, options)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            # A server that ended, or a machine that was too busy: the other sections stand.
            say(f"error: {name}: {error}")
            failed.append(name)
            continue
        # After each: what has taken minutes is not lost with what comes later.
        results = _in_order(results)
        save(results, options.output)
    print(text(results))
    if failed:
        again = shlex.join(word for name in failed for word in ("--only", name))
        say(f"not measured: {', '.join(failed)}; the others are kept, so that this does: {again}")
        return 1
    verdicts = [target.verdict(figure).startswith("met") for target, figure in judged(results)]
    print(f"\n{sum(verdicts)} of {len(verdicts)} figures meet their target")
    if options.output == JSON_PATH:
        write(results)
    return 0


def _in_order(results: Results) -> Results:
    sections = {name: results.sections[name] for name in SECTIONS if name in results.sections}
    return dataclasses.replace(results, sections=sections)


def _measure(name: str, options: argparse.Namespace) -> Section:
    revision()  # asked for before anything is measured
    bench = Bench(options.quick, options.server)
    started = time.monotonic()
    SECTIONS[name](bench)
    seconds = time.monotonic() - started
    say(f"{name}: {len(bench.figures)} figures in {seconds:.0f} s")
    command = ["nox", "-s", "bench"]
    if options.only or options.quick:
        # As it was asked for, but for what makes no difference to the figures.
        command += ["--", *(["--quick"] if options.quick else [])]
        command += [word for section in options.only or [] for word in ("--only", section)]
    return Section(
        name=name,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        command=shlex.join(command),
        seconds=round(seconds, 1),
        quick=bench.quick,
        skipped=tuple(bench.skipped),
        figures=tuple(bench.figures),
        commit=revision(),
    )


def _same(before: Results, now: Results) -> Results:
    """Return what was measured before, if it was on the same machine with the same versions."""
    for what in ("machine", "versions"):
        old, new = getattr(before, what), getattr(now, what)
        different = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        if different:
            raise ResultsError(
                f"the file holds figures of another {', '.join(different)}, and one page must not "
                f"mix them; run the whole benchmark, or write elsewhere with --output"
            )
    return before


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s bench --", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller samples")
    parser.add_argument(
        "--only",
        action="append",
        choices=list(SECTIONS),
        metavar="SECTION",
        help=f"one section, may be repeated: {', '.join(SECTIONS)}",
    )
    parser.add_argument(
        "-s",
        "--server",
        action="append",
        default=[],
        choices=list(ROWS),
        metavar="SERVER",
        help=f"one server, may be repeated; needs --output: {', '.join(ROWS)}",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=JSON_PATH,
        metavar="FILE",
        help="write the figures there, and no page",
    )
    parser.add_argument("--list", action="store_true", help="print the sections and stop")
    options = parser.parse_args(arguments)
    if options.server and options.output == JSON_PATH:
        parser.error("--server needs --output: the page is about all of them")
    return options


def _ended(number: int, frame: FrameType | None) -> None:
    # As an exception, so that the servers are stopped too.
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
