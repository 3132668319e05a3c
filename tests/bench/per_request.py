"""Section "per request": what one request costs in process, by pyperf's workers."""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.alternatives import DRAINKIT, NONE, SNIPPET
from tests.bench.bench import Bench, BenchError, say
from tests.bench.cases import CASES, Case
from tests.bench.results import ROOT

_WHERE = "in process"
_TIMEOUT_SECONDS = 300.0
_MICRO = 1e6
# The curves whose overhead is told as a part that is fixed and a part that grows.
_FITTED = {
    "WSGI POST by reads": "read call",
    "ASGI POST by messages": "message",
    "WSGI GET by headers": "header",
    "WSGI POST by headers": "header",
    "ASGI GET by headers": "header",
    "ASGI POST by headers": "header",
}

Samples = dict[str, dict[str, list[float]]]


def run(bench: Bench) -> None:
    """Measure every case in several processes."""
    samples = _measure(bench)
    for key, by_contender in samples.items():
        _add_case(bench, CASES[key], by_contender)
    for name, step in _FITTED.items():
        points = {
            case.x: samples[key]
            for key, case in CASES.items()
            if case.name == name and case.x is not None
        }
        _add_fit(bench, name, step, points)


def _measure(bench: Bench) -> Samples:
    """Return microseconds by case and contender; the samples of a case are paired."""
    everything: Samples = {}
    processes = bench.pick(6, 2)
    with tempfile.TemporaryDirectory(prefix="drainkit-") as folder:
        path = Path(folder, "seconds.json")
        for number in range(processes):
            say(f"per request: process {number + 1} of {processes}")
            arguments = [
                *("--worker", "--loops=1", "--warmups=1", "--values=1", "--quiet"),
                *(f"--min-time={bench.pick(0.02, 0.005)}", f"--repeats={bench.pick(5, 3)}"),
                *(["--odd"] if number % 2 else []),
                f"--seconds-to={path}",
            ]
            _run_worker(arguments)
            for key, by_contender in json.loads(path.read_text(encoding="utf-8")).items():
                for contender, seconds in by_contender.items():
                    kept = everything.setdefault(key, {}).setdefault(contender, [])
                    kept.extend(second * _MICRO for second in seconds)
    return everything


def _run_worker(arguments: Sequence[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.worker", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"tests.bench.worker failed:\n{done.stderr[-2000:]}")


def _add_case(bench: Bench, case: Case, samples: Mapping[str, Sequence[float]]) -> None:
    bare = samples[NONE]
    overheads = {}
    for contender, values in samples.items():
        bench.add(
            values,
            where=_WHERE,
            case=case.name,
            contender=contender,
            measure="time",
            unit="µs",
            x=case.x,
        )
        if contender != NONE:
            overheads[contender] = [a - b for a, b in zip(values, bare, strict=True)]
    # A limit that grows does so with the calls; on an axis of headers x is taken.
    x = case.calls() if case.x is None else case.x
    for contender, values in overheads.items():
        bench.add(
            values,
            where=_WHERE,
            case=case.name,
            contender=contender,
            measure="overhead",
            unit="µs",
            x=x,
        )
    if SNIPPET in overheads and case.x is None:
        bench.add_ratio(
            overheads[DRAINKIT],
            overheads[SNIPPET],
            where=_WHERE,
            case=case.name,
            contender=DRAINKIT,
            measure="overhead / snippet's",
        )


def _add_fit(
    bench: Bench, name: str, step: str, points: Mapping[float, Mapping[str, Sequence[float]]]
) -> None:
    contenders = next(iter(points.values())).keys() - {NONE}
    for contender in sorted(contenders):
        fits = []
        for number in range(len(next(iter(points.values()))[NONE])):
            xs = list(points)
            ys = [points[x][contender][number] - points[x][NONE][number] for x in xs]
            fits.append(_line(xs, ys))
        names = {"where": _WHERE, "case": name, "contender": contender, "unit": "µs"}
        bench.add([fixed for fixed, _ in fits], measure="fixed overhead", **names)
        bench.add([slope for _, slope in fits], measure=f"overhead for each {step}", **names)


def _line(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """Return where the line of least squares begins, and how steep it is."""
    slope, intercept = statistics.linear_regression(xs, ys)
    return intercept, slope
