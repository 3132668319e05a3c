"""Section "instructions": what a request costs in CPU instructions, where seconds are too noisy.

Valgrind's callgrind counts the same on a busy machine as on a quiet one. The instructions of
one request are the difference between a long and a short run, so that the start does not count.
"""

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.alternatives import NONE
from tests.bench.bench import Bench, BenchError, say
from tests.bench.cases import CASES, Case
from tests.bench.results import ROOT

_CASES = (
    "WSGI GET",
    "WSGI POST, read()",
    "WSGI POST by reads 64",
    "WSGI POST of 1 KiB answered early",
    "ASGI GET",
    "ASGI POST, receive()",
    "ASGI POST by messages 64",
    "ASGI POST answered early",
)
_SHORT_LOOPS = 100
_LONG_LOOPS = 600
_TIMEOUT_SECONDS = 300.0


def run(bench: Bench) -> None:
    """Count, as many runs at once as there are cores."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        bench.skip("instructions need valgrind")
        return
    keys = bench.pick(_CASES, _CASES[::4])
    jobs = [(CASES[key], contender) for key in keys for contender in CASES[key].contenders]
    say(f"instructions: {len(jobs)} counts")
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        counts = list(pool.map(lambda job: _per_request(valgrind, *job), jobs))
    by_job = dict(zip(((case.key, contender) for case, contender in jobs), counts, strict=True))
    for case, contender in jobs:
        names = {
            "where": "in process",
            "case": case.name,
            "contender": contender,
            "unit": "instructions",
            "x": case.x,
        }
        own, bare = by_job[case.key, contender], by_job[case.key, NONE]
        bench.add([own], measure="instructions", **names)
        if contender != NONE:
            bench.add([own - bare], measure="overhead", **names)


def _per_request(valgrind: str, case: Case, contender: str) -> float:
    long = _count(valgrind, case.key, contender, _LONG_LOOPS)
    short = _count(valgrind, case.key, contender, _SHORT_LOOPS)
    return (long - short) / (_LONG_LOOPS - _SHORT_LOOPS)


def _count(valgrind: str, key: str, contender: str, loops: int) -> int:
    with tempfile.TemporaryDirectory(prefix="drainkit-") as folder:
        out = Path(folder, "callgrind.out")
        done = subprocess.run(
            [
                *(valgrind, "--tool=callgrind", f"--callgrind-out-file={out}"),
                *(sys.executable, "-m", "tests.bench.count", key, contender, str(loops)),
            ],
            cwd=ROOT,
            # One order of dictionaries and sets in every run.
            env={**os.environ, "PYTHONHASHSEED": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    told = re.search(r"Collected *: *(\d+)", done.stderr)
    if done.returncode or told is None:
        raise BenchError(f"callgrind failed for {key}, {contender}:\n{done.stderr[-2000:]}")
    return int(told.group(1))
