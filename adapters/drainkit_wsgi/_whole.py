"""A whole answer: a list or tuple of bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any


def whole_length(result: Iterable[bytes]) -> int | None:
    """Return how long an answer is that is known as a whole, or ``None``."""
    if type(result) is list and len(result) == 1 and type(result[0]) is bytes:
        return len(result[0])  # as nearly every one
    if not isinstance(result, (list, tuple)):
        return None
    nbytes = 0
    for item in result:
        if not isinstance(item, bytes):
            return None  # the application's error, and the server's to tell
        nbytes += len(item)
    return nbytes


class Whole:
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
