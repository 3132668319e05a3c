"""Standard output: a terminal to draw on, or a place for plain lines.

Rule: what is drawn only repeats what the words say, so that a plain line loses nothing.
"""

from __future__ import annotations

import io
import sys
from typing import Literal, TextIO

from rich import box
from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.panel import Panel
from rich.text import Text

Color = Literal["auto", "always", "never"]

_MOST_COLUMNS = 80
_UNBOUNDED_COLUMNS = 1000
_ASCII = {
    "✓": "+",
    "✗": "x",
    "…": "~",
    "▲": "^",
    "━": "#",
    "─": "-",
    "·": "-",
    "│": "|",
    "┤": "|",
    "└": "+",
}


def panel(title: str, said: str, style: str) -> Panel:
    """Return a sentence in a frame.

    Args:
        title: What stands in the frame.
        said: The sentence.
        style: The colour of the frame and its title.
    """
    return Panel(
        Text(said, "bold"),
        title=Text(title, f"bold {style}"),
        title_align="left",
        border_style=style,
        box=box.ROUNDED,
        padding=(0, 1),
    )


class Terminal:
    """Standard output, at most 80 columns of it.

    Attributes:
        console: What rich prints with.
        is_fancy: Whether things may be drawn and redrawn there.
        is_ascii: Whether it knows no more than ASCII.
    """

    def __init__(self, color: Color = "auto") -> None:
        """Look at standard output.

        Args:
            color: ``"auto"`` for colours on a terminal unless NO_COLOR is set.
        """
        if color == "always":
            self.console = Console(force_terminal=True, no_color=False, highlight=False)
        elif color == "never":
            self.console = Console(color_system=None, highlight=False)
        else:
            self.console = Console(highlight=False)
        self.console.width = min(self.console.width, _MOST_COLUMNS)
        stdout: TextIO | None = sys.stdout  # None where it was closed before the program began
        if isinstance(stdout, io.TextIOWrapper):
            # What a server said may have characters that are not to be had here.
            stdout.reconfigure(errors="replace")
        is_terminal = stdout is not None and stdout.isatty()
        self.is_fancy = is_terminal and not self.console.is_dumb_terminal
        self.is_ascii = self.console.options.ascii_only

    def line(self, said: str) -> None:
        """Print one line; it stays one, so that other programs can read it."""
        self.console.print(Text(said), soft_wrap=True)

    def glyph(self, glyph: str) -> str:
        """Return a mark, or what stands for it in ASCII."""
        return _ASCII.get(glyph, glyph) if self.is_ascii else glyph

    def code(self, line: str) -> None:
        """Print a line to copy: a narrow terminal wraps it by itself, and copies it whole."""
        self.console.print(Text(f"    {line}", "cyan"), soft_wrap=True)

    def fits(self, shown: RenderableType, indent: int = 0) -> bool:
        """Whether something is no wider than the console.

        Args:
            shown: What is to be printed.
            indent: The columns in front of it.
        """
        unbounded = self.console.options.update(max_width=_UNBOUNDED_COLUMNS)
        wanted = Measurement.get(self.console, unbounded, shown).maximum
        return wanted + indent <= self.console.width
