"""The command ``drainkit``: ``drainkit demo`` shows a lost answer, and the cure, on this machine.

It needs click and rich: ``pip install "drainkit[cli]"``.
"""

from ._commands import main

__all__ = ["main"]
