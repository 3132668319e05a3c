"""What became of each test, by its id, and how often drainkit was asked."""

import json
from collections import Counter
from enum import IntEnum
from pathlib import Path

MOST_CHARACTERS = 300


class Outcome(IntEnum):
    """What became of a test; of several words about one, the greatest counts."""

    SKIPPED = 0
    XFAILED = 1
    PASSED = 2
    FAILED = 3
    MISSING = 4
    """It did not run, or its process ended. Never recorded: `Record.of` says it."""


class Record:
    """The outcomes of one run, and counts: ``requests`` that came to drainkit, ``drains`` begun."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.reasons: dict[str, str] = {}
        self.counts: Counter[str] = Counter()

    def add(self, test: str, outcome: Outcome, reason: str = "") -> None:
        """Tell of a test; its worst outcome stays."""
        if outcome >= self.outcomes.get(test, outcome):
            self.outcomes[test] = outcome
        if outcome is Outcome.FAILED and test not in self.reasons:
            self.reasons[test] = " ".join(reason.split())[:MOST_CHARACTERS]

    def of(self, test: str) -> Outcome:
        """Return what became of a test."""
        return self.outcomes.get(test, Outcome.MISSING)

    def with_outcome(self, outcome: Outcome) -> int:
        """Return how many tests had this outcome."""
        return sum(one is outcome for one in self.outcomes.values())

    def write(self, path: str) -> None:
        """Write it, whole or not at all."""
        whole = Path(path)
        part = whole.with_suffix(".part")
        told = {
            "outcomes": {test: outcome.name for test, outcome in self.outcomes.items()},
            "reasons": self.reasons,
            "counts": self.counts,
        }
        part.write_text(json.dumps(told), encoding="utf-8")
        part.replace(whole)

    @classmethod
    def read(cls, path: str) -> "Record":
        """Read what `write` wrote."""
        told = json.loads(Path(path).read_text(encoding="utf-8"))
        record = cls()
        record.outcomes = {test: Outcome[name] for test, name in told["outcomes"].items()}
        record.reasons = told["reasons"]
        record.counts = Counter(told["counts"])
        return record
