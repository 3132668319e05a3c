"""What differs between a plain run and one with drainkit, and what follows from that."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.peers.explained import Explained
from tests.peers.inside.peers_inside.outcomes import Outcome, Record

# A test that differs is run again so often, alone, plain and with drainkit.
AGAIN = 3
# What differs in some runs only is looked for so often before it counts as gone.
MOST_LOOKS = 6
# More than these do not differ because tests are unsteady.
MOST_AGAIN = 12

_FINE = frozenset({Outcome.PASSED, Outcome.SKIPPED, Outcome.XFAILED})


@dataclass(frozen=True, slots=True)
class Difference:
    """A test that is worse with drainkit.

    Attributes:
        test: Its id.
        plain: What became of it without drainkit.
        drained: What became of it with drainkit.
        reason: Its failure in few words, or what its row of the table says.
    """

    test: str
    plain: Outcome
    drained: Outcome
    reason: str

    def __str__(self) -> str:
        """Return it as a line."""
        outcomes = f"{self.plain.name.lower()} plain, {self.drained.name.lower()} with drainkit"
        return f"{self.test}: {outcomes}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a run with drainkit is judged to be.

    Attributes:
        worse: What no row of the table explains. It fails the session.
        explained: What one does.
        unsteady: What failed once with drainkit, and alone passed as often as without.
        stale: What is wrong with rows of the table. It fails the session.
    """

    worse: Sequence[Difference] = field(default_factory=list)
    explained: Sequence[Difference] = field(default_factory=list)
    unsteady: Sequence[Difference] = field(default_factory=list)
    stale: Sequence[str] = field(default_factory=list)


def differences(plain: Record, drained: Record) -> list[Difference]:
    """Return the tests that are fine in the one run and not as good in the other."""
    found = []
    for test, before in plain.outcomes.items():
        after = drained.of(test)
        # One that passed must pass; one that was skipped may not fail.
        is_worse = after not in _FINE or (before is Outcome.PASSED and after is not before)
        if before in _FINE and is_worse:
            found.append(Difference(test, before, after, drained.reasons.get(test, "")))
    # What exists with drainkit only, such as a module that cannot be collected.
    for test, after in drained.outcomes.items():
        if after is Outcome.FAILED and test not in plain.outcomes:
            reason = drained.reasons.get(test, "")
            found.append(Difference(test, Outcome.MISSING, after, reason))
    return found


def compare(
    plain: Record,
    drained: Record,
    rows: Sequence[Explained],
    is_unsteady: Callable[[str], bool],
    passes_alone: Callable[[str], bool],
) -> Comparison:
    """Judge a run with drainkit.

    Args:
        plain: The run without.
        drained: The run with drainkit.
        rows: The rows of the table that are about it.
        is_unsteady: Runs a test alone, plain and with drainkit, and tells whether it passes as
            often with as without. Asked for differences that no row explains.
        passes_alone: Runs a test alone, with drainkit, and tells whether it passes. Asked for
            races that the run does not show.
    """
    found = differences(plain, drained)
    explained, open_ones = [], []
    for one in found:
        row = next((row for row in rows if row.matches(one.test)), None)
        if row is None:
            open_ones.append(one)
        else:
            explained.append(Difference(one.test, one.plain, one.drained, row.reason))
    unsteady: list[Difference] = []
    if len(open_ones) <= MOST_AGAIN:
        unsteady = [one for one in open_ones if is_unsteady(one.test)]
    worse = [one for one in open_ones if one not in unsteady]
    gone = [row for row in rows if not any(row.matches(one.test) for one in explained)]
    stale = [f"{row.test}: {why}" for row in gone if (why := _why_stale(plain, row, passes_alone))]
    return Comparison(worse, explained, unsteady, stale)


def _why_stale(plain: Record, row: Explained, passes_alone: Callable[[str], bool]) -> str | None:
    """Say why a row of which a run shows nothing has no reason any more, if it has none."""
    tests = [test for test in plain.outcomes if row.matches(test)]
    if not tests:
        return "there is no such test; remove its row"
    fine = [test for test in tests if plain.of(test) in _FINE]
    if not fine:
        return "it does not pass without drainkit either; remove its row"
    if row.is_race and not all(passes_alone(fine[0]) for _ in range(MOST_LOOKS)):
        return None
    return "it passes with drainkit; remove its row"


def passes_as_often(run_alone: Callable[[bool], bool]) -> bool:
    """Run a test alone, equally often without and with drainkit; tell whether it is as good.

    Args:
        run_alone: Runs it once, with drainkit or without; tells whether it passed.
    """
    passed = dict.fromkeys((False, True), 0)
    for _ in range(AGAIN):
        for is_drained in passed:
            passed[is_drained] += run_alone(is_drained)
    # Never as good by failing on both sides: it has passed without.
    return passed[True] >= passed[False] > 0
