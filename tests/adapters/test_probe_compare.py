"""A run beside an earlier one: better, same or worse, and never more than the tries tell."""

import dataclasses
import itertools
import json
import math
import re

import pytest

pytest.importorskip("click", reason="drainkit probe needs click (extra: cli)")
pytest.importorskip("rich", reason="drainkit probe needs rich (extra: cli)")
pytest.importorskip("jsonschema", reason="the tests of --json need jsonschema")

from hypothesis import given
from hypothesis import strategies as st

from drainkit_probe import (
    WAYS,
    BadReportError,
    Change,
    Earlier,
    Plan,
    Run,
    Target,
    as_data,
    as_html,
    conclude,
    probe,
)
from drainkit_probe._chance import Stratum, shifts
from tests.adapters.probed import KIB, MIB, closing, discarding, resetting, serving
from tests.adapters.test_probe import TINY, data_of, on_terminal, run, screen_of
from tests.adapters.test_probe_sentences import ALL, made, several


def report_of(*attempts, url="http://a.test/", earlier=None, **plan):
    """Return the report of these uploads."""
    probed = Run(Target.parse(url), dataclasses.replace(ALL, **plan))
    probed.attempts += attempts
    return conclude(probed, earlier=earlier)


def compared(before, now, **more):
    """Return the comparison of the uploads of two runs, through JSON as a file would hold it."""
    earlier = Earlier.of(json.loads(json.dumps(as_data(report_of(*before)))))
    return report_of(*now, earlier=earlier, **more).comparison


STRICT_LOSES = several(8, "strict", losses=8) + several(8, "eager")
ALL_ARRIVE = several(8, "strict") + several(8, "eager")


def test_a_cure_is_better_and_its_undoing_is_worse():
    cured, broken = compared(STRICT_LOSES, ALL_ARRIVE), compared(ALL_ARRIVE, STRICT_LOSES)

    assert (Change.BETTER, 0) == (cured.change, cured.exit_status)
    assert "8 of 16 answers were lost before, 0 of 16 now." == cured.sentence
    assert (Change.WORSE, 1) == (broken.change, broken.exit_status)
    assert ["worse", "same"] == [row.words for row in broken.rows]


@pytest.mark.parametrize(
    ("uploads", "status", "sentence"),
    [
        (STRICT_LOSES, 4, "8 of 16 answers were lost before, 8 of 16 now."),
        (ALL_ARRIVE, 0, "0 of 16 answers were lost before, 0 of 16 now."),
    ],
)
def test_the_same_is_the_same_and_only_losses_fail(uploads, status, sentence):
    comparison = compared(uploads, uploads)

    assert (Change.SAME, status) == (comparison.change, comparison.exit_status)
    assert sentence == comparison.sentence


@pytest.mark.parametrize(("tries", "claims"), [(1, False), (3, False), (4, True), (10, True)])
def test_what_chance_may_bring_is_not_called_better(tries, claims):
    """Three of three, then none of three, comes by chance in one run of twenty, on either side."""
    comparison = compared(
        several(tries, "strict", losses=tries), several(tries, "strict", losses=0)
    )

    assert (Change.BETTER if claims else Change.SAME) is comparison.change
    assert claims is ("Chance alone" not in comparison.sentence)
    assert ("better" if claims else "may be chance") == comparison.rows[0].words


def test_a_way_that_became_worse_is_not_outweighed():
    """Cured in three ways, and broken in one that worked."""
    ways = ("keep-alive", "close", "chunked")
    before = [one for way in ways for one in several(9, "strict", way, losses=9)]
    now = [one for way in ways for one in several(9, "strict", way)]
    before += several(9, "strict", "expect")
    now += several(9, "strict", "expect", losses=9)
    comparison = compared(before, now)

    assert Change.WORSE is comparison.change
    assert comparison.sentence.startswith(
        "expect, strict (0 of 9 lost before, 9 of 9 now). In all 27 of 36 answers were lost before,"
        " 9 of 36 now. Better only keep-alive, strict (9 of 9 lost before, 0 of 9 now), "
    )


def test_only_uploads_of_the_same_kind_are_compared():
    """A run of small uploads proves nothing about one of large ones."""
    before = [*several(9, "strict", losses=9), made("strict", size=64 * KIB)]
    now = [made("strict", size=64 * KIB), made("eager", size=64 * KIB)]
    comparison = compared(before, now)

    assert Change.SAME is comparison.change
    assert (1, 1) == (comparison.before.tried, comparison.now.tried)
    assert "10 uploads have no match in the other run and did not count." in comparison.notes


def test_what_else_differs_is_noted():
    comparison = compared(
        ALL_ARRIVE, several(8, "strict", early=False), url="http://b.test/x", method="PUT",
        headers=(("X-A", "b"),),
    )  # fmt: skip

    assert "The earlier run was against http://a.test/." in comparison.notes
    assert "The runs differ in more than time: method and header." in comparison.notes
    assert any("No answer is early any more" in note for note in comparison.notes)


def by_counting(strata):
    """Return how likely so few losses are in the later run, and so many, by trying all."""
    falls = [[]]
    for stratum in strata:
        tried = stratum.tried_before + stratum.tried_now
        lost = stratum.lost_before + stratum.lost_now
        falls = [
            [*fall, sum(place < stratum.tried_now for place in places)]
            for fall in falls
            for places in itertools.combinations(range(tried), lost)
        ]
    seen = sum(stratum.lost_now for stratum in strata)
    sums = [sum(fall) for fall in falls]
    return (
        sum(each <= seen for each in sums) / len(sums),
        sum(each >= seen for each in sums) / len(sums),
    )


def strata_of(numbers):
    return [
        Stratum(min(lost_before, before), before, min(lost_now, now), now)
        for lost_before, before, lost_now, now in numbers
    ]


TRIES = st.tuples(st.integers(0, 4), st.integers(1, 4), st.integers(0, 4), st.integers(1, 4))


@given(st.lists(TRIES, min_size=1, max_size=3), st.integers(1, 3))
def test_the_rule_is_exact(numbers, claims):
    """Checked by counting all ways in which the losses of each kind fall on the two runs."""
    strata = strata_of(numbers)
    fewer, more = by_counting(strata)
    line = 0.05 / 2 / claims

    for share, said in zip((fewer, more), shifts(strata, claims), strict=True):
        assert math.isclose(share, line, rel_tol=1e-6) or said is (share <= line)


def test_a_claim_is_wrong_in_one_comparison_of_twenty_at_most():
    """Two runs of the same server, each of whose answers is lost with the same likelihood."""
    rate, tries = 0.5, 3
    wrong = 0.0
    outcomes = [(k, math.comb(tries, k) * rate**tries) for k in range(tries + 1)]
    for numbers in itertools.product(outcomes, repeat=4):
        (a, p), (b, q), (c, r), (d, s) = numbers
        strata = [Stratum(a, tries, b, tries), Stratum(c, tries, d, tries)]
        said = [shifts(strata, 2), *(shifts([one], 4) for one in strata)]
        wrong += any(map(any, said)) * p * q * r * s

    assert wrong <= 0.05


# --- what it is read from ----------------------------------------------------------------------


def test_a_run_is_compared_with_what_was_printed_before(tmp_path):
    """As JSON, as a page, in words, and by the exit status."""
    before, page = tmp_path / "before.json", tmp_path / "report.html"
    options = ("--sizes", "8M", "--tries", "8", "--ways", "keep-alive", "--clients", "strict")
    with serving(resetting) as url:
        before.write_text(run(url, "--json", *options).stdout, encoding="utf-8")
        same = run(url, "--compare", str(before), *options)
    with serving(discarding) as url:
        result = run(url, "--compare", str(before), "--json", *options)
        words = run(url, "--compare", str(before), "--html", str(page), *options)
        status, written = on_terminal(url, "--compare", str(before), *options, columns=40)
    data = json.loads(result.stdout)
    text = page.read_text(encoding="utf-8")
    lines = screen_of(written)

    assert (0, 0, 0, 4) == (result.exit_code, words.exit_code, status, same.exit_code)
    assert ("better", 0) == (data["comparison"]["change"], data["comparison"]["exit_status"])
    assert {"lost": 8, "tried": 8} == data["comparison"]["before"]
    assert "<b>better</b> than the run of " in text
    assert "8 of 8 answers were lost before, 0 of 8 now." in text
    assert re.search(r"\nCompared with the run of .* UTC: better\. 8 of 8 answers", words.stdout)
    assert "Compared: keep-alive, strict: 8 of 8 lost before, 0 of 8 now; better" in words.stdout
    assert "╭─ BETTER ─" in "\n".join(lines)
    assert [] == [line for line in lines if len(line) > 40]
    assert "…" not in "\n".join(lines)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[1]", "it is no report of format 1; make one with: drainkit probe URL --json"),
        (b'{"format": 2}', "it is no report of format 1"),
        (b'{"format": 1, "uploads": [{}]}', "it is not what --json printed"),
        (b'{"format": 1, "uploads": []}', "nothing was uploaded then"),
        (b'{"format": 1, "uploads": {"a": 1}}', "it is not what --json printed"),
        (
            b'{"format": 1, "uploads": [{"way": "", "client": "", "size_bytes": Infinity}]}',
            "it is not what --json printed",
        ),
    ],
)
def test_a_file_that_is_no_report_is_named_with_the_cure(tmp_path, content, said):
    """Exit status 2, before anything is sent."""
    file = tmp_path / "before.json"
    file.write_bytes(content)
    result = run("http://127.0.0.1:1/", "--compare", str(file))

    assert 2 == result.exit_code, result.output
    shown = re.sub(r"[\s│]+", " ", result.stderr)
    assert f"cannot be compared with: {said}" in shown
    # The lines may break anywhere in a path.
    assert f"{str(file)!r}cannotbe" in shown.replace(" ", "")


def test_other_kinds_of_uploads_are_refused_before_anything_is_sent(tmp_path):
    before = tmp_path / "before.json"
    before.write_text(json.dumps(as_data(report_of(*ALL_ARRIVE))), encoding="utf-8")
    result = run("http://127.0.0.1:1/", "--compare", str(before), "--sizes", "2M")

    assert 2 == result.exit_code
    assert "give the --sizes, --ways and --clients of then" in re.sub(r"\s+", " ", result.stderr)
    with pytest.raises(BadReportError):
        probe("http://127.0.0.1:1/", Plan(sizes=(2 * MIB,)), earlier=Earlier.of(
            as_data(report_of(*ALL_ARRIVE))
        ))  # fmt: skip


def test_a_target_that_cannot_be_tested_is_not_compared(tmp_path):
    before = tmp_path / "before.json"
    with serving(discarding) as url:
        before.write_text(run(url, "--json", *TINY).stdout, encoding="utf-8")
    with serving(closing) as url:
        result = run(url, "--json", "--compare", str(before), *TINY)

    assert 3 == result.exit_code
    assert None is data_of(result)["comparison"]


def test_a_report_is_not_trusted(tmp_path):
    """What stands in the file is shown printable and escaped."""
    data = as_data(report_of(*ALL_ARRIVE))
    data["target"]["url"] = "<script>\x1b[31m" + "x" * 1000
    data["target"]["server"] = "<b>\x1b"
    data["uploads"] = [{**one, "way": "keep-alive"} for one in data["uploads"]]
    report = report_of(*ALL_ARRIVE, earlier=Earlier.of(data))
    text = as_html(report)

    assert "&lt;script&gt;?[31m" in text
    assert "<script" not in text
    assert "\x1b" not in text
    assert report.comparison is not None
    assert all(len(note) < 300 for note in report.comparison.notes)


def test_an_earlier_run_without_a_date_is_compared_too():
    data = as_data(report_of(*ALL_ARRIVE))
    del data["began"]
    comparison = report_of(*ALL_ARRIVE, earlier=Earlier.of(data)).comparison

    assert (None, "the earlier run") == (comparison.began, comparison.since)
    assert set(WAYS) >= {row.way for row in comparison.rows}


def test_many_small_differences_that_point_one_way_are_one_that_tells():
    """No row for itself tells: two of two before, none of two now. All together do."""
    ways = ("keep-alive", "close", "chunked", "expect")
    before = [one for way in ways for one in several(2, "strict", way, losses=2)]
    now = [one for way in ways for one in several(2, "strict", way)]
    comparison = compared(before, now)

    assert Change.BETTER is comparison.change
    assert {"may be chance"} == {row.words for row in comparison.rows}
    assert "8 of 8 answers were lost before, 0 of 8 now." == comparison.sentence
