"""A run beside an earlier one, on a terminal and in plain lines."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from drainkit_probe import Change, Comparison

from ._terminal import Terminal, panel

_STYLES = {Change.BETTER: "green", Change.SAME: "yellow", Change.WORSE: "red"}


class Beside:
    """What has changed since the earlier run."""

    def __init__(self, comparison: Comparison, terminal: Terminal) -> None:
        self._comparison = comparison
        self._terminal = terminal
        beside = "AS" if comparison.change is Change.SAME else "THAN"
        self._title = f"{comparison.change.value.upper()} {beside} {comparison.since}"

    def __rich__(self) -> RenderableType:
        """Return what rich prints."""
        comparison = self._comparison
        table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim")
        table.add_column("lost")
        table.add_column("")
        table.add_column("before", justify="right")
        table.add_column("now", justify="right")
        table.add_column("")
        said = ""
        for row in comparison.rows:
            table.add_row(
                "" if row.way == said else row.way,
                row.client,
                f"{row.before.lost}/{row.before.tried}",
                f"{row.now.lost}/{row.now.tried}",
                Text(row.change.value, _STYLES[row.change]),
            )
            said = row.way
        notes = [Padding(Text(note, "dim"), (0, 2)) for note in comparison.notes]
        return Group(
            panel(self._title, comparison.sentence, _STYLES[comparison.change]),
            Padding(table, (0, 0, 1, 2)),
            *notes,
            *([Text()] if notes else []),
        )

    def plainly(self) -> None:
        """Print it in lines that other programs can read."""
        comparison = self._comparison
        self._terminal.line(
            f"Compared with {comparison.since}: {comparison.change.value}. {comparison.sentence}"
        )
        for row in comparison.rows:
            self._terminal.line(
                f"Compared: {row.way}, {row.client}: {row.before} lost before, {row.now} now; "
                f"{row.change.value}"
            )
        for note in comparison.notes:
            self._terminal.line(f"Compared: {note}")
