"""A run beside an earlier one, on a terminal and in plain lines."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from drainkit_probe import Change, Comparison, Share

from ._terminal import Terminal, panel

_INDENT = 2

_STYLES = {Change.BETTER: "green", Change.SAME: "yellow", Change.WORSE: "red"}


class Beside:
    """What has changed since the earlier run."""

    def __init__(self, comparison: Comparison, terminal: Terminal) -> None:
        self._comparison = comparison
        self._terminal = terminal

    def __rich__(self) -> RenderableType:
        """Return what rich prints."""
        comparison = self._comparison
        wide = self._wide()
        shown = wide if self._terminal.fits(wide, _INDENT) else self._narrow()
        notes = [Padding(Text(note, "dim"), (0, _INDENT)) for note in comparison.notes]
        return Group(
            panel(
                comparison.change.value.upper(),
                f"Compared with {comparison.since}: {comparison.sentence}",
                _STYLES[comparison.change],
            ),
            Padding(shown, (0, 0, 1, _INDENT)),
            *notes,
            *([Text()] if notes else []),
        )

    def _wide(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim")
        table.add_column("lost")
        table.add_column("")
        table.add_column("before", justify="right")
        table.add_column("now", justify="right")
        table.add_column("")
        said = ""
        for row in self._comparison.rows:
            table.add_row(
                "" if row.way == said else row.way,
                row.client,
                _share(row.before),
                _share(row.now),
                Text(row.words, _STYLES[row.change]),
            )
            said = row.way
        return table

    def _narrow(self) -> RenderableType:
        shown: list[RenderableType] = []
        for row in self._comparison.rows:
            shown.append(Text(f"{row.way}, {row.client}: lost", "dim"))
            numbers = f"{_share(row.before)} before, {_share(row.now)} now; "
            line = Text.assemble(numbers, (row.words, _STYLES[row.change]))
            shown.append(Padding(line, (0, 0, 0, _INDENT)))
        return Group(*shown)

    def plainly(self) -> None:
        """Print it in lines that other programs can read."""
        comparison = self._comparison
        self._terminal.line(
            f"Compared with {comparison.since}: {comparison.change.value}. {comparison.sentence}"
        )
        for row in comparison.rows:
            self._terminal.line(
                f"Compared: {row.way}, {row.client}: {row.before} lost before, {row.now} now; "
                f"{row.words}"
            )
        for note in comparison.notes:
            self._terminal.line(f"Compared: {note}")


def _share(share: Share) -> str:
    return f"{share.lost}/{share.tried}"
