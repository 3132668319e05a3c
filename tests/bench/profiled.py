"""Section "profile": which of drainkit's functions a request runs, and which of them take the time.

Calls are counted exactly; times are cProfile's, which makes short functions look longer than they
are, so only shares of them are kept.
"""

from __future__ import annotations

import cProfile
import gc
import pstats
import time
from pathlib import Path

from tests.bench.alternatives import DRAINKIT
from tests.bench.bench import Bench
from tests.bench.cases import CASES
from tests.bench.cases import run as serve
from tests.bench.names import ALL, CALLS, SHARE
from tests.bench.results import ROOT

_CASES = (
    "WSGI POST, read()",
    "WSGI POST answered early",
    "ASGI POST, receive()",
    "ASGI POST answered early",
)
_WARM_UP = 200
_LOOPS = 5_000
# A function below this share is not worth a line.
_LEAST_SHARE = 0.03
# What is drainkit's, beside the application and the scripted server.
_FOLDERS = (ROOT / "drainkit", ROOT / "adapters")


def run(bench: Bench) -> None:
    """Profile each case with drainkit."""
    loops = bench.pick(_LOOPS, _LOOPS // 10)
    for key in _CASES:
        server = CASES[key].server(DRAINKIT)
        serve(server, _WARM_UP)
        gc.freeze()  # or whoever allocates next is charged with looking through all imports
        profile = cProfile.Profile(time.thread_time)
        profile.runcall(serve, server, loops)
        _add(bench, key, profile, loops)


def _add(bench: Bench, key: str, profile: cProfile.Profile, loops: int) -> None:
    found: dict[str, tuple[float, float]] = {}
    for (file, _, function), (_, calls, own_seconds, *_) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        module = _module(file)
        if module is not None:
            name = f"{module}.{function}"
            before = found.get(name, (0.0, 0.0))
            found[name] = (before[0] + calls, before[1] + own_seconds)
    total = sum(own_seconds for _, own_seconds in found.values())
    names = {"where": "in process", "contender": DRAINKIT}
    bench.add(
        [sum(calls for calls, _ in found.values()) / loops],
        case=f"{key}: {ALL}",
        measure=CALLS,
        unit="",
        **names,
    )
    for name, (calls, own_seconds) in sorted(found.items(), key=lambda item: -item[1][1]):
        if own_seconds / total < _LEAST_SHARE:
            break
        case = f"{key}: {name}"
        bench.add([calls / loops], case=case, measure=CALLS, unit="", **names)
        bench.add([own_seconds / total], case=case, measure=SHARE, unit="", **names)


def _module(file: str) -> str | None:
    """Return the module of a file that is drainkit's; None for every other."""
    path = Path(file)
    for folder in _FOLDERS:
        if path.is_relative_to(folder):
            parts = path.relative_to(folder if folder.name == "adapters" else ROOT).with_suffix("")
            return ".".join(parts.parts)
    return None
