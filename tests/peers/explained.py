"""Tests that pass without drainkit and not with it, and why that is no fault of drainkit's.

Rule: a row whose reason is gone fails the session, as a difference without a row does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.peers.inside.peers_inside.setting import Place


@dataclass(frozen=True, kw_only=True, slots=True)
class Explained:
    """One difference that is meant.

    Attributes:
        suite: The name of the suite.
        test: The id of a test, or a pattern of `fnmatch` for several.
        places: Where drainkit stands when they differ.
        with_body: Whether requests are given bodies when they differ; ``None`` for both.
        reason: A sentence.
    """

    suite: str
    test: str
    places: frozenset[Place]
    with_body: bool | None = None
    reason: str

    def is_about(self, suite: str, place: Place, with_body: bool) -> bool:
        """Tell whether it is about a run."""
        return (
            suite == self.suite
            and place in self.places
            and self.with_body in (None, with_body)
        )

    def matches(self, test: str) -> bool:
        """Tell whether it is about a test."""
        # Brackets stand for themselves: pytest puts parameters in them.
        return test == self.test or fnmatchcase(test, self.test.replace("[", "[[]"))


TABLE: Sequence[Explained] = (
    Explained(
        suite="flask",
        test="tests/test_basic.py::test_app_freed_on_zero_refcount",
        places=frozenset({Place.INIT_APP}),
        reason="an application whose wsgi_app is wrapped, as Flask's documentation shows, holds "
        "itself: the wrapper has its method. It is freed by the garbage collector.",
    ),
)
