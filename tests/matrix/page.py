"""The page of the matrix, made from its JSON: ``docs/explanation/matrix.md`` and the picture.

Its figures come from the JSON, and its words stand here; ``tests/core/test_matrix_page.py`` fails
when it is not what both make.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.matrix import picture, questions, results
from tests.matrix.deployments import reason
from tests.matrix.results import WITH, WITHOUT, Matrix
from tests.matrix.run import is_whole

PAGE_PATH = results.ROOT / "docs" / "explanation" / "matrix.md"

# Whose answer tells what the order costs: it reads while it sends, as curl does.
_EAGER = "eager"
NOTHING = "-"
# Above it a fraction says nothing.
_WHOLE_FROM = 100

_INTRODUCTION = """\
# The delivery matrix

Every server that we could start, alone, behind proxies, over TLS and in HTTP/2; the clients that
people use; four early answers (200, 302, 413, and a 413 with a page of 4 MB). First without
drainkit, then with it. The application reads nothing of the upload. Each cell was tried {tries}
times (Chromium twice; a cell whose tries hang is given up after two). A cell is whole when every
try brought the right status and the right body, byte for byte.

This page is made from {download} by the program that measured it. Measured {when} on {system},
{machine}, {cores} cores, with Python {python}. `nox -s matrix` measures all of it, and
`nox -s matrix -- --servers gunicorn-sync --clients curl` a part of it, which then takes its
place in what stands here; `nox -s matrix -- --list` lists the names. What was measured last:

```console
{command}
```
"""


def files(path: Path) -> tuple[Path, Path]:
    """Return where page and picture of a JSON file stand."""
    page = PAGE_PATH if path == results.JSON_PATH else path.with_suffix(".md")
    return page, page.with_suffix(".svg")


def write(path: Path) -> list[Path]:
    """Write page and picture for a JSON file; return where they are."""
    contents = made(results.load(path), path)
    for target, content in contents.items():
        target.write_text(content, encoding="utf-8")
    return list(contents)


def made(matrix: Matrix, path: Path) -> dict[Path, str]:
    """Return page and pictures as they should be, by path."""
    page, image = files(path)
    contents = {page: text(matrix, path.name, image.name), image: picture.drawn(matrix)}
    for question in questions.questions(matrix):
        contents[_picture_of(image, question)] = questions.drawn(question)
    return contents


def _picture_of(image: Path, question: questions.Question) -> Path:
    return image.with_name(f"{image.stem}-{question.name}.svg")


def text(matrix: Matrix, json_name: str, image_name: str) -> str:
    """Return the page."""
    introduction = _INTRODUCTION.format(
        tries=matrix["tries"],
        download=f"{{download}}`{json_name} <../{json_name}>`",
        when=when(matrix),
        python=matrix["versions"]["Python"],
        command=matrix["command"],
        **matrix["platform"],
    )
    clients = [
        f"{name} {version}" for name, version in matrix["versions"].items() if name != "Python"
    ]
    return "\n".join(
        [
            introduction,
            f"Of the clients: {', '.join(clients)}. `strict`, `eager` and their `-close` (with "
            "`Connection: close`) are the raw sockets of {py:mod}`drainkit_clients`.\n",
            *_pictures(matrix, image_name),
            *_deployments(matrix),
            *_not_whole(matrix),
            *_order(matrix),
        ]
    )


def when(matrix: Matrix) -> str:
    """Return when a matrix was measured, and of which commits of drainkit, if that was kept."""
    halves = [
        half
        for row in matrix["deployments"].values()
        for name in (WITHOUT, WITH)
        if (half := row.get(name))
    ]
    days = [half["date"][:10] for half in halves]
    commits = ", ".join(sorted({f"`{half['commit']}`" for half in halves if "commit" in half}))
    if not commits:
        return between(days)
    some = "" if all("commit" in half for half in halves) else "in part "
    return f"{between(days)} ({some}at {commits})"


def between(days: Collection[str]) -> str:
    """Return the first and the last of some days in words."""
    first, last = min(days), max(days)
    return f"on {first}" if first == last else f"from {first} to {last}"


def _pictures(matrix: Matrix, image_name: str) -> Iterator[str]:
    for question in questions.questions(matrix):
        name = _picture_of(Path(image_name), question).name
        yield f"![{questions.described(question)}]({name})\n"
    yield (
        f"Every cell of it in one large picture: {{download}}`{image_name}`. "
        f"{picture.description(matrix)}\n"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Return a table's lines."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join(['---'] * len(head))}|"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"
    yield ""


def _deployments(matrix: Matrix) -> Iterator[str]:
    yield "## Each deployment\n"
    yield (
        "Whole cells of those tried, and what the client had instead, the most frequent first. "
        "`nginx>` and the like are proxies in front; `:tls` is HTTP/1.1 over TLS, `:h2` HTTP/2 "
        "over TLS, `:h2c` HTTP/2 with prior knowledge.\n"
    )
    rows = []
    for name, row in matrix["deployments"].items():
        versions = ", ".join(f"{one} {version}" for one, version in row["versions"].items())
        bare = row.get(WITHOUT)
        rows.append(
            (
                f"`{name}`",
                versions,
                _share(matrix, WITHOUT, name),
                _share(matrix, WITH, name),
                _instead(bare) if bare else NOTHING,
            )
        )
    yield from table(("deployment", "versions", "without", "with", "without, instead"), rows)


def _share(matrix: Matrix, half: str, name: str) -> str:
    told = matrix["deployments"][name].get(half)
    if told is None:
        return NOTHING
    if told["error"] is not None:
        return str(told["error"])
    return "{} of {}".format(*picture.total(matrix, half, [name]))


def _instead(half: dict[str, Any]) -> str:
    """Return the most frequent losses of one half, in few words."""
    seen: Counter[str] = Counter()
    for row in half["clients"].values():
        for cell in row.values():
            seen.update({_short(words): count for words, count in cell["instead"].items()})
    return ", ".join(words for words, _ in seen.most_common(3)) or "nothing is lost"


def _short(words: str) -> str:
    """Return a problem without its details."""
    for known, short in (
        ("BrokenPipe", "reset"),
        ("EPIPE", "reset"),
        ("Broken pipe", "reset"),
        ("ConnectionReset", "reset"),
        ("ECONNRESET", "reset"),
        ("ERR_CONNECTION_RESET", "reset"),
        ("reset by peer", "reset"),
        ("imed out", "hangs"),
        ("imeout", "hangs"),
        ("hung", "hangs"),
        ("status ", words),
    ):
        if known in words:
            return short
    return "broken answer"


def _not_whole(matrix: Matrix) -> Iterator[str]:
    yield "## Cells that are not whole with drainkit\n"
    rows = []
    for name, row in matrix["deployments"].items():
        half = row.get(WITH)
        if half is None:
            continue
        if half["error"] is not None:
            rows.append((f"`{name}`", "all", "not measured", half["error"]))
            continue
        for client, cells in half["clients"].items():
            for case, cell in cells.items():
                if not is_whole(cell):
                    why = reason(name, client, case) or "; ".join(cell["instead"])
                    share = f"{cell['delivered']} of {cell['tries']}"
                    rows.append((f"`{name}`", f"{client}, {case}", share, why))
    if rows:
        yield from table(("deployment", "client, answer", "delivered", "why"), rows)
    else:
        yield "None.\n"


def _order(matrix: Matrix) -> Iterator[str]:
    total = matrix["clients"][_EAGER]["upload_bytes"]
    yield "## What the order costs an eager client\n"
    yield (
        f"When the client `{_EAGER}`, which reads while it sends, had the first byte of the "
        f"answer, when the exchange was over, and how much of {total / 1e6:.0f} MB it had uploaded "
        "(median; least and greatest behind it). An order that makes it wait, or upload "
        "everything, shows here. It stops uploading at a status of 400 or more and waits for the "
        "end of the answer; over HTTP/2 it then falls silent without a reset of the stream.\n"
    )
    rows = []
    for name, row in matrix["deployments"].items():
        for case in ("413", "page"):
            cells = [
                row.get(half, {}).get("clients", {}).get(_EAGER, {}).get(case)
                for half in (WITHOUT, WITH)
            ]
            if any(cells):
                rows.append((f"`{name}`", case, *_times(cells[0]), *_times(cells[1])))
    head = ("first byte", "whole", "uploaded")
    yield from table(
        (
            "deployment",
            "answer",
            *(f"{words}, without" for words in head),
            *(f"{words}, with" for words in head),
        ),
        rows,
    )


def _times(cell: dict[str, Any] | None) -> tuple[str, str, str]:
    if not cell or not cell["delivered"]:
        lost = NOTHING if not cell else "lost"
        return lost, lost, lost
    return (
        _spread(cell["first_byte_seconds"], 1e3, "ms"),
        _spread(cell["seconds"], 1e3, "ms"),
        _spread(cell["uploaded_bytes"], 1e-6, "MB"),
    )


def _spread(values: Sequence[float] | None, factor: float, unit: str) -> str:
    if values is None:
        return NOTHING
    least, median, most = (_number(value * factor) for value in values)
    return f"{median} {unit} ({least} to {most})" if least != most else f"{median} {unit}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= _WHOLE_FROM else f"{value:.3g}"
