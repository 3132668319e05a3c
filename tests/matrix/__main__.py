"""Measure the delivery matrix: ``python -m tests.matrix [--servers ...] [--clients ...]``.

Without a choice it measures everything, writes ``docs/matrix.json`` and from it the page and the
picture. With one, what was measured takes its place in what stands there. ``--link NAME`` lays an
emulated link between clients and servers, and writes ``docs/matrix-link-NAME.json`` and the page of
the links. ``--again`` tries what was lost with drainkit once more, with it and without, and adds to
the tries that stand there.
"""

import argparse
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from tests.clients.clients import CLIENTS
from tests.link import page as links_page
from tests.link.emulated import unavailable
from tests.link.links import LINKS
from tests.matrix import page, plan, results
from tests.matrix.deployments import DEPLOYMENTS
from tests.matrix.run import Run, Unit

_BAD_ARGUMENTS = 2
_INTERRUPTED = 130


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    listed = "separated by commas"
    parser.add_argument(
        "--servers", type=_names, default=[], help=f"servers or deployments, {listed}"
    )
    parser.add_argument("--clients", type=_names, default=[], help=f"clients, {listed}")
    parser.add_argument("--cases", type=_names, default=[], help=f"cases, {listed}")
    parser.add_argument("--tries", type=_positive, default=plan.TRIES, help="for each cell")
    parser.add_argument("--link", choices=list(LINKS), help="what lies between")
    parser.add_argument("--traces", type=Path, help="a folder for the packets of what is lost")
    parser.add_argument("--at-once", type=_positive, default=2, help="deployments at a time")
    parser.add_argument("--only", choices=[results.WITH, results.WITHOUT], help="with drainkit?")
    parser.add_argument(
        "--again", action="store_true", help="only what is lost with drainkit, and add its tries"
    )
    parser.add_argument("--json", type=Path, help="where it is written")
    parser.add_argument("--list", action="store_true", help="list all names and measure nothing")
    parser.add_argument(
        "--page", action="store_true", help="write page and picture again from the JSON, only"
    )
    options = parser.parse_args(arguments)
    if options.json is None:
        options.json = (
            results.JSON_PATH if options.link is None else results.link_path(options.link)
        )
    return options


def _ended(number: int, frame: FrameType | None) -> None:
    # As Ctrl-C: clients and servers are stopped too.
    raise KeyboardInterrupt


def _say(words: str) -> None:
    print(words, flush=True)


def _units(options: argparse.Namespace) -> list[Unit]:
    halves = {results.WITH: [True], results.WITHOUT: [False], None: [False, True]}[options.only]
    chosen = [
        (row, plan.cells(row, options.clients, options.cases, options.tries, options.link))
        for row in plan.deployments(options.servers, options.link)
    ]
    if options.again:
        lost = results.lost(results.load(options.json))
        chosen = [
            (row, [cell for cell in cells if (row.name, cell.client.name, cell.case.name) in lost])
            for row, cells in chosen
        ]
    units = [Unit(row, wrap, cells) for row, cells in chosen if cells for wrap in halves]
    if options.link is not None:
        # Those that take longest begin first: nothing waits for them in the end.
        units.sort(key=lambda unit: (unit.wrap, len(unit.cells)), reverse=True)
    return units


def _written(options: argparse.Namespace) -> list[Path]:
    """Write what is made from the JSON; return where it is."""
    if options.link is None:
        return page.write(options.json)
    # The page shows all links: a file that stands elsewhere is in none.
    is_shown = options.json == results.link_path(options.link)
    return links_page.write() if is_shown else []


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    options = _arguments(arguments)
    if options.list:
        _say("servers: " + ", ".join(DEPLOYMENTS))
        _say("clients: " + ", ".join(CLIENTS))
        _say("cases: " + ", ".join(plan.CASE_NAMES))
        return 0
    if not options.json.parent.is_dir():
        # Before anything is measured in vain.
        print(f"error: no folder {options.json.parent}; make it first", file=sys.stderr)
        return _BAD_ARGUMENTS
    if not options.page:
        try:
            units = _units(options)
        except plan.UnknownError as error:
            print(f"error: {error}", file=sys.stderr)
            return _BAD_ARGUMENTS
        if not units:
            _say("there is nothing to measure")
            return 0
        if options.link is not None and (why := unavailable()):
            print(f"error: {why}", file=sys.stderr)
            return _BAD_ARGUMENTS
        link = None if options.link is None else LINKS[options.link]
        signal.signal(signal.SIGTERM, _ended)
        try:
            done = Run(
                units, say=_say, at_once=options.at_once, link=link, traces=options.traces
            ).measure()
        except KeyboardInterrupt:
            print("interrupted; nothing is written", file=sys.stderr)
            return _INTERRUPTED
        # Where the packets are kept is nothing to repeat.
        words = [word for word in sys.argv[1:] if word not in ("--traces", str(options.traces))]
        command = shlex.join(["nox", "-s", "matrix", *(["--", *words] if words else [])])
        matrix = results.merged(
            results.load(options.json),
            done,
            command=command,
            tries=options.tries,
            link=link,
            again=options.again,
        )
        options.json.write_text(results.text(matrix), encoding="utf-8")
        _say(f"wrote {options.json}")
    for path in _written(options):
        _say(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
