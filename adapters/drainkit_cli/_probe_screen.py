"""What a probe shows: a live overview on a terminal, plain lines everywhere else.

Rule: the words are the same in both; colours, marks and pictures only repeat what the words say.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Literal

from rich import box
from rich.console import Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from drainkit_probe import (
    ENDS,
    VERSION,
    Attempt,
    Fate,
    Kind,
    Picture,
    Report,
    Reuse,
    Run,
    Verdict,
    cells,
    error_words,
    pair,
    picture,
    rows,
    seen,
    words,
)

from ._terminal import Color, Terminal

_FRAMES_PER_SECOND = 8
_CHART_COLUMNS = 60
_CHART_ROWS = 5
_CHART_MARGIN = 11
_EIGHTHS = " ▁▂▃▄▅▆▇█"
# More marks than this in one place are counted instead.
_MOST_MARKS = 5

_MARKS: dict[Fate, tuple[str, str, str]] = {
    Fate.DELIVERED: ("✓", "+", "green"),
    Fate.LOST: ("✗", "x", "red"),
    Fate.REPLACED: ("!", "!", "red"),
    Fate.UNFINISHED: ("…", "~", "yellow"),
    Fate.NO_ANSWER: ("?", "?", "yellow"),
}
_MEANINGS = {
    Fate.DELIVERED: "delivered",
    Fate.LOST: "lost",
    Fate.REPLACED: "replaced by a proxy",
    Fate.UNFINISHED: "did not end",
    Fate.NO_ANSWER: "no answer",
}
_STYLES = {
    Kind.DELIVERED: "green",
    Kind.NOT_EARLY: "yellow",
    Kind.LOST: "red",
    Kind.REPLACED: "red",
    Kind.NOT_TESTED: "yellow",
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


def plan_line(run: Run) -> str:
    """Return what is about to be sent, in one line."""
    plan = run.plan
    return (
        f"{plan.method} to {run.target.shown}: {words.count(plan.uploads, 'upload')} one after "
        f"the other, at most {words.size(plan.total_bytes)} in all"
    )


class ProbeScreen:
    """A probe's output: `working` while it runs, `tell` for each upload, `conclude`."""

    def __init__(self, run: Run, color: Color) -> None:
        self._run = run
        self._terminal = Terminal(color)
        self._console = self._terminal.console
        self._live: Live | None = None
        self._spinner = Spinner("line" if self._terminal.is_ascii else "dots")
        self._since = time.monotonic()

    def begin(self) -> None:
        """Say what is about to be sent."""
        if self._terminal.is_fancy:
            self._console.print()
            self._console.print(Text.assemble(("drainkit probe", "bold"), f" {VERSION}"))
            self._console.print(Text(plan_line(self._run)))
        else:
            self._terminal.line(f"drainkit {VERSION}: {plan_line(self._run)}")

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Show the overview as it fills, on a terminal, until the block ends."""
        if not self._terminal.is_fancy:
            yield
            return
        with Live(
            get_renderable=self._overview,
            console=self._console,
            transient=True,
            refresh_per_second=_FRAMES_PER_SECOND,
        ) as live:
            self._live, self._since = live, time.monotonic()
            try:
                yield
            finally:
                self._live = None

    def tell(self, attempt: Attempt) -> None:
        """Note one upload, the latest of the run."""
        if self._live is not None:
            self._since = time.monotonic()
            self._live.refresh()
        if not self._terminal.is_fancy:
            _, fate = seen(self._run)[-1]
            self._console.print(Text(self.in_words(attempt, fate), _MARKS[fate][2]), soft_wrap=True)

    def in_words(self, attempt: Attempt, fate: Fate) -> str:
        """Return everything about one upload, in one line."""
        cell, answer = attempt.cell, attempt.answer
        said = [
            f"{cell.client.name}, {cell.way.name}, {words.size(cell.size_bytes)}, "
            f"try {attempt.number}: {fate.value}"
        ]
        if answer.status is not None:
            said[0] += f" {answer.status}"
        if answer.noticed_seconds is not None:
            said.append(
                f"answer ready after {words.duration(answer.noticed_seconds)} with "
                f"{words.size(answer.sent_at_noticed_bytes or 0)} sent"
            )
        if fate.is_loss and (error := error_words(answer)) is not None:
            said.append(error)
        said.append(f"{words.size(answer.sent_bytes)} sent in {words.duration(answer.seconds)}")
        said.append(f"connection {ENDS[attempt.end]}")
        if attempt.reuse is not Reuse.UNTRIED:
            said.append(attempt.reuse.value)
        return "; ".join(said)

    def conclude(self, report: Report) -> None:
        """Show what was seen and what it comes to."""
        verdict = report.verdict
        if report.interrupted:
            done = f"{len(self._run.attempts)} of {self._run.plan.uploads} uploads"
            self._terminal.line(f"Interrupted after {done}; what was measured so far:")
        if not self._terminal.is_fancy:
            self._conclude_plainly(verdict)
            return
        print_ = self._console.print
        if self._run.attempts:
            print_()
            print_(self._matrix())
            print_(self._legend())
        print_()
        style = _STYLES[verdict.kind]
        print_(
            Panel(
                Text(verdict.sentence, "bold"),
                title=Text(verdict.kind.value.upper(), f"bold {style}"),
                title_align="left",
                border_style=style,
                box=box.ROUNDED,
                padding=(0, 1),
            )
        )
        if verdict.place is not None:
            print_(Padding(Text(verdict.place), (0, 2)))
        if self._run.attempts:
            both = pair(self._run)
            for attempt in (both.lost, both.delivered):
                if attempt is not None:
                    print_()
                    print_(self._chart(picture(attempt, self._fate_of(attempt))))
            print_()
            print_(self._details())
        if verdict.cures:
            print_()
            print_(Text("Add to the application", "bold"))
            print_(self._cures(verdict))
        for note in verdict.notes:
            shown = Table.grid(padding=(0, 1))
            shown.add_row(Text(self._terminal.glyph("·"), "dim"), Text(note))
            print_()
            print_(shown)
        print_()

    def _conclude_plainly(self, verdict: Verdict) -> None:
        self._terminal.line(f"Verdict: {verdict.kind.value}. {verdict.sentence}")
        if verdict.place is not None:
            self._terminal.line(f"Place: {verdict.place}")
        for cure in verdict.cures:
            self._terminal.line(f'Cure for {cure.world} (pip install "{cure.install}"):')
            for line in cure.lines:
                self._terminal.line(f"    {line}")
        for note in verdict.notes:
            self._terminal.line(f"Note: {note}")

    def _fate_of(self, attempt: Attempt) -> Fate:
        return next(fate for one, fate in seen(self._run) if one is attempt)

    def _overview(self) -> RenderableType:
        plan = self._run.plan
        done, total = len(self._run.attempts), plan.uploads
        bar, now = Table.grid(padding=(0, 1)), Table.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(total=total, completed=done, width=40),
            Text(f"{done} of {words.count(total, 'upload')}", "dim"),
        )
        if done < total:
            cell = plan.cells[done // plan.tries]
            seconds = int(time.monotonic() - self._since)
            now.add_row(
                self._spinner,
                Text(
                    f"{cell.client.name}, {cell.way.name}, {words.size(cell.size_bytes)}, try "
                    f"{done % plan.tries + 1}" + (f", for {seconds} s" if seconds else ""),
                    "dim",
                ),
            )
        return Group(Text(), self._matrix(), Text(), Padding(Group(bar, now), (0, 2)))

    def _matrix(self) -> RenderableType:
        plan = self._run.plan
        table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim")
        table.add_column("")
        table.add_column("")
        for size in plan.sizes:
            table.add_column(words.size(size), justify="right", min_width=8)
        found = {(c.way.name, c.client.name, c.size_bytes): tries for c, tries in cells(self._run)}
        said = ""
        for way, client in rows(self._run):
            places = [self._place(found.get((way.name, client.name, size))) for size in plan.sizes]
            table.add_row("" if way.name == said else way.name, client.name, *places)
            said = way.name
        return Padding(table, (0, 2))

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
        mark, ascii_mark, style = _MARKS[fate]
        return (ascii_mark if self._terminal.is_ascii else mark, style)

    def _legend(self) -> RenderableType:
        met = {fate for _, fate in seen(self._run)}
        said = [
            Text.assemble(self._mark(fate), (f" {_MEANINGS[fate]}   ", "dim"))
            for fate in Fate
            if fate in met
        ]
        return Padding(Text.assemble(*said), (1, 2, 0, 2))

    def _chart(self, drawn: Picture) -> RenderableType:
        style = "red" if drawn.lost else "green"
        title = Text(drawn.title[:1].upper() + drawn.title[1:], f"bold {style}")
        return Group(title, *self._bars(drawn, style), *self._marks(drawn, style))

    def _bars(self, drawn: Picture, style: str) -> Iterator[Text]:
        """Yield the bytes sent over time, a line for each row of the chart, and the axis."""
        columns = [
            drawn.sent_at((column + 1) / _CHART_COLUMNS * drawn.seconds)
            for column in range(_CHART_COLUMNS)
        ]
        labels = {_CHART_ROWS - 1: words.size(drawn.top_bytes), 0: "0"}
        for row in reversed(range(_CHART_ROWS)):
            label = labels.get(row, "")
            bars = "".join(self._block(sent / drawn.top_bytes, row) for sent in columns)
            axis = self._terminal.glyph("┤" if label else "│")
            yield Text.assemble((f"{label:>{_CHART_MARGIN - 1}} {axis}", "dim"), (bars, style))
        base = self._terminal.glyph("└") + self._terminal.glyph("─") * _CHART_COLUMNS
        yield Text(" " * _CHART_MARGIN + base, "dim")

    def _marks(self, drawn: Picture, style: str) -> Iterator[Text]:
        """Yield the line under the chart, which marks answer and end, and what the marks mean."""
        end = self._mark(Fate.LOST if drawn.lost else Fate.DELIVERED)
        ready = self._terminal.glyph("▲")
        under = [Text(" ")] * _CHART_COLUMNS + [Text(end[0], style)]
        if drawn.answer is not None:
            place = int(drawn.answer[0] / drawn.seconds * _CHART_COLUMNS) + 1
            under[min(place, _CHART_COLUMNS - 1)] = Text(ready, "cyan")
        yield Text.assemble(" " * _CHART_MARGIN, *under)
        margin = " " * (_CHART_MARGIN + 1)
        if drawn.answer is not None:
            yield Text.assemble(margin, (ready, "cyan"), f" {drawn.answer_words}")
        yield Text.assemble(margin, end, f" {drawn.end_words}")

    def _block(self, share: float, row: int) -> str:
        """Return the part of a column that is in one row of the chart."""
        eighths = round(share * _CHART_ROWS * 8) - row * 8
        # What was sent shows, however little it was.
        if row == 0 and share > 0:
            eighths = max(eighths, 1)
        eighths = max(0, min(eighths, 8))
        if self._terminal.is_ascii:
            return "#" if eighths >= 4 or (row == 0 and eighths) else " "
        return _EIGHTHS[eighths]

    def _details(self) -> RenderableType:
        table = Table(
            box=box.SIMPLE_HEAD,
            padding=(0, 1),
            pad_edge=False,
            header_style="dim",
            show_edge=False,
        )
        for name, justify in _COLUMNS:
            table.add_column(name, no_wrap=True, justify=justify)
        for cell, made in cells(self._run):
            if not made:
                continue
            # The worst of a cell: a loss, if there was one.
            attempt, fate = next(((a, f) for a, f in made if f.is_loss), made[0])
            answer = attempt.answer
            noticed, by_then = answer.noticed_seconds, answer.sent_at_noticed_bytes
            table.add_row(
                cell.way.name,
                cell.client.name,
                words.size(cell.size_bytes),
                Text.assemble(self._mark(fate), " ", str(answer.status or "none")),
                "never" if noticed is None else words.duration(noticed),
                "" if by_then is None else words.size(by_then),
                self._end(attempt, fate),
            )
        return table

    @staticmethod
    def _end(attempt: Attempt, fate: Fate) -> str:
        if fate.is_loss and attempt.reuse is Reuse.UNTRIED:
            return f"{ENDS[attempt.end]} at {words.size(attempt.answer.sent_bytes)}"
        if attempt.end == "client" or attempt.reuse in (Reuse.SILENT, Reuse.GARBLED):
            return _REUSES[attempt.reuse]
        return f"{ENDS[attempt.end]}, announced"

    def _cures(self, verdict: Verdict) -> RenderableType:
        shown: list[RenderableType] = []
        for cure in verdict.cures:
            shown.append(
                Text.assemble(f"  {cure.world}", (f'   pip install "{cure.install}"', "dim"))
            )
            shown += [Padding(Text(line, "cyan"), (0, 0, 0, 4)) for line in cure.lines]
        return Group(*shown)
