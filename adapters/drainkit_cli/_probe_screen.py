"""What a probe shows: a live overview on a terminal, plain lines everywhere else.

Rule: the words are the same in both; colours, marks and pictures only repeat what the words say.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.live import Live
from rich.padding import Padding
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
    Report,
    Reuse,
    Run,
    Verdict,
    error_words,
    pair,
    picture,
    seen,
    words,
)

from ._probe_answers import Answers
from ._probe_beside import Beside
from ._probe_chart import Chart
from ._probe_tables import Tables, style_of
from ._terminal import Color, Terminal, panel

_FRAMES_PER_SECOND = 8
_BAR_COLUMNS = 40
# Beside the bar: how many uploads of how many.
_BAR_MARGIN = 24
_STYLES = {
    Kind.DELIVERED: "green",
    Kind.NOT_EARLY: "yellow",
    Kind.LOST: "red",
    Kind.REPLACED: "red",
    Kind.MALFORMED: "red",
    Kind.NOT_TESTED: "yellow",
}


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
        self._tables = Tables(run, self._terminal)
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
            self._console.print(Text(self.in_words(attempt, fate), style_of(fate)), soft_wrap=True)

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

    def conclude(self, report: Report, *, verbose: bool = False) -> None:
        """Show what was seen and what it comes to.

        Args:
            report: The report.
            verbose: With what came back.
        """
        self._conclude(report)
        if verbose and self._run.attempts:
            Answers(self._run, self._terminal).show()

    def _conclude(self, report: Report) -> None:
        verdict = report.verdict
        if report.interrupted:
            plan = self._run.plan
            done = f"{len(self._run.attempts)} of {words.count(plan.uploads, 'upload')}"
            self._say(f"Interrupted after {done}; what was measured so far:")
        if not self._terminal.is_fancy:
            self._conclude_plainly(report)
            return
        print_ = self._console.print
        if self._run.attempts:
            print_()
            print_(self._tables.matrix())
            print_(self._tables.legend())
        print_()
        print_(panel(verdict.kind.value.upper(), verdict.sentence, _STYLES[verdict.kind]))
        if report.comparison is not None:
            print_(Beside(report.comparison, self._terminal))
        if verdict.place is not None:
            print_(Padding(Text(verdict.place), (0, 2)))
        if self._run.attempts:
            self._draw_both()
            print_()
            print_(self._tables.details())
        if verdict.cures:
            print_()
            print_(Text("Add to the application", "bold"))
            self._print_cures(verdict)
        for note in verdict.notes:
            shown = Table.grid(padding=(0, 1))
            shown.add_row(Text(self._terminal.glyph("·"), "dim"), Text(note))
            print_()
            print_(shown)
        print_()

    def _draw_both(self) -> None:
        """Draw an upload whose answer was lost, and one whose answer came, as far as there are."""
        both = pair(self._run)
        for attempt in (both.lost, both.delivered):
            if attempt is not None:
                self._console.print()
                self._console.print(Chart(picture(attempt, self._fate_of(attempt)), self._terminal))

    def _conclude_plainly(self, report: Report) -> None:
        verdict = report.verdict
        self._terminal.line(f"Verdict: {verdict.kind.value}. {verdict.sentence}")
        if report.comparison is not None:
            Beside(report.comparison, self._terminal).plainly()
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
            ProgressBar(
                total=total,
                completed=done,
                width=max(1, min(_BAR_COLUMNS, self._console.width - _BAR_MARGIN)),
            ),
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
        return Group(Text(), self._tables.matrix(), Text(), Padding(Group(bar, now), (0, 2)))

    def _print_cures(self, verdict: Verdict) -> None:
        for cure in verdict.cures:
            install = f'pip install "{cure.install}"'
            shown = Text.assemble(cure.world, (f"   {install}", "dim"))
            self._console.print(Padding(shown, (0, 0, 0, 2)))
            for line in cure.lines:
                self._terminal.code(line)

    def _say(self, said: str) -> None:
        """Print a sentence: wrapped where somebody looks, one line where a program reads."""
        if self._terminal.is_fancy:
            self._console.print(Text(said))
        else:
            self._terminal.line(said)
