"""What nobody would await: the kinds of ``on_report`` that every world refuses when it is made."""

import functools


async def told_later(report):
    """Take a report, if somebody awaits it."""


async def told_piecemeal(report):
    """Take a report, if somebody iterates over it."""
    yield report


class Sink:
    """Takes reports in a method, or when it is called."""

    async def told(self, report):
        """Take a report, if somebody awaits it."""

    async def __call__(self, report):
        """Take a report, if somebody awaits it."""


ASYNC_REPORTS = {
    "function": told_later,
    "generator": told_piecemeal,
    "partial": functools.partial(told_later),
    "partial of a partial": functools.partial(functools.partial(told_later)),
    "method": Sink().told,
    "callable object": Sink(),
    "partial of a callable object": functools.partial(Sink()),
}
