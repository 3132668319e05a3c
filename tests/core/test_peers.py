"""What the runner of other projects' tests makes of two runs, without running any."""

import itertools
import signal
import subprocess
import tarfile

import pytest

from tests.peers import __main__, environment, results
from tests.peers.compare import AGAIN, MOST_AGAIN, MOST_LOOKS, compare, passes_as_often
from tests.peers.explained import TABLE, Explained
from tests.peers.inside.peers_inside.outcomes import Outcome, Record
from tests.peers.inside.peers_inside.setting import Place, Setting
from tests.peers.run import Process, RunError
from tests.peers.suites import ROWS, SUITES, Run, Runner, Suite

PASSED, FAILED, SKIPPED, XFAILED = (
    Outcome.PASSED,
    Outcome.FAILED,
    Outcome.SKIPPED,
    Outcome.XFAILED,
)
ROW = Explained(
    suite="one", test="test_a", places=frozenset({Place.INIT_APP}), reason="It is meant."
)


def record(**outcomes):
    one = Record()
    for test, outcome in outcomes.items():
        one.add(test, outcome, "why it failed")
    return one


def judged(plain, drained, *rows, unsteady=False, passes=True):
    return compare(plain, drained, rows, lambda test: unsteady, lambda test: passes)


# The outcome with drainkit is worse than the one without.
@pytest.mark.parametrize(
    ("before", "after", "is_worse"),
    [
        (PASSED, PASSED, False),
        (PASSED, FAILED, True),
        (PASSED, SKIPPED, True),
        (PASSED, XFAILED, True),
        (SKIPPED, FAILED, True),
        (SKIPPED, SKIPPED, False),
        (SKIPPED, PASSED, False),
        (XFAILED, FAILED, True),
        (FAILED, FAILED, False),
        (FAILED, PASSED, False),
    ],
)
def test_what_is_worse(before, after, is_worse):
    found = judged(record(test_a=before), record(test_a=after)).worse

    assert (["test_a"] if is_worse else []) == [one.test for one in found]


@pytest.mark.parametrize("before", [PASSED, SKIPPED, XFAILED])
def test_a_test_that_did_not_run_with_drainkit_is_worse(before):
    (found,) = judged(record(test_a=before), record()).worse

    assert Outcome.MISSING is found.drained


def test_a_test_that_fails_with_drainkit_only_because_it_is_there_only_is_worse():
    (found,) = judged(record(), record(collecting=FAILED)).worse

    assert "collecting: missing plain, failed with drainkit: why it failed" == str(found)


def test_a_row_of_the_table_explains():
    got = judged(record(test_a=PASSED), record(test_a=FAILED), ROW)

    assert ([], [], []) == (got.worse, got.unsteady, got.stale)
    assert [("test_a", "It is meant.")] == [(one.test, one.reason) for one in got.explained]


@pytest.mark.parametrize(
    ("plain", "drained", "why"),
    [
        ({"test_a": PASSED}, {"test_a": PASSED}, "it passes with drainkit"),
        ({"test_a": FAILED}, {"test_a": FAILED}, "it does not pass without drainkit either"),
        ({"test_b": PASSED}, {"test_b": PASSED}, "there is no such test"),
    ],
)
def test_a_row_whose_reason_is_gone_is_told(plain, drained, why):
    (stale,) = judged(record(**plain), record(**drained), ROW).stale

    assert f"test_a: {why}; remove its row" == stale


@pytest.mark.parametrize("passes_last", [True, False])
def test_a_race_is_looked_for_alone_before_its_row_is_out_of_date(passes_last):
    looks = []

    def passes_alone(test):
        looks.append(test)
        return passes_last or len(looks) < MOST_LOOKS

    row = Explained(
        suite="one", test="test_*", places=frozenset({Place.OUTERMOST}), reason="", is_race=True
    )
    both = record(test_a=PASSED)
    got = compare(both, both, [row], lambda test: False, passes_alone)

    assert passes_last is bool(got.stale)
    assert ["test_a"] * MOST_LOOKS == looks


def test_a_pattern_takes_brackets_for_themselves():
    row = Explained(
        suite="one", test="t.py::test_a[asyncio-*]", places=frozenset(), reason="Two backends."
    )

    assert row.matches("t.py::test_a[asyncio-1]")
    assert not row.matches("t.py::test_a[trio-1]")
    assert not row.matches("t.py::test_aa")


@pytest.mark.parametrize(
    ("with_body", "suite", "place", "is_about"),
    [
        (None, "one", Place.INIT_APP, True),
        (True, "one", Place.INIT_APP, True),
        (False, "one", Place.INIT_APP, False),
        (None, "two", Place.INIT_APP, False),
        (None, "one", Place.OUTERMOST, False),
    ],
)
def test_a_row_is_about_its_own_runs(with_body, suite, place, is_about):
    row = Explained(
        suite="one",
        test="*",
        places=frozenset({Place.INIT_APP}),
        with_body=with_body,
        reason="It is meant.",
    )

    assert is_about is row.is_about(suite, place, True)


def test_an_unsteady_test_is_told_and_is_not_worse():
    got = judged(record(test_a=PASSED), record(test_a=FAILED), unsteady=True)

    assert ([], ["test_a"]) == (got.worse, [one.test for one in got.unsteady])


def test_many_differences_are_no_unsteady_tests():
    names = [f"test_{number}" for number in range(MOST_AGAIN + 1)]
    plain = record(**dict.fromkeys(names, PASSED))
    drained = record(**dict.fromkeys(names, FAILED))

    assert len(names) == len(judged(plain, drained, unsteady=True).worse)


@pytest.mark.parametrize(
    ("plain", "drained", "as_often"),
    [
        ([True] * AGAIN, [True] * AGAIN, True),
        ([True, False, True], [False, True, True], True),
        ([True] * AGAIN, [True, True, False], False),
        # It has passed without drainkit before: failing always says nothing for drainkit.
        ([False] * AGAIN, [False] * AGAIN, False),
    ],
)
def test_a_test_run_again_must_pass_as_often_with_as_without(plain, drained, as_often):
    runs = {False: iter(plain), True: iter(drained)}

    assert as_often is passes_as_often(lambda is_drained: next(runs[is_drained]))
    assert [] == [*itertools.chain(*runs.values())]


def test_of_several_words_about_a_test_the_worst_counts():
    one = Record()
    for outcome in (PASSED, FAILED, PASSED):
        one.add("test_a", outcome, "first\n  line")

    assert FAILED is one.of("test_a")
    assert {"test_a": "first line"} == one.reasons


def test_a_record_is_read_as_it_was_written(tmp_path):
    one = record(test_a=PASSED, test_b=FAILED, test_c=XFAILED)
    one.counts.update(requests=3, drains=1)
    one.write(str(tmp_path / "one.json"))
    again = Record.read(str(tmp_path / "one.json"))

    assert vars(one) == vars(again)


@pytest.mark.parametrize("place", [None, *Place])
def test_a_setting_is_told_through_the_environment(place):
    setting = Setting(framework="flask", place=place, body_bytes=3, results="/there.json")

    assert setting == Setting.told(setting.in_environment())


def test_rows_of_the_table_are_about_runs_that_are():
    runs = {
        (name, run.place, run.with_body)
        for name, suite in SUITES.items()
        for run in suite.runs(quick=False)
    }

    for row in TABLE:
        for place in row.places:
            assert any(row.is_about(*run) and run[1] is place for run in runs), row


@pytest.mark.parametrize("suite", ROWS, ids=lambda suite: suite.name)
def test_the_short_check_runs_what_the_whole_one_runs(suite):
    assert set(suite.quick) <= set(suite.runs(quick=False))
    assert all(suite.deselected.values())
    assert (suite.version is None) == (not suite.version_reason)


@pytest.mark.parametrize(("asked_for", "expected"), [([], 0), (["flask"], 1)])
def test_a_suite_that_cannot_be_had_is_skipped_unless_it_was_asked_for(
    monkeypatch, tmp_path, capsys, asked_for, expected
):
    """A run of all goes on without it; a check that names it must not pass without it."""

    def refused(*arguments):
        raise environment.UnavailableError("ERROR: No matching distribution found for flask")

    monkeypatch.setattr(environment, "_pip", refused)
    status = __main__.main([*asked_for, "--cache", str(tmp_path / "cache")])

    assert expected == status
    assert "flask is skipped: ERROR: No matching" in capsys.readouterr().out


def test_a_source_distribution_without_tests_is_unavailable(monkeypatch, tmp_path):
    def downloaded(*arguments):
        folder = tmp_path / "cache" / "quart" / "sdist"
        folder.mkdir(parents=True)
        (tmp_path / "quart-9.0").mkdir()
        with tarfile.open(folder / "quart-9.0.tar.gz", "w:gz") as archive:
            archive.add(tmp_path / "quart-9.0", "quart-9.0")

    monkeypatch.setattr(environment, "_pip", downloaded)

    with pytest.raises(environment.UnavailableError, match=r"of 9\.0 has no tests"):
        environment.prepare(SUITES["quart"], tmp_path / "cache")


def test_an_unknown_suite_lists_the_known_ones(capsys):
    status = __main__.main(["nobody"])
    told = capsys.readouterr().err

    assert 2 == status
    assert "'nobody'" in told
    assert "werkzeug" in told


class Scripted:
    """Stands in for `Process`: gives records, plain and with drainkit."""

    def __init__(self, plain, drained):
        self.records = {None: plain, Place.INIT_APP: drained}

    def run(self, place, *, with_body, only=None):
        found = self.records[place]
        if isinstance(found, RunError):
            raise found
        return found, 1.0


def measured(monkeypatch, tmp_path, plain, drained):
    suite = Suite(name="one", package="one", framework="flask", places=(Place.INIT_APP,))
    place = environment.Environment(
        suite=suite, version="1.0", source=tmp_path, python=tmp_path, logs=tmp_path
    )
    monkeypatch.setattr(__main__, "Process", lambda *args, **options: Scripted(plain, drained))
    monkeypatch.setattr(Suite, "runs", lambda self, quick: (Run(Place.INIT_APP),))
    one = __main__.SuiteRun(place, quick=False, workers=1)
    one.measure()
    return one.as_data(), one.problems


def test_a_suite_that_is_as_good_has_no_problem(monkeypatch, tmp_path):
    drained = record(test_a=PASSED)
    drained.counts.update(requests=5, drains=2)
    told, problems = measured(monkeypatch, tmp_path, record(test_a=PASSED), drained)
    (run,) = told["runs"]

    assert [] == problems
    assert (1, 1, 5, 2) == tuple(
        run[name] for name in ("plain_passed", "passed", "requests", "drains")
    )


def test_a_run_in_which_drainkit_met_no_request_is_a_problem(monkeypatch, tmp_path):
    both = record(test_a=PASSED)
    _, (problem,) = measured(monkeypatch, tmp_path, both, both)

    assert "it wraps nothing" in problem


def test_a_run_that_ends_too_early_is_a_problem(monkeypatch, tmp_path):
    told, (problem,) = measured(monkeypatch, tmp_path, record(), RunError("exit status 3"))

    assert "one 1.0, init_app: exit status 3" == problem
    assert [] == told["runs"]


def test_a_failure_with_drainkit_is_a_problem_also_when_it_is_run_alone(monkeypatch, tmp_path):
    drained = record(test_a=FAILED)
    drained.counts.update(requests=1)
    _, (problem,) = measured(monkeypatch, tmp_path, record(test_a=PASSED), drained)

    assert "one 1.0, init_app: test_a: passed plain, failed with drainkit" in problem


def test_what_was_measured_takes_the_place_of_what_stood_there():
    old = {"suites": {"flask": {"version": "1"}, "drf": {"version": "1"}}, "skipped": {}}
    skipped = {"quart": "no tests", "drf": "no network"}
    new = results.merged(old, {"flask": {"version": "2"}}, skipped, {}, order=[*SUITES])

    assert {"flask": {"version": "2"}, "drf": {"version": "1"}} == new["suites"]
    assert {"quart": "no tests"} == new["skipped"]


def test_what_was_interrupted_stands_where_nothing_stood_before():
    old = {"suites": {"flask": {"version": "1", "runs": [1, 2]}}, "skipped": {}}
    begun = {
        "flask": {"version": "2", "runs": [1]},
        "falcon": {"version": "2", "runs": [1]},
        "drf": {"version": "2", "runs": []},
    }
    new = results.merged(old, {}, {}, begun, order=[*SUITES])

    assert {"flask": old["suites"]["flask"], "falcon": begun["falcon"]} == new["suites"]


def test_an_interruption_keeps_what_has_been_measured(monkeypatch, tmp_path, capsys):
    drained = record(test_a=PASSED)
    drained.counts.update(requests=5, drains=2)

    class Interrupted(Scripted):
        def run(self, place, *, with_body, only=None):
            if with_body:
                signal.raise_signal(signal.SIGTERM)
            return super().run(place, with_body=with_body, only=only)

    def prepare(suite, cache):
        return environment.Environment(
            suite=suite, version="1.0", source=tmp_path, python=tmp_path, logs=tmp_path
        )

    scripted = Interrupted(record(test_a=PASSED), drained)
    monkeypatch.setattr(__main__, "Process", lambda *args, **options: scripted)
    monkeypatch.setattr(__main__, "prepare", prepare)
    runs = tuple(Run(Place.INIT_APP, with_body) for with_body in (False, True))
    monkeypatch.setattr(Suite, "runs", lambda self, quick: runs)
    handler = signal.getsignal(signal.SIGTERM)
    path = tmp_path / "peers.json"
    try:
        status = __main__.main(["flask", "--json", str(path), "--cache", str(tmp_path)])
    finally:
        signal.signal(signal.SIGTERM, handler)
    (run,) = results.load(path)["suites"]["flask"]["runs"]

    assert (130, "init_app", False) == (status, run["place"], run["with_body"])
    assert "interrupted" in capsys.readouterr().err
    assert "not measured as they are: outermost" in path.with_suffix(".md").read_text("utf-8")


def test_a_process_ends_with_its_run_and_without_outcomes_it_is_an_error(monkeypatch, tmp_path):
    """What it printed last is in the error."""
    place = environment.Environment(
        suite=SUITES["flask"], version="1.0", source=tmp_path, python=tmp_path, logs=tmp_path
    )
    started = []
    real = subprocess.Popen

    def popen(command, **options):
        started.append(real(["/bin/sh", "-c", "echo last words; exit 3"], **options))
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", popen)

    with pytest.raises(RunError, match="exit status 3\nlast words"):
        Process(place, workers=1).run(None, with_body=False)
    assert 3 == started[0].returncode


def test_a_suite_of_django_is_run_by_its_own_program():
    assert [Runner.DJANGO] == [suite.runner for suite in ROWS if suite.name == "django"]
