"""A run from beginning to end, and what it came to.

Rule: a target that cannot be tested is a verdict, not an exception.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ._plan import Plan
from ._run import Attempt, Run
from ._target import Family, NotTestedError, Target
from ._verdict import Verdict, judge, not_tested


@dataclass(frozen=True, slots=True)
class Report:
    """A run that is over.

    Attributes:
        run: Where to, what, and what was seen.
        verdict: What that comes to.
        interrupted: Whether Ctrl-C ended it.
    """

    run: Run
    verdict: Verdict
    interrupted: bool = False


def probe(
    url: str,
    plan: Plan | None = None,
    *,
    family: Family | None = None,
    insecure: bool = False,
    tell: Callable[[Attempt], object] | None = None,
) -> Report:
    """Upload to an endpoint of yours, and say what becomes of its early answers.

    One connection at a time; at most ``plan.total_bytes`` of bodies in all. Nobody is asked before:
    probe nothing that is not yours.

    Args:
        url: The endpoint: choose one that refuses uploads (with 401, 404, 413, ...), since only
            there an answer can be early.
        plan: What is sent; None for ``Plan()``.
        family: 4 or 6 for that version of IP only, None for either.
        insecure: Accept any TLS certificate.
        tell: Told of each upload when it is over; None tells nobody.

    Returns:
        The run and its verdict, also if the target could not be tested.

    Raises:
        BadTargetError: The URL cannot be used.
    """
    run = Run(Target.parse(url), plan or Plan(), family=family, insecure=insecure)
    try:
        run.resolve()
        run.look()
        run.upload(tell)
    except NotTestedError as error:
        return conclude(run, error)
    return conclude(run)


def conclude(run: Run, ended_by: NotTestedError | KeyboardInterrupt | None = None) -> Report:
    """Return what a run came to.

    Args:
        run: The run.
        ended_by: What ended it before its end; None if nothing did.
    """
    if isinstance(ended_by, NotTestedError):
        return Report(run, not_tested(str(ended_by), ended_by.reason))
    if ended_by is None:
        return Report(run, judge(run))
    verdict = judge(run) if run.attempts else not_tested("interrupted before the first upload")
    return Report(run, verdict, interrupted=True)
