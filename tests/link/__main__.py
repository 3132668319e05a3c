"""Measure when the answer is there over each link: ``python -m tests.link``.

Writes ``docs/links.json``, and from it and the matrices over links the page and its pictures.
"""

import argparse
import dataclasses
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from tests.clients.clients import Kit
from tests.link import answers, page, record
from tests.link.emulated import unavailable
from tests.link.links import LINKS
from tests.matrix import results

_BAD_ARGUMENTS = 2
_LIMIT_SECONDS = 600.0


def _say(words: str) -> None:
    print(words, flush=True)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.link", description=__doc__)
    parser.add_argument("--links", nargs="+", choices=list(LINKS), default=list(LINKS))
    parser.add_argument(
        "--contenders", nargs="+", choices=answers.CONTENDERS, default=list(answers.CONTENDERS)
    )
    parser.add_argument(
        "--clients", nargs="+", choices=answers.CLIENTS, default=list(answers.CLIENTS)
    )
    parser.add_argument("--at-once", type=int, default=1, help="uploads at a time")
    parser.add_argument("--size-bytes", type=int, default=answers.SIZE_BYTES)
    parser.add_argument("--limit-seconds", type=float, default=_LIMIT_SECONDS)
    parser.add_argument("--page", action="store_true", help="write the page again, only")
    return parser.parse_args(arguments)


def _said(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the record tells of all its rows."""
    return {
        "size_bytes": options.size_bytes,
        "limit_seconds": options.limit_seconds,
        "platform": results.machine(),
        "links": {name: dataclasses.asdict(link) for name, link in LINKS.items()},
    }


def _keep(row: answers.Row, options: argparse.Namespace) -> None:
    command = ["nox", "-s", "link_answers", *(["--", *sys.argv[1:]] if sys.argv[1:] else [])]
    told = answers.merged(record.load(), [row], command=shlex.join(command), **_said(options))
    record.RECORD.write_text(record.text(told), encoding="utf-8")


def _measure(options: argparse.Namespace) -> list[str]:
    """Measure what was chosen, and return what could not be."""
    with Kit() as kit:
        measuring = answers.Measuring(
            kit, size_bytes=options.size_bytes, limit_seconds=options.limit_seconds, say=_say
        )
        chosen = options.links, options.contenders, options.clients
        for row in measuring.rows(*chosen, at_once=options.at_once):
            # Each at once: the next may take ten minutes, and somebody may end the run.
            _keep(row, options)
        return measuring.missing


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status: 1 if something could not be measured."""
    options = _arguments(arguments)
    missing: list[str] = []
    if not options.page:
        if why := unavailable() or answers.missing():
            print(f"error: {why}", file=sys.stderr)
            return _BAD_ARGUMENTS
        if names := answers.different(record.load(), _said(options)):
            print(
                f"error: {record.RECORD.name} holds rows of another {', '.join(names)}, and one "
                "page must not mix them; move it away to measure all of them anew",
                file=sys.stderr,
            )
            return _BAD_ARGUMENTS
        missing = _measure(options)
        _say(f"wrote {record.RECORD}")
    for path in page.write():
        _say(f"wrote {path}")
    for name in missing:
        print(f"error: not measured: {name}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
