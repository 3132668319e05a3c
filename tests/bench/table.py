"""The table: a row for each thing measured, the contenders side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.bench.alternatives import (
    CONTROL,
    DRAINKIT,
    FLOOR,
    HANDLER,
    HANDLER_64,
    LEAST,
    NAIVE,
    NONE,
    SNIPPET,
)
from tests.bench.results import Figure, Results, Section
from tests.bench.targets import target_of

HEADINGS = (
    "where",
    "what",
    "measure",
    "without",
    "snippet, naive loop",
    "in the handler",
    "least middleware",
    "drainkit",
    "target",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the same thing measured with several contenders.

    Attributes:
        where: The server.
        what: The case.
        measure: What was measured, and its unit.
        figures: By contender.
        target: The target and its verdict; empty if there is none.
        is_curve: Whether it is one point of a curve.
    """

    where: str
    what: str
    measure: str
    figures: dict[str, Figure]
    target: str
    is_curve: bool

    def cells(self) -> tuple[str, ...]:
        """Return the text of each column."""
        named = {NONE, CONTROL, FLOOR, SNIPPET, NAIVE, HANDLER, HANDLER_64, LEAST, DRAINKIT}
        # What stands alone has no contender in the table: a framework's own import.
        alone = tuple(self.figures.keys() - named)
        return (
            self.where,
            self.what,
            self.measure,
            self._of(NONE, FLOOR, CONTROL, *alone),
            self._of(SNIPPET, NAIVE),
            self._of(HANDLER),
            self._of(LEAST),
            self._of(DRAINKIT),
            self.target,
        )

    def _of(self, *contenders: str) -> str:
        found = [self.figures[name] for name in contenders if name in self.figures]
        return spread(found[0]) if found else ""


def rows(section: Section) -> Iterator[Row]:
    """Yield a section's rows in the order of its figures."""
    grouped: dict[tuple[str, str, str, bool], dict[str, Figure]] = {}
    for figure in section.figures:
        what = figure.case
        is_curve = figure.x is not None and _is_curve(section.figures, figure)
        if is_curve:
            what += f": {figure.x:g}"
        measure = f"{figure.measure}, {figure.unit}" if figure.unit else figure.measure
        key = (figure.where, what, measure, is_curve)
        grouped.setdefault(key, {})[figure.contender] = figure
    for (where, what, measure, is_curve), figures in grouped.items():
        yield Row(where, what, measure, figures, _verdict(section.name, figures), is_curve)


def _is_curve(figures: Sequence[Figure], figure: Figure) -> bool:
    """Whether the same is measured at several places."""
    return any(
        other.case == figure.case and other.where == figure.where and other.x != figure.x
        for other in figures
        if other.measure == figure.measure
    )


def _verdict(section: str, figures: dict[str, Figure]) -> str:
    figure = figures.get(DRAINKIT)
    target = None if figure is None else target_of(section, figure)
    if figure is None or target is None:
        return ""
    return f"{target.sign()} {target.limit_for(figure):g}: {target.verdict(figure)}"


def spread(figure: Figure) -> str:
    """Return the median and, where there are several samples, the quartiles."""
    if figure.n == 1:
        return number(figure.median)
    return f"{number(figure.median)} ({number(figure.low)} to {number(figure.high)})"


def number(value: float) -> str:
    """Return three digits, without an exponent."""
    if value == 0:
        return "0"
    text = f"{value:.3g}"
    return f"{float(text):,.0f}".replace(",", " ") if "e" in text else text


def text(results: Results) -> str:
    """Return the whole table for a terminal."""
    lines = [("section", *HEADINGS)]
    for section in results.sections.values():
        lines += [(section.name, *row.cells()) for row in rows(section)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    printed = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    printed.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(printed)
