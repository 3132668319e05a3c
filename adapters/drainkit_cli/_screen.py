"""What the demonstration shows: one screen on a terminal, plain lines everywhere else.

Rule: the words are the same in both; colour and boxes only repeat what the words say.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator

from rich import box
from rich.console import Group
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from drainkit_probe import VERSION, error_words, words

from ._experiment import LOOPBACK, STATUS, Observation, Setting, Try
from ._terminal import Terminal

_BAR_COLUMNS = 16
# What a panel's frame takes from its title.
_PANEL_COLUMNS = 6
# Below this there is no place for bars beside the words.
_LEAST_COLUMNS = 60

_BAD_GATEWAY = 502

# More tries than this would push the first of them off a screen of 24 lines.
_MOST_ROWS = 3


class Screen:
    """The demonstration's output: `working` while it runs, `tell` for each try, `conclude`."""

    def __init__(self, size_bytes: int, tries: int, setting: Setting) -> None:
        self._size_bytes = size_bytes
        self._tries = tries
        self._setting = setting
        self._terminal = Terminal()
        self._console = self._terminal.console
        self._progress: Progress | None = None

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Show the beginning, and on a terminal a progress display, until the block ends."""
        if not self._terminal.is_fancy:
            self._terminal.line(
                f"drainkit {VERSION}: {words.count(self._tries, 'upload')} of "
                f"{words.size(self._size_bytes)} each way to {self._setting.words} on {LOOPBACK}, "
                f"Python {platform.python_version()}"
            )
            yield
            return
        with Progress(
            SpinnerColumn("line" if self._terminal.is_ascii else "dots"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=max(1, min(24, self._console.width - 32))),
            MofNCompleteColumn(),
            TextColumn("uploads"),
            console=self._console,
            transient=True,
        ) as progress:
            self._progress = progress
            self._task = progress.add_task("without drainkit", total=2 * self._tries)
            yield

    def tell(self, drained: bool, number: int, one: Try) -> None:
        """Note one upload."""
        if self._progress is not None:
            if number == self._tries and not drained:
                self._progress.update(self._task, description="with drainkit   ")
            self._progress.advance(self._task)
        if not self._terminal.is_fancy:
            which = "with drainkit" if drained else "without drainkit"
            self._terminal.line(f"{which}, try {number} of {self._tries}: {self._in_words(one)}")

    def conclude(self, observation: Observation) -> None:
        """Show what was seen, and whether it is what was promised."""
        verdict = self._verdict(observation)
        logged = [
            f"In {self._setting.proxy}'s error log {words.count(number, 'time')}: {error}"
            for error, number in observation.proxy_errors.items()
        ]
        if not self._terminal.is_fancy:
            for line in (*logged, verdict):
                self._terminal.line(line)
            return
        print_ = self._console.print
        title = Text.assemble(
            ("drainkit demo", "bold"),
            (
                f"   {words.size(self._size_bytes)} each, {self._setting.words}"
                + ("" if self._setting.proxy else f" on {LOOPBACK}")
                + f", Python {platform.python_version()}",
                "dim",
            ),
        )
        print_()
        print_(title)
        print_(
            f"The application answers {STATUS} at once and never reads the upload. {self._who()}"
        )
        print_()
        print_(self._panel("without drainkit", observation.without))
        print_(self._panel("with drainkit", observation.drained))
        for line in logged:
            print_(Text(line, "dim"))
        print_()
        mark, style = ("✓", "green") if observation.convincing else ("✗", "red")
        shown = Table.grid(padding=(0, 1))
        shown.add_row(Text(self._terminal.glyph(mark), f"bold {style}"), Text(verdict, "bold"))
        print_(shown)
        if observation.convincing:
            self._terminal.code("from drainkit_wsgi import DrainMiddleware")
            self._terminal.code("application = DrainMiddleware(application)")

    def _who(self) -> str:
        if self._setting.proxy is None:
            return "The client sends everything before it reads, as browsers and http.client do."
        return (
            f"{self._setting.proxy}, at its defaults but for the limit on uploads, takes the whole "
            "upload first, whatever the client, and then sends it to the server."
        )

    def _panel(self, title: str, tries: tuple[Try, ...]) -> Panel:
        arrived = sum(one.arrived for one in tries)
        every, none = arrived == len(tries), arrived == 0
        style = "green" if every else "red" if none else "yellow"
        count = f"{arrived} of {words.count(len(tries), 'answer')} arrived"
        rows = Table.grid(padding=(0, 1))
        # Where there is no room for all, a loss is what there is to see.
        lost_first = sorted(enumerate(tries, 1), key=lambda numbered: numbered[1].arrived)
        for number, one in sorted(lost_first[:_MOST_ROWS], key=lambda numbered: numbered[0]):
            colour = "green" if one.arrived else "red"
            rows.add_row(
                Text(str(number), "dim"),
                Text(self._terminal.glyph("✓" if one.arrived else "✗"), colour),
                self._bar(one, colour),
                self._outcome(one, colour),
            )
        separator = f" {self._terminal.glyph('·')} "
        shown = Text.assemble((title, "bold"), separator, (count, style))
        parts: list[Table | Text] = [rows]
        if not self._terminal.fits(shown, _PANEL_COLUMNS):
            shown = Text(title, "bold")
            parts.insert(0, Text(count, style))
        if len(tries) > _MOST_ROWS:
            parts.append(Text(f"and {len(tries) - _MOST_ROWS} more; --json has them all", "dim"))
        return Panel(
            Group(*parts),
            title=shown,
            title_align="left",
            border_style=style,
            box=box.ROUNDED,
        )

    def _outcome(self, one: Try, colour: str) -> Text:
        first, _, rest = self._in_words(one).partition("; ")
        return Text.assemble((first, colour), "\n" if rest else "", (rest, "dim"))

    def _bar(self, one: Try, colour: str) -> Text:
        """Show how much of the upload was sent."""
        if self._console.width < _LEAST_COLUMNS:
            return Text()
        sent = one.answer.sent_bytes / self._size_bytes
        # What was sent shows, however little it was.
        filled = max(1, int(sent * _BAR_COLUMNS)) if sent else 0
        full, empty = self._terminal.glyph("━"), self._terminal.glyph("─")
        return Text.assemble((full * filled, colour), (empty * (_BAR_COLUMNS - filled), "dim"))

    def _in_words(self, one: Try) -> str:
        answer = one.answer
        if one.arrived:
            assert answer.first_byte_seconds is not None  # the whole answer is there
            first = words.duration(answer.first_byte_seconds)
            said = f"{answer.status} arrived, first byte read after {first}"
        elif (error := error_words(answer)) is not None:
            said = f"lost, {error} after {words.size(answer.sent_bytes)}"
        elif self._setting.proxy is not None and answer.status == _BAD_GATEWAY:
            said = f"{answer.status} of {self._setting.proxy} instead of the {STATUS}"
        else:
            said = f"another answer arrived, status {answer.status}"
        if one.report is not None:
            report = one.report
            said += (
                f"; {words.size(report.bytes_discarded)} discarded in "
                f"{words.duration(report.seconds)}, drain {report.outcome.value}"
            )
        return said

    def _verdict(self, observation: Observation) -> str:
        lost, arrived = observation.lost_without, observation.arrived_drained
        tries = len(observation.without)
        seen = (
            f"Without drainkit {lost} of {words.count(tries, 'answer')} "
            f"{'was' if 1 in (lost, tries) else 'were'} lost, "
            f"with it {arrived} of {tries} arrived."
        )
        if observation.convincing:
            return seen
        if lost == 0:
            every = "the answer" if tries == 1 else f"all {tries} answers"
            more = "a larger --size loses" if self._setting.proxy is None else "more --tries lose"
            return (
                f"No loss was seen: without drainkit {every} arrived, so there is "
                f"nothing to show. The loss is a race, and {more} it more often."
            )
        return f"{seen} That is not what was promised; `--json` has the details."
