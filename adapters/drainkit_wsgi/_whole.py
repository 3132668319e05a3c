"""A whole answer: a list or tuple of bytes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

# Only there an object is freed, and its __del__() called, as soon as nobody has it any more.
FREES_AT_ONCE = sys.implementation.name == "cpython"


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


def closing(
    result: Iterable[bytes], close: Callable[[], object], *, is_list: bool
) -> Iterable[bytes]:
    """Return a whole answer as the application returned it, with a ``close()`` of drainkit's.

    Args:
        result: The list or tuple.
        close: Called behind the answer; what it does a second time is nothing.
        is_list: Whether the server passes a list on in one piece and closes none.
    """
    if is_list and FREES_AT_ONCE:
        answer = WholeList(result)
        answer.close = close
        return answer
    return Whole(result, close)


class Whole:
    """Such an answer for most servers, which may ask how many items it has.

    It is no list: some servers close none.
    """

    __slots__ = ("_items", "close")

    def __init__(self, items: Any, close: Callable[[], object]) -> None:
        self._items = items
        self.close = close

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


class WholeList(list[bytes]):
    """Such an answer for a server that streams everything but a list, and closes no list.

    It has passed it on when it lets it go, and then what is to be done behind it is done. Who
    closes it, as PEP 3333 says, does so at that moment.
    """

    __slots__ = ("close",)

    close: Callable[[], object]

    def __del__(self) -> None:
        self.close()
