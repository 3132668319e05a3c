"""The page ``docs/explanation/cost.md``, made of the figures: ``python -m tests.bench.page``.

Rule: what was measured comes from the figures. The words are here, and with them what a benchmark
or a server is set to.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from drainkit import DEFAULTS, Resource
from tests.bench.misses import misses
from tests.bench.names import ALL, CALLS, SHARE
from tests.bench.plots import PLOTS, SUMMARY, Bars, Plot, draw
from tests.bench.results import JSON_PATH, ROOT, Results, Section, load
from tests.bench.servers_table import lead, missed, told_apart
from tests.bench.servers_table import table as servers_table
from tests.bench.table import HEADINGS, number, rows, spread
from tests.bench.targets import TARGETS, judged

PAGE_PATH = ROOT / "docs" / "explanation" / "cost.md"

_OPENING = """\
<!-- Made by `python -m tests.bench.page` from docs/benchmarks.json; change tests/bench/page.py. -->

# What it costs

{lead}
The rest of this page is what these figures stand on. A request that needs nothing should not feel
drainkit, and one that needs it should cost less than with anything that you would use instead. This
page holds drainkit to that, with figures of one machine. Ratios travel better to yours than seconds
do.

## What is compared

Side by side, in one run:

- **without**: no middleware. Where a body is discarded, a bare loop around `recv_into` on a
  socket stands here: nothing in Python is cheaper.
- **snippet**: `StreamConsumingMiddleware`, the Flask snippet of 2011, on today's werkzeug.
- **naive loop**: the ASGI middleware that comes to mind first. It calls the application, then
  receives until `more_body` is false.
- **in the handler**: the application itself reads everything before it answers.
- **without, again**: no middleware, on another server of its own. By how much its ratio differs
  from 1 is what this run cannot tell apart.
- **least middleware**: the least that one in Python can be. It asks the environ for a body, or
  looks at each header field, and its input or `receive()` passes on and counts. It has no bounds,
  tells nobody, and saves no answer.
- **drainkit**: with its default policy.

A figure is a median with its quartiles, as in *0.31 (0.30 to 0.33)*. What is compared was
measured in turn, A B B A, so that whatever the machine did meanwhile was done to all alike;
ratios and overheads are medians over such pairs.
"""

_ENDING = """\
## Run it yourself

```console
nox -s bench
nox -s bench -- --quick
nox -s bench -- --only discarding
```

The first writes `docs/benchmarks.json`, the plots and this page; what stands here took
{minutes:.0f} minutes in all. The second takes a few. Instructions are counted where valgrind is
installed. `--list` names the sections. To look at one server, and leave the page as it is:

```console
nox -s bench -- --only servers -s uvicorn-httptools --output uvicorn.json
```
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
    "profile": """\
## Profile

What drainkit's own Python functions do for a request of *A request, in process*: how often each is
called, exactly, and its part of the time that all of them take themselves, by cProfile. Functions
with less than 3 % are left out.
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

CPU time of the server for each request, by the kernel's clock of its processes, workers and threads
included; the other columns are multiples of *without*. Four connections send one request after the
other. The client is another process, on a core of its own where the machine has two. Each contender
has a server process of its own, started several times anew.

A POST is answered early when the application does not read it. Its body comes with its head, but
for the row that says otherwise; *without Content-Length* and *in two pieces* are about the answer.
Where a server closes the connection behind an answer, a new one is opened for the next request, and
is part of the cost: the last column has the connections for each request, without drainkit and
with it. A server that closes behind an early answer may take the answer with it, which is the fault
that drainkit is for: *answers lost* has how many, without and with. On granian the snippet makes a
200 of the application's 413.
""",
    "server instructions": """\
## The same in instructions, on whole servers

As valgrind counts them, on one connection. This shows differences of a thousandth, where CPU time
is too coarse. It leaves the kernel's part of a request out, which is the same with drainkit and
without, so that the multiples are larger than those of CPU time.
""",
    "growth": """\
## How cost grows

The tables hold what the plots show.
""",
    "slow drains": """\
## Many slow uploads at once

Each client has its 413 and goes on uploading, 1024 bytes a second in a piece every three seconds;
drainkit discards what comes. On a server without drainkit the application receives the same
uploads, and answers none. `max_concurrent` is above their number, where its default on these
servers is {most_tasks:,}, and the bounds on time and rate are beyond the run.
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
    "cost-slow-memory": (
        "The growth of the server's memory (proportional set size), divided by the uploads. For "
        "few of them that is what else the process had to allocate meanwhile; for many it is what "
        "one costs."
    ),
    "cost-slow-lag": (
        "A task on the server's own loop sleeps 5 ms again and again, and tells by how much the "
        "longest of its sleeps but one in a hundred was too long."
    ),
    "cost-slow-wait": (
        "A client on kept connections asks 200 times a second, whether the answers come in time "
        "or not."
    ),
}


# These hold nothing but curves.
_CURVES = ("growth", "slow drains")

# The servers for ASGI hold a task for each drain.
_MOST_TASKS = DEFAULTS[Resource.TASK].max_concurrent

# What a quick run changes in the words.
_SIZES = {
    False: {"reading_size": "1 GiB", "answer_size": "64 MiB"},
    True: {"reading_size": "64 MiB", "answer_size": "8 MiB"},
}


def page(results: Results) -> str:
    """Return the page's text."""
    parts = [_OPENING.replace("{lead}", _lead(results)), _origin(results), _targets(results)]
    for name, words in _WORDS.items():
        if section := results.sections.get(name):
            parts.append(words.format(**_SIZES[section.quick], most_tasks=_MOST_TASKS))
            parts += (_plot(plot) for plot in PLOTS if plot.section == name and plot.lines(results))
            parts.append(_table(section))
    minutes = sum(section.seconds for section in results.sections.values()) / 60
    return "\n".join([*parts, _ENDING.format(minutes=minutes)])


def _lead(results: Results) -> str:
    """Return what a site's owner wants to know: three sentences and a picture, and its limits."""
    sentences = lead(results)
    return f"{sentences}\n{_picture(SUMMARY)}\n{told_apart(results)}" if sentences else ""


def _origin(results: Results) -> str:
    machine, versions = results.machine, results.versions
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    lines = [
        f"Measured on {machine['processor']}, {machine['cores']} cores, {machine['memory']}, "
        f"{machine['system']}, over loopback, with {packages}.",
        "",
        "| section | date | drainkit at | command | took |",
        "|---|---|---|---|---|",
    ]
    for section in results.sections.values():
        commit = f"`{section.commit}`" if section.commit else "-"
        lines.append(
            f"| {section.name} | {section.date} | {commit} | `{section.command}` "
            f"| {section.seconds:.0f} s |"
        )
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
        f"Set before what is measured here was built, beside figures of what was there then: "
        f"{verdicts[True]} figures meet theirs, {verdicts[False]} do not. "
        "A target counts for every figure that it names; this table has "
        "the one that is furthest on the wrong side, or nearest to it. *Within the spread* means "
        "that the limit lies between the quartiles, so the next run may say otherwise; *quick run* "
        "that there were few, small samples.",
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
        quick = ", quick run" if results.sections[target.section].quick else ""
        lines.append(
            f"| {target.words} | {target.sign()} {target.limit_for(worst):g} "
            f"| {spread(worst)} | {worst.where}, {worst.case} | {target.verdict(worst)}{quick} "
            f"| {met} of {len(found)} |"
        )
    lines += ["", "### Where one is missed", "", misses(results)]
    return "\n".join([*lines, *_missed(results)])


def _missed(results: Results) -> list[str]:
    found = missed(results)
    if not found:
        return []
    return [
        "Where a server misses a target with several requests, the worst is here. *drainkit adds* "
        "is the difference of the medians.\n",
        found,
    ]


def _plot(plot: Plot) -> str:
    return f"{_picture(plot)}\n{_AFTER_PLOT[plot.name]}\n"


def _picture(picture: Plot | Bars) -> str:
    return f"```{{figure}} {picture.name}.svg\n:alt: {picture.alt}\n\n{picture.title}.\n```\n"


def _profile(section: Section) -> str:
    """Return a row for each function, grouped by request."""
    shares = {figure.case: figure for figure in section.figures if figure.measure == SHARE}
    lines = ["| request | function | calls | part of the time |", "|---|---|---|---|"]
    for figure in section.figures:
        if figure.measure == CALLS:
            case, _, function = figure.case.partition(": ")
            share = shares.get(figure.case)
            part = f"{100 * share.median:.0f} %" if share else "" if function != ALL else "100 %"
            name = function if function == ALL else f"`{function}`"
            lines.append(f"| {case} | {name} | {number(figure.median)} | {part} |")
    return "\n".join([*lines, ""])


def _table(section: Section) -> str:
    if section.name in ("servers", "server instructions"):
        return f"{servers_table(section)}\n{_samples(section)}\n"
    if section.name == "profile":
        return _profile(section)
    # Where curves are drawn beside a table that has much else, their points would hide it.
    columns = [row.cells() for row in rows(section) if section.name in _CURVES or not row.is_curve]
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
