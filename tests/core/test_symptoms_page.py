"""The words that the page of symptoms gives to clients are those that were measured."""

import json
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "how-to" / "symptoms.md").read_text(encoding="utf-8")
_CLIENTS = PAGE.partition("## Clients\n")[2].partition("\n## ")[0]
WORDS = re.findall(r"^\| `([^`]+)` \|", _CLIENTS, re.M)
# Python's urllib is no client of the matrix; it says what http.client raised inside of it.
_INSIDE = re.compile(r"<urlopen error (.*)>")


@pytest.fixture(scope="module")
def measured():
    """Everything that clients said in the place of an answer, without drainkit."""
    matrix = json.loads((DOCS / "matrix.json").read_text(encoding="utf-8"))
    return "\n".join(
        words
        for row in matrix["deployments"].values()
        for cells in row["without"]["clients"].values()
        for cell in cells.values()
        for words in cell["instead"]
    )


def test_there_are_words():
    assert len(WORDS) > 20


@pytest.mark.parametrize("words", WORDS)
def test_a_client_really_said_it(measured, words):
    assert _INSIDE.sub(r"\1", words) in measured
