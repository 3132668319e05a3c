"""A run from beginning to end, and what it came to.

Rule: a target that cannot be tested is a verdict, not an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ._compare import Comparison, check_comparable, compare
from ._earlier import Earlier
from ._plan import Plan
from ._run import Attempt, Run
from ._target import Family, NotTestedError, Target
from ._verdict import Kind, Verdict, judge, not_tested

INTERRUPTED = 130  # 128 + SIGINT, as shells count


@dataclass(frozen=True, slots=True)
class Report:
    """A run that is over.

    Attributes:
        run: Where to, what, and what was seen.
        verdict: What that comes to.
        interrupted: Whether Ctrl-C ended it.
        comparison: How it stands beside an earlier run; None if it was not compared.
    """

    run: Run
    verdict: Verdict
    interrupted: bool = False
    comparison: Comparison | None = None

    @property
    def exit_status(self) -> int:
        """The exit status of the command: the verdict's, or the comparison's if there is one."""
        if self.interrupted:
            return INTERRUPTED
        judged = self.verdict.kind if self.comparison is None else self.comparison
        return judged.exit_status


def probe(
    url: str,
    plan: Plan | None = None,
    *,
    family: Family | None = None,
    insecure: bool = False,
    tell: Callable[[Attempt], object] | None = None,
    earlier: Earlier | None = None,
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
        earlier: The run to compare with; None compares with none.

    Returns:
        The run and its verdict, also if the target could not be tested.

    Raises:
        TypeError: An argument is of the wrong type.
        BadTargetError: The URL cannot be used.
        BadReportError: The earlier run has no upload like those of the plan.
    """
    _check_types(url, plan, tell, earlier)
    if family not in (4, 6, None):
        raise ValueError(f"family must be 4, 6 or None; got {family!r}")
    run = Run(Target.parse(url), plan or Plan(), family=family, insecure=insecure)
    if earlier is not None:
        check_comparable(run.plan, earlier)
    try:
        run.resolve()
        run.look()
        run.upload(tell)
    except NotTestedError as error:
        return conclude(run, error)
    return conclude(run, earlier=earlier)


def _check_types(url: object, plan: object, tell: object, earlier: object) -> None:
    if not isinstance(url, str):  # not shown: it may hold a password
        raise TypeError(
            f"url must be a text such as 'http://127.0.0.1:8000/upload'; got a {type(url).__name__}"
        )
    if plan is not None and not isinstance(plan, Plan):  # nor its headers
        instead = ": write Plan(**plan)" if isinstance(plan, Mapping) else ""
        raise TypeError(f"plan must be a Plan or None; got a {type(plan).__name__}{instead}")
    if tell is not None and not callable(tell):
        raise TypeError(f"tell must be a function of an Attempt, or None; got {tell!r}")
    if earlier is not None and not isinstance(earlier, Earlier):
        raise TypeError(
            f"earlier must be an Earlier or None; got a {type(earlier).__name__}: write "
            f"Earlier.of(data)"
        )


def conclude(
    run: Run,
    ended_by: NotTestedError | KeyboardInterrupt | None = None,
    *,
    earlier: Earlier | None = None,
) -> Report:
    """Return what a run came to.

    Args:
        run: The run.
        ended_by: What ended it before its end; None if nothing did.
        earlier: The run to compare with; None compares with none, and so does a target that could
            not be tested.
    """
    if isinstance(ended_by, NotTestedError):
        return Report(run, not_tested(str(ended_by), ended_by.reason))
    is_judged = ended_by is None or run.attempts
    verdict = judge(run) if is_judged else not_tested("interrupted before the first upload")
    comparison = None
    if earlier is not None and verdict.kind is not Kind.NOT_TESTED:
        comparison = compare(run, earlier)
    return Report(run, verdict, interrupted=ended_by is not None, comparison=comparison)
