"""The page of the links, made from their JSON: ``docs/explanation/links.md`` and its pictures.

Its figures come from the JSON, and its words stand here; ``tests/core/test_links_page.py`` fails
when it is not what both make.
"""

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.link import picture, record
from tests.link.answers import CLIENTS
from tests.link.links import LINKS, MTU_BYTES
from tests.link.reasons import why_not
from tests.matrix import page as matrix_page
from tests.matrix import picture as matrix_picture
from tests.matrix import plan, questions, results
from tests.matrix.deployments import OVER_UNIX
from tests.matrix.questions import Question, Row
from tests.matrix.results import WITH, WITHOUT, Matrix
from tests.matrix.run import is_whole

PAGE_PATH = results.ROOT / "docs" / "explanation" / "links.md"

# The answer of 4 MB.
PAGE = "page"

_INTRODUCTION = """\
# Over a real link

% Written by `python -m tests.link --page` from docs/links.json and docs/matrix-link-*.json.

On loopback nothing is lost, late or slow. People upload over phones, from hotels and from ships.
Here TCP runs from end to end over such a link: two network namespaces of Linux, a TUN device in
each, and a program between them that delays, paces, drops and reorders packets of {mtu} bytes, both
ways, the same each time (`tests/link`). Server and client are the real ones.

{links}

*Loss* is of packets, on each way by itself. Both ends have TCP's {control} and the kernel's own
buffers. With so many packets lost, that and not the rate of the link is what limits an upload:
about {reno}.
"""

_ANSWERS = """\
## When the answer is there

{size} are uploaded to a server that refuses them at once ({server}; measured {dates} on
{system}, {machine}). *Sent* is what had gone over the link until then, with IP headers: what a
person on a phone pays for. An upload that had no answer was stopped after {limit}; *some* minutes
are how long all of it needs at the rate that it had until then.

`eager` is a client that reads while it sends, and stops at an answer that refuses, as curl does.
Chromium submits a form, and does not read before it has uploaded everything, or cannot: with
drainkit it is told when the drain has met a bound, which on this server's threads is 20 s
(`max_seconds`). Without anything its answer arrives or does not, as it happens: in the tables below
{bare} of its answers arrived so, and {drained} with drainkit.

![{description}](links.svg)
"""

_MATRIX = """\
## Which clients have the answer

The [delivery matrix](matrix.md) once more, with a link between. Fewer clients stand for all, each
cell was tried {tries}, and a 422 that the application gives when it has read ten bytes is asked,
too. Each deployment had a link of its own. uvicorn and gunicorn's `asgi` worker chose uvloop over
fibre and a satellite, where it was installed.{again}

Why a cell is not whole stands beside it where that is known, and else what its client saw. The page
of 4 MB takes longer than some servers have patience. With drainkit the median of those that are
whole took {pages}.
What those servers cut, they cut from who only asks for the page, too: so it was over hotel Wi-Fi,
with a GET and without drainkit, on gunicorn `sync`, and over TLS on cheroot and on the servers for
asyncio (tried by hand on 2026-11-26; the JSON has nothing of it). Behind an upload drainkit sends
such a page over TLS on the servers for asyncio as the client takes it ([](when-and-how-long.md)).
Before it did so, uvicorn cut it with drainkit only, since what comes of an upload ends its wait for
the next request.

"""

_AGAIN = """
What was lost with drainkit was tried up to {tries} times in all (`--again`), and counts as whole
only if every try was."""


def pictures(record_: dict[str, Any], matrices: dict[str, Matrix]) -> dict[Path, str]:
    """Return the pictures as they should be, by path."""
    made = {}
    if record_:
        made[PAGE_PATH.with_suffix(".svg")] = picture.drawn(record_, measured(record_))
    for name, matrix in matrices.items():
        for asked in asked_of(name, matrix):
            made[PAGE_PATH.with_name(f"links-{asked.name}.svg")] = questions.drawn(asked)
        made[PAGE_PATH.with_name(f"links-{name}-cells.svg")] = matrix_picture.drawn(matrix)
    return made


def write() -> list[Path]:
    """Write page and pictures; return where they are."""
    contents = made(record.load(), load_matrices())
    for path, content in contents.items():
        path.write_text(content, encoding="utf-8")
    return list(contents)


def load_matrices() -> dict[str, Matrix]:
    """Return the matrices that were measured over a link, by its name."""
    paths = {name: results.link_path(name) for name in LINKS}
    return {name: results.load(path) for name, path in paths.items() if path.exists()}


def made(record_: dict[str, Any], matrices: dict[str, Matrix]) -> dict[Path, str]:
    """Return page and pictures as they should be, by path."""
    return {PAGE_PATH: text(record_, matrices), **pictures(record_, matrices)}


def measured(record_: dict[str, Any]) -> list[str]:
    """Return the links that have rows."""
    names = {row["link"] for row in record_["rows"]}
    return [name for name in LINKS if name in names]


def text(record_: dict[str, Any], matrices: dict[str, Matrix]) -> str:
    """Return the page."""
    controls = {matrix["link"]["congestion_control"] for matrix in matrices.values()}
    lines = [
        _INTRODUCTION.format(
            mtu=MTU_BYTES,
            links="\n".join(_links()),
            control=" or ".join(sorted(controls)) or "usual congestion control",
            reno=", ".join(
                f"{_reno(link.round_trip_seconds, link.loss):.1f} Mbit/s over {name}"
                for name, link in LINKS.items()
                if link.loss
            ),
        )
    ]
    if record_:
        lines += _answers(record_, matrices)
    if matrices:
        lines += _matrices(matrices)
    return "\n".join(lines).rstrip() + "\n"


def _reno(round_trip_seconds: float, loss: float) -> float:
    """Return the Mbit/s that TCP has where packets are lost by chance.

    Mathis et al., "The macroscopic behavior of the TCP congestion avoidance algorithm", 1997.
    """
    payload_bytes = MTU_BYTES - 52  # IPv4, TCP and its timestamps
    return payload_bytes * 8 / round_trip_seconds * math.sqrt(1.5 / loss) / 1e6


def _links() -> Iterator[str]:
    rows = [
        (
            f"`{link.name}`",
            f"{link.round_trip_seconds * 1000:g} ms",
            f"{link.up_bits_per_second / 1e6:g} Mbit/s",
            f"{link.down_bits_per_second / 1e6:g} Mbit/s",
            f"{link.loss * 100:g} %",
        )
        for link in LINKS.values()
    ]
    return matrix_page.table(("link", "round trip", "up", "down", "loss"), rows)


def _of_the_browser(matrices: dict[str, Matrix], half: str) -> str:
    """Return how many cells of the browser are whole of how many, over all links."""
    cells = [
        cell
        for matrix in matrices.values()
        for row in matrix["deployments"].values()
        for cell in row.get(half, {}).get("clients", {}).get(picture.CLIENT, {}).values()
    ]
    return f"{sum(map(is_whole, cells))} of {len(cells)}"


def _answers(record_: dict[str, Any], matrices: dict[str, Matrix]) -> Iterator[str]:
    names = measured(record_)
    yield _ANSWERS.format(
        size=picture.megabytes(record_["size_bytes"]),
        server=f"`{record_['server']}`",
        dates=matrix_page.between([row["date"] for row in record_["rows"]]),
        limit=picture.duration(record_["limit_seconds"]),
        description=picture.description(record_, names),
        bare=_of_the_browser(matrices, WITHOUT),
        drained=_of_the_browser(matrices, WITH),
        system=record_["platform"]["system"],
        machine=record_["platform"]["machine"],
    )
    by_place = {(row["link"], row["contender"], row["client"]): row for row in record_["rows"]}
    rows = [
        (f"`{name}`", picture.WORDS[contender], *(_outcome(record_, row) for row in found))
        for name in names
        for contender in picture.ORDER
        if any(found := [by_place.get((name, contender, client)) for client in CLIENTS])
    ]
    yield from matrix_page.table(("link", "on the server", *CLIENTS), rows)
    yield "Each is one try. They were made by these runs:\n"
    yield from matrix_page.table(
        ("measured", "with", "drainkit at", "what stands here of it"), _runs(record_)
    )


def _runs(record_: dict[str, Any]) -> Iterator[Sequence[str]]:
    """Return a row for each run that rows are of: those of one link are told together."""
    runs: dict[tuple[str, str | None, str | None], Counter[str]] = {}
    for row in record_["rows"]:
        key = row["date"], row["command"], row.get("commit")
        runs.setdefault(key, Counter())[row["link"]] += 1
    for (date, command, commit), links in runs.items():
        yield (
            date,
            f"`{command}`" if command else "an earlier run, whose command was not kept",
            f"`{commit}`" if commit else matrix_page.NOTHING,
            ", ".join(f"{count} over {name}" for name, count in links.items()),
        )


def _outcome(record_: dict[str, Any], row: dict[str, Any] | None) -> str:
    if row is None:
        return "-"
    return picture.outcome(row, record_["size_bytes"], record_["limit_seconds"])


def _again(matrices: dict[str, Matrix]) -> str:
    """Return how often cells were tried that were lost at first; nothing where none was."""
    tries = {
        cell["tries"]
        for matrix in matrices.values()
        for row in matrix["deployments"].values()
        for half in (WITHOUT, WITH)
        for cells in row.get(half, {}).get("clients", {}).values()
        for cell in cells.values()
        if cell["tries"] > matrix["tries"]
    }
    return _AGAIN.format(tries=max(tries)) if tries else ""


def _matrices(matrices: dict[str, Matrix]) -> Iterator[str]:
    tries = {matrix["tries"] for matrix in matrices.values()}
    times = "once" if tries == {1} else f"{min(tries)} to {max(tries)} times"
    if tries == {2}:
        times = "twice"
    yield _MATRIX.format(tries=times, again=_again(matrices), pages=", ".join(_pages(matrices)))
    for name, matrix in matrices.items():
        size = matrix["clients"]["eager"]["upload_bytes"]
        file = results.link_path(name).name
        yield f"### Over {name}\n"
        yield (
            f"{size / 1e6:g} MB are uploaded. Measured {matrix_page.when(matrix)}, at last with "
            f"the command below. The page is made from {{download}}`{file} <../{file}>`; every "
            f"cell of it in one large picture: {{download}}`links-{name}-cells.svg`.\n"
        )
        yield f"```console\n{matrix['command']}\n```\n"
        for asked in asked_of(name, matrix):
            yield f"![{questions.described(asked)}](links-{asked.name}.svg)\n"
        if words := ", ".join(_left_out(name, matrix)):
            yield f"Not measured: {words}.\n"
        rows = list(_not_whole(matrix))
        if not rows:
            yield "With drainkit every cell is whole.\n"
            continue
        yield "With drainkit these are not whole:\n"
        head = ("deployments", "answer", "cells", "tries", "of these whole without drainkit", "why")
        yield from matrix_page.table(head, rows)


def _left_out(name: str, matrix: Matrix) -> Iterator[str]:
    """Return what the plan has and a matrix has not: deployments, and cells of the others."""
    absent: Counter[tuple[str, str]] = Counter()
    for row in plan.deployments([], name):
        halves = matrix["deployments"].get(row.name)
        if halves is None:
            yield f"`{row.name}`"
            continue
        for half, cell in itertools.product((WITHOUT, WITH), plan.cells(row, [], [], 1, name)):
            cells = halves[half]["clients"].get(cell.client.name, {})
            absent[cell.client.name, half] += cell.case.name not in cells
    for (client, half), count in absent.items():
        if count:
            yield f"{count} cells of `{client}` {half} drainkit"


def _pages(matrices: dict[str, Matrix]) -> Iterator[str]:
    """Return how long whole pages took over each link, the median of those with drainkit."""
    for name, matrix in matrices.items():
        seconds = [
            cells[PAGE]["seconds"][1]
            for row in matrix["deployments"].values()
            for cells in row.get(WITH, {}).get("clients", {}).values()
            if PAGE in cells and is_whole(cells[PAGE])
        ]
        if seconds:
            yield f"{picture.duration(statistics.median(seconds))} over {name}"


def _not_whole(matrix: Matrix) -> Iterator[Sequence[str]]:
    """Return a row for each reason why cells are not whole with drainkit."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for name, row in matrix["deployments"].items():
        for client, cells in row.get(WITH, {}).get("clients", {}).items():
            for case, cell in cells.items():
                if not is_whole(cell):
                    why = why_not(name, client, case, cell)
                    if why is None:
                        bare = row.get(WITHOUT, {}).get("clients", {}).get(client, {}).get(case)
                        why = _seen(client, cell, bare)
                    found.setdefault((case, why), []).append((name, client))
    for (case, why), places in found.items():
        names = ", ".join(f"`{name}`" for name in dict.fromkeys(name for name, _ in places))
        tried = [
            matrix["deployments"][name][WITH]["clients"][client][case] for name, client in places
        ]
        lost, tries = (
            sum(cell["tries"] - cell["delivered"] for cell in tried),
            sum(cell["tries"] for cell in tried),
        )
        bare = _bare(matrix, case, places)
        yield names, case, str(len(places)), f"{lost} of {tries} lost", bare, why


def _seen(client: str, cell: dict[str, Any], bare: dict[str, Any] | None) -> str:
    """Return what came of a cell whose reason is not known."""
    errors = "; ".join(error.removeprefix("lost: ") for error in cell["instead"])
    least, _, greatest = cell["seconds"]
    without = "not tried" if bare is None else f"{bare['delivered']} of {bare['tries']}"
    return (
        f"not known; {client} saw: {errors}; its tries took {least:.1f} to {greatest:.1f} s, and "
        f"{cell['delivered']} of {cell['tries']} were whole, without drainkit {without}"
    )


def _bare(matrix: Matrix, case: str, places: Sequence[tuple[str, str]]) -> str:
    """Return how many of these cells are whole without drainkit, of those that were measured."""
    halves = [
        (matrix["deployments"][name].get(WITHOUT, {}).get("clients", {}), client)
        for name, client in places
    ]
    cells = [clients[client][case] for clients, client in halves if case in clients.get(client, {})]
    if not cells:
        return "not measured"
    return f"{sum(map(is_whole, cells))} of {len(cells)} measured"


# What the rows of a picture are, and the deployments that belong there.
_KINDS = {
    "alone": lambda name: ">" not in name and ":" not in name,
    "TLS": lambda name: name.endswith(":tls"),
    "HTTP/2": lambda name: name.endswith((":h2", ":h2c")),
    "nginx, default": lambda name: name.startswith("nginx-buffered>"),
    "nginx, unbuffered": lambda name: name.startswith("nginx>"),
    "nginx, Unix socket": lambda name: name.startswith(f"{OVER_UNIX}>"),
}


def asked_of(name: str, matrix: Matrix) -> list[Question]:
    """Return the pictures of one link: by kinds of deployments, and by clients."""
    rows = []
    for words, is_one in _KINDS.items():
        names = list(filter(is_one, matrix["deployments"]))
        if names:
            both = (matrix_picture.total(matrix, half, names) for half in (WITHOUT, WITH))
            rows.append(Row(words, *both))
    return [
        Question(name, f"Which answers arrive over {name}?", rows),
        Question(f"{name}-clients", "And to which clients?", list(questions.clients(matrix))),
    ]
