"""What came back, for ``--verbose``: status lines, headers, and how bodies begin."""

from __future__ import annotations

from rich.padding import Padding
from rich.text import Text

from drainkit_probe import Came, Run, came, words

from ._probe_tables import style_of
from ._terminal import Terminal

_INDENT = 4


class Answers:
    """What came back for the uploads of a run, each kind of it once."""

    def __init__(self, run: Run, terminal: Terminal) -> None:
        self._run = run
        self._terminal = terminal

    def show(self) -> None:
        """Print it: wrapped where somebody looks, a line each where a program reads."""
        fancy = self._terminal.is_fancy
        for one in came(self._run):
            title = (
                f"Came back, {one.fate.value}: {words.count(one.uploads, 'upload')}, the first: "
                f"{one.which}"
            )
            if fancy:
                self._terminal.console.print(Text(title, f"bold {style_of(one.fate)}"))
            else:
                self._terminal.line(title)
            for line in _lines(one):
                self._line(line)
            if fancy:
                self._terminal.console.print()

    def _line(self, line: str) -> None:
        if self._terminal.is_fancy:
            self._terminal.console.print(Padding(Text(line), (0, 0, 0, _INDENT)))
        else:
            self._terminal.line(" " * _INDENT + line)


def _lines(one: Came) -> list[str]:
    said = list(one.head or ["(nothing of an answer)"])
    if one.fault:
        said.append(f"(malformed: {one.fault})")
    if one.head:
        how_long = words.size(one.body_bytes)
        said += ["", *one.body, f"({how_long} of body)"] if one.body else [f"({how_long} of body)"]
    return said
