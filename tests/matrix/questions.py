"""The matrix as one small picture for each question, which can be read on a telephone.

Rule of this file: a row says its numbers in words, and the bars only repeat them.
"""

from collections.abc import Iterator
from typing import NamedTuple
from xml.sax.saxutils import escape

from tests.matrix import picture
from tests.matrix.results import WITH, WITHOUT, Matrix
from tests.matrix.run import is_whole

_WIDTH = 360
_LABEL = 174
_BAR = 86
_GAP = 7
_ROW = 22
_HEAD = 66
_FOOT = 12
_FONT = "font-family='DejaVu Sans, Verdana, sans-serif'"
_FILL = "#2f7fb8"
_LOST = "#f3e3dc"
_INK = "#1f2933"
_LABEL_LETTERS = 27


class Row(NamedTuple):
    """One line of a picture: its label, and how many cells are whole of how many, each way."""

    label: str
    without: tuple[int, int]
    drained: tuple[int, int]


class Question(NamedTuple):
    """One picture: the end of its file's name, what it asks, and its rows."""

    name: str
    words: str
    rows: list[Row]


def questions(matrix: Matrix) -> list[Question]:
    """Return the questions that a matrix answers; those without a row are left out."""
    kinds: dict[str, tuple[str, list[str]]] = {
        "alone": ("Which servers lose answers?", []),
        "proxy": ("And behind a proxy?", []),
        "tls": ("And over TLS?", []),
        "h2": ("And over HTTP/2?", []),
    }
    for name in matrix["deployments"]:
        kinds[_kind(name)][1].append(name)
    asked = [
        Question(kind, words, [_deployment(matrix, name) for name in names])
        for kind, (words, names) in kinds.items()
    ]
    asked.append(Question("clients", "Which clients lose them?", list(clients(matrix))))
    return [question for question in asked if question.rows]


def _kind(name: str) -> str:
    if ">" in name:
        return "proxy"
    _, colon, way = name.partition(":")
    return ("tls" if way == "tls" else "h2") if colon else "alone"


def _deployment(matrix: Matrix, name: str) -> Row:
    without, drained = (picture.total(matrix, half, [name]) for half in (WITHOUT, WITH))
    return Row(name, without, drained)


def clients(matrix: Matrix) -> Iterator[Row]:
    """Return a row for each client."""
    counts: dict[str, dict[str, list[bool]]] = {}
    for row in matrix["deployments"].values():
        for half in (WITHOUT, WITH):
            for client, cells in row.get(half, {}).get("clients", {}).items():
                whole = counts.setdefault(client, {WITHOUT: [], WITH: []})[half]
                whole += map(is_whole, cells.values())
    for client, halves in counts.items():
        without, drained = ((sum(whole), len(whole)) for whole in halves.values())
        yield Row(client, without, drained)


def described(question: Question) -> str:
    """Return what a picture shows in one sentence."""
    sums = [
        tuple(map(sum, zip(*(getattr(row, half) for row in question.rows), strict=True)))
        for half in ("without", "drained")
    ]
    return (
        f"{question.words} Without drainkit {sums[0][0]} of {sums[0][1]} cells are whole; "
        f"with drainkit {sums[1][0]} of {sums[1][1]}."
    )


def drawn(question: Question) -> str:
    """Return one picture."""
    height = _HEAD + len(question.rows) * _ROW + _FOOT
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {height}' width='{_WIDTH}' "
        f"height='{height}' role='img' aria-labelledby='title desc' {_FONT} font-size='12'>",
        f"<title id='title'>{escape(question.words)}</title>",
        f"<desc id='desc'>{escape(described(question))}</desc>",
        f"<rect width='{_WIDTH}' height='{height}' rx='6' fill='#ffffff'/>",
        f"<g fill='{_INK}'>",
        f"<text x='10' y='22' font-size='15' font-weight='bold'>{escape(question.words)}</text>",
        f"<text x='{_LABEL}' y='52'>without</text>",
        f"<text x='{_LABEL + _BAR + _GAP}' y='52'>with drainkit</text>",
        "</g>",
    ]
    for number, row in enumerate(question.rows):
        top = _HEAD + number * _ROW
        label = row.label
        if len(label) > _LABEL_LETTERS:
            label = f"{label[: _LABEL_LETTERS - 1]}…"
        parts.append(
            f"<text x='{_LABEL - 8}' y='{top + 14}' text-anchor='end' font-size='10' "
            f"fill='{_INK}'>{escape(label)}</text>"
        )
        parts += _bar(_LABEL, top, row.without)
        parts += _bar(_LABEL + _BAR + _GAP, top, row.drained)
    return "\n".join([*parts, "</svg>", ""])


def _bar(left: int, top: int, share: tuple[int, int]) -> list[str]:
    whole, measured = share
    filled = _BAR * whole / measured if measured else 0
    words = f"{whole} of {measured}" if measured else "not measured"
    # The words stand on a light strip, which every share of the bar leaves readable.
    return [
        f"<rect x='{left}' y='{top}' width='{_BAR}' height='18' fill='{_LOST}'/>",
        f"<rect x='{left}' y='{top + 15}' width='{filled:g}' height='3' fill='{_FILL}'/>",
        f"<text x='{left + 4}' y='{top + 12}' font-size='11' fill='{_INK}'>{words}</text>",
    ]
