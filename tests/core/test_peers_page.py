"""The page on other projects' tests says what its JSON says."""

import copy
import json

import pytest

from tests.peers import page, results
from tests.peers.suites import SUITES


@pytest.fixture(scope="module")
def measured():
    """Return what is committed."""
    return results.load(results.JSON_PATH)


def test_the_page_is_what_the_json_makes(measured):
    """Whoever changes one of them runs ``python -m tests.peers --page``."""
    assert page.text(measured) == page.PAGE_PATH.read_text(encoding="utf-8")


def test_the_json_is_as_the_program_writes_it(measured):
    assert results.text(measured) == results.JSON_PATH.read_text(encoding="utf-8")
    assert measured == json.loads(results.text(measured))


def test_each_suite_and_each_of_its_runs_is_one_that_is(measured):
    for name, suite in measured["suites"].items():
        runs = {(str(run.place), run.with_body) for run in SUITES[name].runs(quick=False)}

        assert {(run["place"], run["with_body"]) for run in suite["runs"]} <= runs


def test_nothing_that_is_committed_is_worse_with_drainkit(measured):
    worse = [run["worse"] for suite in measured["suites"].values() for run in suite["runs"]]

    assert [] == [one for found in worse for one in found]


@pytest.mark.parametrize("number", ["plain_passed", "passed", "requests", "drains"])
def test_another_number_makes_another_page(measured, number):
    changed = copy.deepcopy(measured)
    next(iter(changed["suites"].values()))["runs"][0][number] += 1

    assert page.text(measured) != page.text(changed)


def test_what_is_explained_stands_on_the_page_once_with_its_places(measured):
    changed = copy.deepcopy(measured)
    runs = next(iter(changed["suites"].values()))["runs"]
    for run in runs[:2]:
        run["explained"] = [{"test": "test_of_a_comet", "reason": "It is far."}]
    lines = page.text(changed).splitlines()
    (where,) = (number for number, line in enumerate(lines) if "It is far." in line)

    assert "- `test_of_a_comet`" == lines[where + 2]
    assert 1 == sum("test_of_a_comet" in line for line in lines)
    assert all(run["place"] in lines[where] for run in runs[:2])


def test_each_run_of_a_suite_is_measured_or_said_not_to_be(measured):
    lines = [line for line in page.text(measured).splitlines() if "not measured" in line]
    whole = {
        name
        for name, suite in measured["suites"].items()
        if {(run["place"], run["with_body"]) for run in suite["runs"]}
        >= {(run.place, run.with_body) for run in SUITES[name].runs(quick=False)}
    }
    missing = {*SUITES} - whole - {*measured["skipped"]}

    assert missing == {line.strip("| ").split(" ")[0] for line in lines}
