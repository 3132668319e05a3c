"""The page on other projects' tests, made from ``docs/peers.json``.

Its figures come from the JSON, and its words stand here; ``tests/core/test_peers_page.py`` fails
when it is not what both make.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.peers.environment import ROOT
from tests.peers.results import JSON_PATH, Results
from tests.peers.suites import SUITES

PAGE_PATH = ROOT / "docs" / "explanation" / "peers.md"

_INTRODUCTION = """\
# Other projects' tests

The test suites of the frameworks that drainkit stands around, from their source distributions on
the package index: run plain, and with drainkit around every application that they test. A test
that passes without drainkit and fails with it is a fault of drainkit, unless a row of a table
(`tests/peers/explained.py`) says why; and a row whose reason is gone is a fault, too.

Most of these tests send no body, and a request without a body passes drainkit untouched. So
everything is run once more with a body of {body_bytes} bytes given to every request that has none,
in both runs: tests that fail for that alone count in neither.

**place** is where drainkit stands: `outermost` is the protocol's `DrainMiddleware` around what the
test client calls, `init_app`, `add_middleware` and `MIDDLEWARE` are what the framework's own page
says. A test client is no server that drainkit knows, and so it discards before it answers;
`discards between` and `discards behind` are the orders that it has on uvicorn and on granian.
Behind `add_middleware` its `PlacementWarning` is let pass, as some suites make every warning an
error.

**requests** came to drainkit, or to what stands where it would; **drains** is how often it had
something to discard. A test that fails with drainkit, and that no row explains, is run again
alone, three times without and three times with: passing as often with as without, it is called
**unsteady**.

This page is made from {{download}}`peers.json <../peers.json>` by the program that ran them.
`nox -s peers -- --json docs/peers.json` runs all, `nox -s peers -- flask drf` some, and
`nox -s peers -- --quick` the runs that every check of the project makes. A suite is of the newest
version that the Python can have: Django 6 wants `nox -s peers --force-python 3.13 -- django`.
"""


def path_of(json_path: Path) -> Path:
    """Return where the page of a JSON file stands."""
    return PAGE_PATH if json_path == JSON_PATH else json_path.with_suffix(".md")


def text(results: Results) -> str:
    """Return the page."""
    suites = results["suites"]
    (body_bytes,) = {str(suite["body_bytes"]) for suite in suites.values()} or {"0"}
    return "\n".join(
        [
            _INTRODUCTION.format(body_bytes=body_bytes),
            *_numbers(results),
            *_explained(results),
            *_left_out(results),
        ]
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join(['---'] * len(head))}|"
    for row in rows:
        yield f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |"
    yield ""


def _numbers(results: Results) -> Iterator[str]:
    for title, with_body in (("As they are", False), ("With a body on each request", True)):
        yield f"## {title}\n"
        rows = [
            (
                f"{name} {suite['version']}",
                run["place"],
                run["plain_passed"],
                run["passed"],
                len(run["explained"]) or "",
                len(run["unsteady"]) or "",
                len(run["worse"]) or "",
                run["requests"],
                run["drains"],
            )
            for name, suite in results["suites"].items()
            for run in suite["runs"]
            if run["with_body"] is with_body
        ]
        yield from _table(
            (
                "suite",
                "place",
                "pass plain",
                "pass with drainkit",
                "explained",
                "unsteady",
                "worse",
                "requests",
                "drains",
            ),
            rows,
        )


def _explained(results: Results) -> Iterator[str]:
    yield "## What is explained\n"
    found: dict[tuple[str, str], tuple[list[str], list[str]]] = {}
    for name, suite in results["suites"].items():
        for run in suite["runs"]:
            for one in run["explained"]:
                tests, places = found.setdefault((name, one["reason"]), ([], []))
                tests += [one["test"]] if one["test"] not in tests else []
                places += [run["place"]] if run["place"] not in places else []
    if not found:
        yield "Nothing differs.\n"
    for (name, reason), (tests, places) in found.items():
        yield f"**{name}**, {'; '.join(places)}. {reason}\n"
        yield "\n".join(f"- `{test}`" for test in sorted(tests)) + "\n"


def _left_out(results: Results) -> Iterator[str]:
    yield "## What was run, and what was not\n"
    rows = []
    for name, suite in results["suites"].items():
        notes = [f"`{what}`: {why}" for what, why in suite["deselected"].items()]
        if suite["note"]:
            notes.append(suite["note"])
        notes += _missing(name, suite["runs"])
        rows.append(
            (name, suite["version"] or "", suite["date"], suite["python"], "; ".join(notes))
        )
    rows += [(name, "", "", "", f"skipped: {why}") for name, why in results["skipped"].items()]
    known = {*results["suites"], *results["skipped"]}
    rows += [
        (name, "", "", "", f"not measured as a whole yet: `nox -s peers -- {name}`")
        for name in SUITES
        if name not in known
    ]
    yield from _table(("suite", "version", "date", "Python", "left out"), rows)


def _missing(name: str, measured: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Tell which of a suite's runs are not measured."""
    known = {(run["place"], run["with_body"]) for run in measured}
    for words, with_body in (("as they are", False), ("with a body on each request", True)):
        places = [str(place) for place in SUITES[name].places if (place, with_body) not in known]
        if places:
            yield f"not measured {words}: {'; '.join(places)}"
