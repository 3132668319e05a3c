"""The heat map of a matrix as SVG: without drainkit on the left, with it on the right.

Rule of this file: the picture says nothing by colour alone. Each cell has a symbol or a digit, and
each row a title that says it in words.
"""

from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

from tests.matrix.results import WITH, WITHOUT, Matrix
from tests.matrix.run import is_whole

_CELL = 13
_LABEL = 190
_GAP = 24
_HEAD = 128
_CASE_HEAD = 14
_FOOT = 26
_FONT = "font-family='DejaVu Sans, Verdana, sans-serif'"

WHOLE, NONE, FAILED = "●", "x", "!"
# Told apart in grey and by the colour-blind, too; each with the symbol's colour on it.
_FILLS = {"whole": "#2f7fb8", "some": "#f6c667", "none": "#f3e3dc", "failed": "#dddddd"}
_INKS = {"whole": "#ffffff", "some": "#000000", "none": "#a03010", "failed": "#000000"}
_CASE_LETTERS = {"page": "P", "422": "U"}


def columns(matrix: Matrix) -> list[tuple[str, str]]:
    """Return the clients and cases that a matrix has, in the order of the first cells."""
    halves = [
        half
        for row in matrix["deployments"].values()
        for name in (WITHOUT, WITH)
        if (half := row.get(name))
    ]
    found: dict[str, dict[str, None]] = {name: {} for name in matrix.get("clients", {})}
    for half in halves:
        for client, cells in half["clients"].items():
            found.setdefault(client, {}).update(dict.fromkeys(cells))
    return [(client, case) for client, cases in found.items() for case in cases]


def state(half: dict[str, Any] | None, client: str, case: str) -> tuple[str, str] | None:
    """Return a cell's kind and its symbol; None where nothing was to be measured."""
    cell = (half or {}).get("clients", {}).get(client, {}).get(case)
    if cell is None:
        return None
    if not cell["tries"]:
        return "failed", FAILED
    if is_whole(cell):
        return "whole", WHOLE
    if cell["delivered"]:
        return "some", str(cell["delivered"])
    return "none", NONE


def drawn(matrix: Matrix) -> str:
    """Return the picture."""
    shown = columns(matrix)
    names = list(matrix["deployments"])
    width = _LABEL + 2 * len(shown) * _CELL + _GAP
    height = _HEAD + _CASE_HEAD + len(names) * _CELL + _FOOT
    left = {WITHOUT: _LABEL, WITH: _LABEL + len(shown) * _CELL + _GAP}
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' "
        f"height='{height}' role='img' aria-labelledby='title desc' {_FONT} font-size='9'>",
        "<title id='title'>Which clients have the answer, without drainkit and with it</title>",
        f"<desc id='desc'>{escape(description(matrix))}</desc>",
        f"<rect width='{width}' height='{height}' fill='#ffffff'/>",
    ]
    for half, words in ((WITHOUT, "without drainkit"), (WITH, "with drainkit")):
        middle = left[half] + len(shown) * _CELL / 2
        parts.append(
            f"<text x='{middle:g}' y='14' font-size='13' font-weight='bold' "
            f"text-anchor='middle'>{words}</text>"
        )
        parts += _heads(shown, left[half])
    top = _HEAD + _CASE_HEAD
    for number, name in enumerate(names):
        parts += _row(matrix, name, shown, left, top + number * _CELL)
    legend = (
        f"{WHOLE} every try brought the whole answer; 1 2 3 4 so many tries did; {NONE} none did; "
        f"{FAILED} could not be tried; blank: not measured. Columns 2, 3, 4, P: a 200, a 302, "
        "a 413, a 413 with a page of 4 MB"
    )
    if any(case == "422" for _, case in shown):
        legend += ", U: a 422"
    parts.append(f"<text x='{_LABEL}' y='{height - 8}' font-size='10'>{escape(legend)}</text>")
    return "\n".join([*parts, "</svg>", ""])


def description(matrix: Matrix) -> str:
    """Return what the picture shows in one sentence."""
    words = []
    for half in (WITHOUT, WITH):
        whole, measured = total(matrix, half)
        words.append(f"{half} drainkit {whole} of {measured} cells are whole")
    return f"{len(matrix['deployments'])} deployments: {'; '.join(words)}."


def total(matrix: Matrix, half: str, names: Sequence[str] | None = None) -> tuple[int, int]:
    """Return how many cells are whole, and how many were tried.

    Args:
        matrix: The matrix.
        half: ``WITH`` or ``WITHOUT``.
        names: The deployments to count; all when None.
    """
    cells = [
        cell
        for name in (matrix["deployments"] if names is None else names)
        for row in matrix["deployments"][name].get(half, {}).get("clients", {}).values()
        for cell in row.values()
    ]
    return sum(map(is_whole, cells)), len(cells)


def _heads(shown: Sequence[tuple[str, str]], left: int) -> list[str]:
    parts = []
    base = _HEAD - 4
    letters = " ".join(str(left + at * _CELL + 3) for at in range(len(shown)))
    text = "".join(_CASE_LETTERS.get(case, case[0]) for _, case in shown)
    parts.append(f"<text x='{letters}' y='{base + 12}' font-size='8'>{escape(text)}</text>")
    for at, (client, _) in enumerate(shown):
        if at == 0 or shown[at - 1][0] != client:
            x = left + at * _CELL
            parts.append(
                f"<path d='M{x} {base - 2}V{base + 12}' stroke='#999999'/>"
                f"<text transform='translate({x + 9} {base - 4}) rotate(-60)' "
                f"font-size='10'>{escape(client)}</text>"
            )
    return parts


def _row(
    matrix: Matrix, name: str, shown: Sequence[tuple[str, str]], left: dict[str, int], top: int
) -> list[str]:
    row = matrix["deployments"][name]
    words = [
        "{}: {} of {} whole".format(half, *total(matrix, half, [name])) for half in (WITHOUT, WITH)
    ]
    parts = [
        f"<g><title>{escape(name)}; {'; '.join(words)}</title>",
        f"<text x='{_LABEL - 6}' y='{top + 10}' text-anchor='end' font-size='10'>"
        f"{escape(name)}</text>",
    ]
    for half in (WITHOUT, WITH):
        boxes: dict[str, list[str]] = {}
        signs: dict[str, list[tuple[int, str]]] = {}
        for at, (client, case) in enumerate(shown):
            kind = state(row.get(half), client, case)
            if kind is None:
                continue
            x = left[half] + at * _CELL
            boxes.setdefault(kind[0], []).append(f"M{x} {top}h12v12h-12z")
            signs.setdefault(kind[0], []).append((x + 3, kind[1]))
        for kind_of, paths in boxes.items():
            places = " ".join(str(x) for x, _ in signs[kind_of])
            text = "".join(sign for _, sign in signs[kind_of])
            parts.append(f"<path d='{''.join(paths)}' fill='{_FILLS[kind_of]}'/>")
            parts.append(
                f"<text x='{places}' y='{top + 9.5}' fill='{_INKS[kind_of]}'>{escape(text)}</text>"
            )
    return [*parts, "</g>"]
