"""A whole answer: a list or tuple of bytes, with a ``close()`` of drainkit's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .servers import Server

# Then an object ends where nobody has it any more, and not some time later.
_COUNTS_REFERENCES = sys.implementation.name == "cpython"


def whole_length(result: Iterable[bytes]) -> int | None:
    """Return how long an answer is that is known as a whole, or ``None``."""
    if not isinstance(result, (list, tuple)):
        return None
    nbytes = 0
    for item in result:
        if not isinstance(item, bytes):
            return None  # the application's error, and the server's to tell
        nbytes += len(item)
    return nbytes


class _Whole:
    """A whole answer as the application returned it, with a ``close()`` of drainkit's.

    A server may ask how many items it has. It is no list: some servers close none.
    """

    __slots__ = ("_items", "close")

    def __init__(self, items: Any, close: Callable[[], None]) -> None:
        self._items = items
        self.close = close

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


class _WholeList(list[bytes]):
    """The same for a server that takes a list as it is, and lets it go when it has sent it."""

    __slots__ = ("close",)

    close: Callable[[], None]

    def __del__(self) -> None:
        self.close()


def whole(items: Any, close: Callable[[], None], server: Server) -> Iterable[bytes]:
    """Return a whole answer with a ``close()`` that does nothing twice."""
    if server.forgets_lists and _COUNTS_REFERENCES:
        answer = _WholeList(items)
        answer.close = close
        return answer
    return _Whole(items, close)
