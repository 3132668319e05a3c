"""The page of what drainkit costs says what the figures say; nothing is measured here."""

import dataclasses
import json

import pytest

from drainkit import DEFAULTS, Resource
from tests.bench.page import PAGE_PATH, page
from tests.bench.plots import PICTURES
from tests.bench.results import JSON_PATH, Figure, ResultsError, figure, load, save
from tests.bench.targets import TARGETS, Target, target_of

SAMPLES = {"where": "w", "case": "c", "contender": "drainkit", "measure": "m", "unit": "s"}


def test_the_page_is_made_of_the_figures():
    """After a new run, or new words: python -m tests.bench.page."""
    assert page(load(JSON_PATH)) == PAGE_PATH.read_text(encoding="utf-8")


@pytest.mark.parametrize("plot", PICTURES, ids=lambda plot: plot.name)
def test_each_plot_shows_the_figures(plot):
    results = load(JSON_PATH)
    drawn = PAGE_PATH.with_name(f"{plot.name}.svg").read_text(encoding="utf-8")

    assert [] != list(plot.lines(results))
    assert plot.digest(results) in drawn


def test_no_target_is_without_a_figure():
    """A target whose pattern fits nothing would count as met."""
    results = load(JSON_PATH)
    without = [
        target.words
        for target in TARGETS
        if not any(target.covers(target.section, f) for f in _figures(results, target.section))
    ]

    assert [] == without


def test_no_figure_has_two_targets():
    """Only one of them would be in the table."""
    results = load(JSON_PATH)
    several = [
        each
        for name in results.sections
        for each in _figures(results, name)
        if sum(target.covers(name, each) for target in TARGETS) > 1
    ]

    assert [] == several


def test_a_target_that_a_quick_run_judged_is_marked():
    results = load(JSON_PATH)
    changed = {
        name: dataclasses.replace(section, quick=name == "import")
        for name, section in results.sections.items()
    }
    table = page(dataclasses.replace(results, sections=changed)).partition("## The targets")[2]
    rows = [line for line in table.partition("###")[0].splitlines() if line.startswith("| ")]

    assert [target.words for target in TARGETS if target.section == "import"] == [
        row.split(" | ")[0].removeprefix("| ") for row in rows if "quick run" in row
    ]


def test_the_default_bound_of_drains_is_that_of_the_policy():
    told = page(load(JSON_PATH)).partition("## Many slow uploads at once")[2]

    assert f"its default on these\nservers is {DEFAULTS[Resource.TASK].max_concurrent:,}," in told


def _figures(results, section):
    return results.sections[section].figures


def test_a_figure_is_the_median_and_the_quartiles():
    made = figure([5.0, 1.0, 3.0, 2.0, 4.0], **SAMPLES)

    assert Figure(n=5, low=2.0, median=3.0, high=4.0, **SAMPLES) == made


@pytest.mark.parametrize(
    ("samples", "verdict"),
    [
        ([0.1, 0.2, 0.3], "met"),
        ([0.2, 0.35, 0.5], "met, within the spread"),
        ([0.3, 0.45, 0.5], "not met, within the spread"),
        ([0.5, 0.6, 0.7], "not met"),
    ],
)
def test_a_verdict_is_that_of_the_median_and_says_when_the_spread_is_wider(samples, verdict):
    names = SAMPLES | {"case": "WSGI GET", "measure": "overhead", "unit": "µs"}
    made = figure(samples, **names)

    assert verdict == target_of("per request", made).verdict(made)


def test_a_limit_grows_with_the_reads():
    target = Target(section="s", words="", case="c", measure="m", limit=2.5, per_x=0.3)

    assert 22.0 == target.limit_for(figure([1.0], **SAMPLES, x=65))


def test_what_is_saved_is_loaded_again(tmp_path):
    results = load(JSON_PATH)
    save(results, tmp_path / "figures.json")

    assert results == load(tmp_path / "figures.json")


def test_the_commit_that_was_measured_is_kept_and_shown_where_it_is_known(tmp_path):
    results = load(JSON_PATH)
    sections = {
        name: dataclasses.replace(section, commit="1a2b3c4" if name == "import" else None)
        for name, section in results.sections.items()
    }
    save(dataclasses.replace(results, sections=sections), tmp_path / "figures.json")
    again = load(tmp_path / "figures.json")
    written = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["sections"]
    shown = page(again)

    assert sections == again.sections
    assert ["import"] == [name for name, section in written.items() if "commit" in section]
    assert f"| import | {again.sections['import'].date} | `1a2b3c4` |" in shown
    assert f"| floors | {again.sections['floors'].date} | - |" in shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no", "no JSON"),
        ('{"version": 0}', "not of version"),
        ('{"version": 1, "machine": {}}', "do not fit"),
        ('{"version": 1, "machine": {}, "versions": {}, "sections": {"a": {}}}', "do not fit"),
    ],
)
def test_a_file_that_is_none_of_ours_is_refused(tmp_path, text, message):
    path = tmp_path / "figures.json"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ResultsError, match=message):
        load(path)


def test_a_figure_whose_quartiles_are_out_of_order_is_refused(tmp_path):
    content = json.loads(JSON_PATH.read_text(encoding="utf-8"))
    section = next(iter(content["sections"].values()))
    section["figures"] = [dataclasses.asdict(figure([1.0, 2.0], **SAMPLES)) | {"low": 9.0}]
    path = tmp_path / "figures.json"
    path.write_text(json.dumps(content), encoding="utf-8")

    with pytest.raises(ResultsError, match="quartiles"):
        load(path)
