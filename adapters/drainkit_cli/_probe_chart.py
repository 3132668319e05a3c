"""One upload over time, drawn with characters: bytes sent, the answer's coming, the end."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from drainkit_probe import Picture, words

from ._terminal import Terminal

_MOST_COLUMNS = 60
_ROWS = 5
# Left of the axis stands the size, and right of the chart the mark of the end.
_MARGIN = 11
_RIGHT = 2
_EIGHTHS = " ▁▂▃▄▅▆▇█"


class Chart:
    """The picture of one upload for a terminal."""

    def __init__(self, drawn: Picture, terminal: Terminal) -> None:
        self._drawn = drawn
        self._terminal = terminal
        self._columns = max(1, min(_MOST_COLUMNS, terminal.console.width - _MARGIN - _RIGHT))
        self._style = "red" if drawn.lost else "green"
        self._end = terminal.glyph("✗" if drawn.lost else "✓")
        self._ready = terminal.glyph("▲")

    def __rich__(self) -> RenderableType:
        """Return what rich prints."""
        title = self._drawn.title[:1].upper() + self._drawn.title[1:]
        return Group(
            Text(title, f"bold {self._style}"), *self._bars(), self._marks(), self._meanings()
        )

    def _bars(self) -> Iterator[Text]:
        """Yield the bytes sent over time, a line for each row of the chart, and the axis."""
        drawn, columns = self._drawn, self._columns
        sent = [drawn.sent_at((column + 1) / columns * drawn.seconds) for column in range(columns)]
        labels = {_ROWS - 1: words.size(drawn.top_bytes), 0: "0"}
        for row in reversed(range(_ROWS)):
            label = labels.get(row, "")
            bars = "".join(self._block(nbytes / drawn.top_bytes, row) for nbytes in sent)
            axis = self._terminal.glyph("┤" if label else "│")
            yield Text.assemble((f"{label:>{_MARGIN - 1}} {axis}", "dim"), (bars, self._style))
        base = self._terminal.glyph("└") + self._terminal.glyph("─") * columns
        yield Text(" " * _MARGIN + base, "dim")

    def _block(self, share: float, row: int) -> str:
        """Return the part of a column that is in one row of the chart."""
        eighths = round(share * _ROWS * 8) - row * 8
        # What was sent shows, however little it was.
        if row == 0 and share > 0:
            eighths = max(eighths, 1)
        eighths = max(0, min(eighths, 8))
        if self._terminal.is_ascii:
            return "#" if eighths >= 4 or (row == 0 and eighths) else " "
        return _EIGHTHS[eighths]

    def _marks(self) -> Text:
        """Return the line under the chart, which marks answer and end."""
        under = [Text(" ")] * self._columns + [Text(self._end, self._style)]
        if self._drawn.answer is not None:
            place = int(self._drawn.answer[0] / self._drawn.seconds * self._columns) + 1
            under[max(0, min(place, self._columns - 1))] = Text(self._ready, "cyan")
        return Text.assemble(" " * _MARGIN, *under)

    def _meanings(self) -> RenderableType:
        meanings = Table.grid(padding=(0, 1))
        if self._drawn.answer is not None:
            meanings.add_row(Text(self._ready, "cyan"), Text(self._drawn.answer_words))
        meanings.add_row(Text(self._end, self._style), Text(self._drawn.end_words))
        indent = _MARGIN + 1 if self._columns == _MOST_COLUMNS else 2
        return Padding(meanings, (0, 0, 0, indent))
