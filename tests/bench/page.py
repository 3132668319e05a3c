"""The page ``docs/explanation/cost.md``, made of the figures: ``python -m tests.bench.page``.

Rule: every number of the page comes from the figures; the words are here.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.bench.alternatives import CONTROL, DRAINKIT, LEAST
from tests.bench.plots import PLOTS, Plot, draw
from tests.bench.results import JSON_PATH, ROOT, Results, Section, load
from tests.bench.table import HEADINGS, rows, spread
from tests.bench.targets import TARGETS, judged

PAGE_PATH = ROOT / "docs" / "explanation" / "cost.md"

_OPENING = """\
<!-- Made by `python -m tests.bench.page` from docs/benchmarks.json; change tests/bench/page.py. -->

# What it costs

A request that needs nothing should not feel drainkit, and one that needs it should cost less than
with anything that you would use instead. This page holds drainkit to that, with figures of one
machine. Ratios travel better to yours than seconds do.

Side by side, in one run:

- **without**: no middleware. Where a body is discarded, a bare loop around `recv_into` on a
  socket stands here: nothing in Python is cheaper.
- **snippet**: `StreamConsumingMiddleware`, the Flask snippet of 2011, on today's werkzeug.
- **naive loop**: the ASGI middleware that comes to mind first. It calls the application, then
  receives until `more_body` is false.
- **in the handler**: the application itself reads everything before it answers.
- **drainkit**: with its default policy.

In ratios the first column is no middleware beside itself, on a server of its own: by how much it
differs from 1 is what this run cannot tell apart. The *least middleware* is the least that one in
Python can be: it asks the environ for a body, or looks at each header field, and its input or
`receive()` passes on and counts. It has no bounds, tells nobody, and saves no answer.

A figure is a median with its quartiles, as in *0.31 (0.30 to 0.33)*. What is compared was
measured in turn, A B B A, so that whatever the machine did meanwhile was done to all alike;
ratios and overheads are medians over such pairs.
"""

_MISSED = """\
### Where one is missed

- **In process:** *Floors and parts* has the least that a middleware in Python can cost, and of what
  drainkit's objects are made. What a body costs beyond that is its framing, its drain, the handle
  for the application and the state of the response, each made once for a request that has one. A
  request without a body costs a test of its headers.
- **Import:** most of it is the standard library's, which every framework imports anyway.
- **Discarding:** with the heap kept for both, drainkit's loop is the server's own with one or two
  looks at the clock and the bounds. On granian hardly a page is made anew in either, so there is
  nothing to gain.
- **Memory:** gunicorn's own reader holds up to a MiB and copies it, and glibc gives each thread of
  a gthread worker a heap of its own, so that the first drain in a thread makes one grow.
- **Whole servers:** compare with the columns of no middleware beside itself, and of the least
  middleware. Where these differ from 1 by more than drainkit does, this machine cannot tell.
  *CPU for each request* is the server's, and steadier than requests a second, which share two
  processors with wrk. What drainkit adds is more there than in process, where everything stays in
  the processor's caches.
"""

_ENDING = """\
## Run it yourself

```console
nox -s bench
nox -s bench -- --quick
nox -s bench -- --only discarding
```

The first takes about a quarter of an hour and writes `docs/benchmarks.json`, the plots and this
page; the second takes a few minutes. wrk and valgrind are used where they are installed. `--list`
names the sections.
"""

_WORDS = {
    "per request": """\
## A request, in process

The servers are scripted and do nothing, so these are the costs of the middleware alone. A GET has
12 header fields and no body. A POST has 4 KiB. pyperf measures them. *Overhead* is what is added
to no middleware.
""",
    "instructions": """\
## The same in instructions

Valgrind counts the CPU's instructions, which are the same on a busy machine and on a quiet one.
""",
    "floors": """\
## Floors and parts

What drainkit costs beside the least middleware is the engine's objects; the parts say which. They
are measured one by one, with the cost of a call from Python. Of `import drainkit` most is the
standard library, which every framework imports too: `dataclasses` alone brings `inspect`.
""",
    "import": """\
## Import

In a fresh Python each time. An adapter is imported behind what it adapts, since a process that
uses it has that anyway.
""",
    "reading": """\
## An application that reads its body

The body of {reading_size} passes through drainkit's count on its way to an application that wants
it.
""",
    "discarding": """\
## Discarding

CPU seconds of the server, workers included, for each GiB that nobody wants. The server's own loop
is a handler that reads everything; under WSGI with the size of read that this server likes best
(below). On ASGI there is nothing to choose: the server decides how much a message holds. The
naive loop is missing here, as it discards nothing: behind the response `receive()` is
`http.disconnect`.

A server allocates every piece of a body anew. glibc gives free memory back to the kernel from
128 KiB on, and the next piece then faults all its pages in again: compare the page faults. A
process's first drain makes glibc keep more ([](limits.md)), which is why drainkit discards faster
than the server's own loop in a process without it. *Heap kept* gives the loop the same, with
`MALLOC_TRIM_THRESHOLD_` and `MALLOC_MMAP_THRESHOLD_`, so that the code itself is compared.

Memory is the growth of the peak (`VmHWM` of all processes of the server) while 1 GiB is
discarded. The snippet calls werkzeug's `exhaust()`, which returns what it read, and so keeps it.
""",
    "answer": """\
## When the client has its answer

An upload of {answer_size} over a link of 20 MB/s to an application that refuses it at once. The
eager client reads while it sends, and stops at an error status; the strict one sends everything
and then reads. *Lost* counts uploads whose answer did not arrive whole.
""",
    "servers": """\
## Whole servers

wrk with four connections. The POST has a body of 1 KiB, and the application reads it.
""",
    "growth": """\
## How cost grows

The tables hold what the plots show.
""",
}

_AFTER_PLOT = {
    "cost-reads": "Each read call is counted by one call in Python, so the line is straight.",
    "cost-messages": "Each message is counted by one call in Python, so the line is straight.",
    "cost-headers": (
        "WSGI is flat, since an environ is asked by name. ASGI headers are a list, and drainkit "
        "looks at each of them once: a straight line, which looks bent as the axis is logarithmic."
    ),
    "cost-read-size": (
        "Small reads cost a system call each, or a copy of all that the server has read ahead: "
        "gunicorn receives up to 1 MiB at once, and each read copies what it leaves of that. Large "
        "reads cost a buffer that does not fit the processor's cache."
    ),
    "cost-body": (
        "Both lines are straight behind the first MiB. Below that the constant part of a request "
        "shows, and drainkit's first reads, which are small on purpose: a blocking read that asked "
        "for more than a slow client sends would look like silence."
    ),
    "cost-drains": (
        "A flat line means that drains do not get in each other's way. Where the line of the "
        "handler rises too, it is the server and the event loop that have more connections to "
        "look after."
    ),
}


# What a quick run changes in the words.
_SIZES = {
    False: {"reading_size": "1 GiB", "answer_size": "64 MiB"},
    True: {"reading_size": "64 MiB", "answer_size": "8 MiB"},
}


def page(results: Results) -> str:
    """Return the page's text."""
    parts = [_OPENING, _origin(results), _targets(results)]
    for name, words in _WORDS.items():
        if section := results.sections.get(name):
            parts.append(words.format(**_SIZES[section.quick]))
            parts += (_plot(plot) for plot in PLOTS if plot.section == name and plot.lines(results))
            parts.append(_table(section))
    return "\n".join([*parts, _ENDING])


def _origin(results: Results) -> str:
    machine, versions = results.machine, results.versions
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    lines = [
        f"Measured on {machine['processor']}, {machine['cores']} cores, {machine['memory']}, "
        f"{machine['system']}, over loopback, with {packages}.",
        "",
        "| section | date | command | took |",
        "|---|---|---|---|",
    ]
    for section in results.sections.values():
        took = f"{section.seconds:.0f} s"
        lines.append(f"| {section.name} | {section.date} | `{section.command}` | {took} |")
    if any(section.quick for section in results.sections.values()):
        lines += [
            "",
            "```{warning}",
            "Some of this comes from a quick run with few, small samples. It shows that the "
            "benchmark works; it is no measurement to rely on.",
            "```",
        ]
    for section in results.sections.values():
        lines += [f"\nLeft out of {section.name}: {reason}." for reason in section.skipped]
    return "\n".join([*lines, ""])


def _targets(results: Results) -> str:
    verdicts = Counter(target.verdict(figure)[:3] == "met" for target, figure in judged(results))
    lines = [
        "## The targets",
        "",
        f"Set before anything was measured: {verdicts[True]} figures meet theirs, "
        f"{verdicts[False]} do not. A target counts for every figure that it names; this table has "
        "the one that is furthest on the wrong side, or nearest to it. *Within the spread* means "
        "that the limit lies between the quartiles, so the next run may say otherwise.",
        "",
        "| target | limit | the worst figure | where | verdict | met |",
        "|---|---|---|---|---|---|",
    ]
    for target in TARGETS:
        found = [figure for other, figure in judged(results) if other is target]
        if not found:
            continue
        worst = (max if not target.at_least else min)(
            found, key=lambda figure: figure.median / target.limit_for(figure)
        )
        met = sum(target.verdict(figure).startswith("met") for figure in found)
        lines.append(
            f"| {target.words} | {target.sign()} {target.limit_for(worst):g} "
            f"| {spread(worst)} | {worst.where}, {worst.case} | {target.verdict(worst)} "
            f"| {met} of {len(found)} |"
        )
    return "\n".join([*lines, "", _MISSED + _noise(results)])


def _noise(results: Results) -> str:
    """Tell how those fare on whole servers that cost nothing, or next to nothing."""
    met = {
        contender: [
            target.verdict(figure).startswith("met")
            for target, figure in judged(results, contender)
            if target.section == "servers"
        ]
        for contender in (CONTROL, LEAST, DRAINKIT)
    }
    if not all(met.values()):
        return ""
    return (
        f"  Of the {len(met[CONTROL])} ratios, no middleware beside itself meets the target in "
        f"{sum(met[CONTROL])}, the least middleware in {sum(met[LEAST])}, and drainkit in "
        f"{sum(met[DRAINKIT])}.\n"
    )


def _plot(plot: Plot) -> str:
    return (
        f"```{{figure}} {plot.name}.svg\n:alt: {plot.alt}\n\n{plot.title}.\n```\n\n"
        f"{_AFTER_PLOT[plot.name]}\n"
    )


def _table(section: Section) -> str:
    # Where curves are drawn beside a table that has much else, their points would hide it.
    columns = [row.cells() for row in rows(section) if section.name == "growth" or not row.is_curve]
    used = [n for n in range(len(HEADINGS)) if any(cells[n] for cells in columns)]
    lines = [
        "| " + " | ".join(HEADINGS[n] for n in used) + " |",
        "|" + "---|" * len(used),
        *("| " + " | ".join(cells[n] for n in used) + " |" for cells in columns),
    ]
    return "\n".join([*lines, "", f"{_samples(section)}\n"])


def _samples(section: Section) -> str:
    counts = sorted({figure.n for figure in section.figures})
    if len(counts) == 1:
        return f"Samples for each figure: {counts[0]}."
    return f"Samples for each figure: {counts[0]} to {counts[-1]}."


def write(results: Results, folder: Path = PAGE_PATH.parent) -> None:
    """Write the page and its plots."""
    (folder / PAGE_PATH.name).write_text(page(results), encoding="utf-8")
    draw(results, folder)


if __name__ == "__main__":
    write(load(JSON_PATH))
