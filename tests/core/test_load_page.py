"""The page on load says what was measured, and the figures are computed rightly."""

import copy

import pytest

from tests.load import figures, page, record


def test_the_page_and_the_record_agree():
    """Whoever changes one of them runs ``python -m tests.load page``."""
    text = page.PAGE.read_text(encoding="utf-8")

    assert page.rendered(record.load()) == text


@pytest.mark.parametrize(
    ("section", "path"),
    [
        ("slow-drains", ("median_ratio", "median")),
        ("slow-drains", ("states", "draining", "p99_ms", "median")),
        ("slow-drains", ("most_active",)),
        ("soak", ("memory", "second_half")),
        ("soak", ("counts", "descriptors", "second_half")),
        ("link", ("waits_ms", "p99")),
    ],
    ids=lambda value: value if isinstance(value, str) else ".".join(value),
)
def test_another_figure_makes_another_page(section, path):
    measured = copy.deepcopy(record.load())
    place = next(iter(measured[section]["servers"].values()))
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] += 1000

    assert page.rendered(measured) != page.rendered(record.load())


def test_the_page_says_how_many_upload_to_each_server_and_how_often_they_rest():
    measured = copy.deepcopy(record.load())
    measured["link"]["plan"]["uploads"] = 8 * len(measured["link"]["servers"])
    for server in measured["link"]["servers"].values():
        server["at_rest"] = [{"seconds": seconds} for seconds in (77.0, 154.0, 230.0)]
    shown = page.rendered(measured)

    assert ", 8 of each server, upload one thing after the other" in shown
    assert "once in 77 s, in the median" in shown


def test_the_page_says_which_commit_was_measured_where_that_is_known():
    measured = copy.deepcopy(record.load())
    measured["soak"]["made"]["commit"] = "1a2b3c4"

    assert "drainkit's commit 1a2b3c4" in page.rendered(measured)


def test_the_page_says_what_is_not_as_wanted():
    measured = copy.deepcopy(record.load())
    name, server = next(iter(measured["slow-drains"]["servers"].items()))
    server["most_active"] = server["capacity"] + 1

    assert f"{name}: {server['capacity'] + 1} drains at once" in page.rendered(measured)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"lost": {"strict": 2}, "problems": ["why"]}, "2 answers lost: ['why']"),
        ({"held_too_long": 1}, "1 held over 12.0 s"),
        (
            {"memory": {"first_half_most": 1000, "second_half": 1021}},
            "memory grew from at most 1000 to 1021",
        ),
        (
            {"blocks": {"first_half_most": 1000, "second_half": 1006}},
            "blocks grew from at most 1000 to 1006",
        ),
        ({"counts": {"threads": {"first_half": 4, "second_half": 5}}}, "threads grew from 4 to 5"),
        ({"counts": {"tasks": {"first_half": None, "second_half": None}}}, None),
    ],
    ids=str,
)
def test_a_soak_that_lost_or_grew_is_told(change, found):
    clean = {
        "lost": {},
        "problems": [],
        "held_too_long": 0,
        "memory": {"first_half_most": 1000, "second_half": 1019},
        "blocks": {"first_half_most": 1000, "second_half": 1004},
        "counts": {},
    }
    measured = {"plan": {"most_held_seconds": 12.0}, "servers": {"one": {**clean, **change}}}

    assert ([f"one: {found}"] if found else []) == record.misses("soak", measured)


def test_a_spread_is_median_and_quartiles():
    expected = {"median": 3.0, "first_quartile": 2.0, "third_quartile": 4.0, "count": 5}

    assert expected == figures.spread([5, 1, 4, 2, 3])


def test_a_spread_of_one_value_is_that_value():
    expected = {"median": 7.0, "first_quartile": 7.0, "third_quartile": 7.0, "count": 1}

    assert expected == figures.spread([7])


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.0, 1)])
def test_a_percentile_is_a_value_that_was_measured(share, expected):
    assert expected == figures.percentile(list(range(100, 0, -1)), share)


def test_one_wild_sample_does_not_move_the_slope():
    points = [(float(minute), 2.0 * minute) for minute in range(9)]
    points[4] = (4.0, 1000.0)

    assert 2.0 == pytest.approx(figures.slope(points))
