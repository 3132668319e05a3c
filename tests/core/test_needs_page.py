"""What "Do I need this?" says of each stack is what was measured."""

import copy

from tests.matrix import needs, results


def test_the_page_says_what_the_matrix_says():
    """Whoever changes one of them runs ``python -m tests.matrix.needs``."""
    text = needs.PAGE_PATH.read_text(encoding="utf-8")

    assert needs.made(text, results.load(results.JSON_PATH)) == text


def test_a_loss_more_changes_the_page():
    matrix = results.load(results.JSON_PATH)
    before = needs.table(matrix, needs.TABLES["wsgi"])
    changed = copy.deepcopy(matrix)
    cell = changed["deployments"]["waitress"]["without"]["clients"]["strict"]["413"]
    cell["delivered"] -= 1

    assert "no" == needs.verdict(matrix, "waitress")
    assert "**yes**" == needs.verdict(changed, "waitress")
    assert needs.table(changed, needs.TABLES["wsgi"]) != before
