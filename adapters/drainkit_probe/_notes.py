"""What else was seen in a run, beside lost answers: one sentence for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from . import words
from ._fates import Fate, seen
from ._run import Attempt, Reuse, Run


def notes(run: Run, counts: Counter[Fate]) -> Iterator[str]:
    """Yield what else was seen.

    Args:
        run: The run.
        counts: How many of its answers met which fate.
    """
    yield from _of_connections(run)
    if run.preflight is not None and run.preflight.offers_http2 and not run.plan.speaks_http2:
        ways = ",".join([*(way.name for way in run.plan.ways), "http2"])
        yield (
            f"Browsers get HTTP/2 from this server, and that was not probed: --ways {ways} does "
            'it, with pip install "drainkit[http2]".'
        )
    waited = f"{run.plan.timeout_seconds:g} s"
    if number := counts[Fate.NO_ANSWER]:
        yield (
            f"{words.count(number, 'upload')} got no answer in {waited}; with --timeout they get "
            "longer."
        )
    if number := counts[Fate.MALFORMED]:
        malformed = [a for a, fate in seen(run) if fate is Fate.MALFORMED]
        yield (
            f"{words.count(number, 'answer')} broke the rules of HTTP: {faults_of(malformed)}. "
            "Such an answer counts as lost, since clients refuse it."
        )
    if number := counts[Fate.UNFINISHED]:
        yield f"{words.count(number, 'answer')} began but did not end in {waited}."
    if number := sum(attempt.end == "refused" for attempt in run.attempts):
        yield f"{words.count(number, 'connection')} failed after the first ones had worked."
    if any(attempt.answer.version == "1.0" for attempt in run.attempts):
        yield "The server answers as HTTP/1.0, so no connection can be used twice."
    if any(_invited_in_vain(attempt) for attempt in run.attempts):
        yield (
            'With "Expect: 100-continue" the server asks for the upload first (100 Continue) and '
            "refuses it then."
        )


def faults_of(attempts: Iterable[Attempt]) -> str:
    """Return what made answers malformed, in words that repeat nothing of them."""
    faults = (attempt.answer.malformed for attempt in attempts)
    return words.listed(sorted(set(filter(None, faults))))


def _of_connections(run: Run) -> Iterator[str]:
    reuse = Counter(attempt.reuse for attempt in run.attempts)
    if number := reuse[Reuse.GARBLED]:
        yield (
            f"{words.count(number, 'time')} the server took leftover body for a request: on a "
            "shared connection somebody else would get that answer. Make it read or close."
        )
    if number := reuse[Reuse.SILENT]:
        yield (
            f"{words.count(number, 'connection')} ended after the answer although nothing had "
            "announced it: the next request on such a connection fails."
        )


def _invited_in_vain(attempt: Attempt) -> bool:
    answer = attempt.answer
    return attempt.cell.way.expect and 100 in answer.interim and (answer.status or 0) >= 400
