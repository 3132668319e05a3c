"""Hypothesis looks at the same examples in every run, so that a change alone can break it."""

import importlib
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

MODULE = """
NUMBERS = [{numbers}]
FLOATS = [{floats}]
"""


def looked_at():
    """Return what a search looks at."""
    seen = []

    @given(st.lists(st.tuples(st.integers(), st.floats(0, 1e9), st.integers(0, 300_000))))
    def look(example):
        seen.append(example)

    look()
    return seen


def test_whatever_was_imported_before(tmp_path, monkeypatch):
    """Workers run other tests before it each time, and those import other modules of ours."""
    if not settings.default.derandomize:
        pytest.skip("is to look at others each time")
    before = looked_at()
    numbers = ", ".join(str(1000 + 7 * number) for number in range(200))
    floats = ", ".join(str(1000.5 + 7 * number) for number in range(200))
    text = MODULE.format(numbers=numbers, floats=floats)
    (tmp_path / "imported_meanwhile.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("imported_meanwhile")
    try:
        after = looked_at()
    finally:
        del sys.modules["imported_meanwhile"]

    assert before == after
