"""The command ``drainkit``: ``demo`` loses an answer here, ``probe`` asks a server of yours.

It needs click and rich: ``pip install "drainkit[cli]"``.
"""

from ._commands import main

__all__ = ["main"]
