"""The uploads of a run as tables: marks by size, and numbers.

Rule: a table that does not fit is another one, with the same in it; nothing is cut off.
"""

from __future__ import annotations

from typing import Literal

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from drainkit_probe import ENDS, Attempt, Cell, Fate, Reuse, Run, cells, rows, seen, words

from ._terminal import Terminal

# More marks than this in one place are counted instead.
_MOST_MARKS = 5
_INDENT = 2

_MARKS: dict[Fate, tuple[str, str]] = {
    Fate.DELIVERED: ("✓", "green"),
    Fate.LOST: ("✗", "red"),
    Fate.REPLACED: ("!", "red"),
    Fate.MALFORMED: ("%", "red"),
    Fate.UNFINISHED: ("…", "yellow"),
    Fate.NO_ANSWER: ("?", "yellow"),
}
_MEANINGS = {
    Fate.DELIVERED: "delivered",
    Fate.LOST: "lost",
    Fate.REPLACED: "replaced by a proxy",
    Fate.MALFORMED: "malformed",
    Fate.UNFINISHED: "did not end",
    Fate.NO_ANSWER: "no answer",
}
_REUSES = {
    Reuse.AGAIN: "used again",
    Reuse.ANNOUNCED: "closed, announced",
    Reuse.SILENT: "closed unannounced",
    Reuse.GARBLED: "leftover as request",
    Reuse.UNTRIED: "closed by us",
}
# Of the numbers: one line for each kind of upload, within 80 columns.
_COLUMNS: tuple[tuple[str, Literal["left", "right"]], ...] = (
    ("way", "left"),
    ("client", "left"),
    ("size", "right"),
    ("answer", "left"),
    ("ready", "right"),
    ("by then", "right"),
    ("end", "left"),
)


def style_of(fate: Fate) -> str:
    """Return the colour of a fate."""
    return _MARKS[fate][1]


class Tables:
    """The tables of a run, as wide as the terminal allows."""

    def __init__(self, run: Run, terminal: Terminal) -> None:
        self._run = run
        self._terminal = terminal

    def matrix(self) -> RenderableType:
        """Return the marks of all tries: sizes beside each other, or else below each other."""
        wide = self._wide_matrix()
        shown = wide if self._terminal.fits(wide, _INDENT) else self._narrow_matrix()
        return Padding(shown, (0, 0, 0, _INDENT))

    def legend(self) -> RenderableType:
        """Return what the marks mean, those that were met."""
        met = {fate for _, fate in seen(self._run)}
        said = [
            Text.assemble(self._mark(fate), (f" {_MEANINGS[fate]}   ", "dim"))
            for fate in Fate
            if fate in met
        ]
        return Padding(Text.assemble(*said), (1, 2, 0, 2))

    def details(self) -> RenderableType:
        """Return the numbers: a line for each kind of upload, or else some lines."""
        worst = [(cell, _worst(made)) for cell, made in cells(self._run) if made]
        wide = self._wide_details(worst)
        return wide if self._terminal.fits(wide) else self._narrow_details(worst)

    def _wide_matrix(self) -> Table:
        sizes = self._run.plan.sizes
        table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim")
        table.add_column("")
        table.add_column("")
        for size in sizes:
            table.add_column(words.size(size), justify="right", min_width=8)
        found = {(c.way.name, c.client.name, c.size_bytes): made for c, made in cells(self._run)}
        said = ""
        for way, client in rows(self._run):
            places = [self._place(found.get((way.name, client.name, size))) for size in sizes]
            table.add_row("" if way.name == said else way.name, client.name, *places)
            said = way.name
        return table

    def _narrow_matrix(self) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column()
        table.add_column()
        table.add_column(justify="right")
        table.add_column()
        said = ""
        for cell, made in cells(self._run):
            way = "" if cell.way.name == said else cell.way.name
            size = Text(words.size(cell.size_bytes), "dim")
            table.add_row(way, cell.client.name, size, self._place(made))
            said = cell.way.name
        return table

    def _place(self, made: list[tuple[Attempt, Fate]] | None) -> Text:
        if made is None:
            return Text()
        tries = self._run.plan.tries
        if tries > _MOST_MARKS:
            good = sum(not fate.is_loss for _, fate in made)
            style = "dim" if not made else "green" if good == len(made) else "red"
            return Text(f"{good}/{len(made)}", style)
        marks = [self._mark(fate) for _, fate in made]
        return Text.assemble(*marks, (self._terminal.glyph("·") * (tries - len(made)), "dim"))

    def _mark(self, fate: Fate) -> tuple[str, str]:
        mark, style = _MARKS[fate]
        return (self._terminal.glyph(mark), style)

    def _wide_details(self, worst: list[tuple[Cell, tuple[Attempt, Fate]]]) -> Table:
        table = Table(
            box=box.SIMPLE_HEAD,
            padding=(0, 1),
            pad_edge=False,
            header_style="dim",
            show_edge=False,
        )
        for name, justify in _COLUMNS:
            table.add_column(name, no_wrap=True, justify=justify)
        for cell, (attempt, fate) in worst:
            answer = attempt.answer
            noticed, by_then = answer.noticed_seconds, answer.sent_at_noticed_bytes
            table.add_row(
                cell.way.name,
                cell.client.name,
                words.size(cell.size_bytes),
                Text.assemble(self._mark(fate), " ", str(answer.status or "none")),
                "never" if noticed is None else words.duration(noticed),
                "" if by_then is None else words.size(by_then),
                _end(attempt, fate),
            )
        return table

    def _narrow_details(self, worst: list[tuple[Cell, tuple[Attempt, Fate]]]) -> RenderableType:
        shown: list[RenderableType] = []
        for cell, (attempt, fate) in worst:
            answer = attempt.answer
            what = f"{cell.way.name}, {cell.client.name}, {words.size(cell.size_bytes)}: "
            status = f" {answer.status or 'none'}"
            shown.append(Text.assemble((what, "dim"), self._mark(fate), status))
            said = "answer never ready"
            if answer.noticed_seconds is not None:
                by_then = words.size(answer.sent_at_noticed_bytes or 0)
                said = f"ready: {words.duration(answer.noticed_seconds)}, {by_then} sent"
            shown.append(Padding(Text(f"{said}; {_end(attempt, fate)}"), (0, 0, 0, 4)))
        return Group(*shown)


def _worst(made: list[tuple[Attempt, Fate]]) -> tuple[Attempt, Fate]:
    """Return what stands for a cell: a loss, if there was one."""
    return next(((attempt, fate) for attempt, fate in made if fate.is_loss), made[0])


def _end(attempt: Attempt, fate: Fate) -> str:
    if fate.is_loss and attempt.reuse is Reuse.UNTRIED:
        return f"{ENDS[attempt.end]} at {words.size(attempt.answer.sent_bytes)}"
    if attempt.end == "client" or attempt.reuse in (Reuse.SILENT, Reuse.GARBLED):
        return _REUSES[attempt.reuse]
    return f"{ENDS[attempt.end]}, announced"
