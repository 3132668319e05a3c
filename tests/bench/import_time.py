"""Section "import": how long ``import`` takes, with the package's framework already imported."""

import os
import subprocess
import sys
import tempfile

from tests.bench.alternatives import DRAINKIT
from tests.bench.bench import Bench

# Each package, and what a process that uses it has imported anyway.
_PACKAGES = {
    "drainkit": (),
    "drainkit_wsgi": ("drainkit",),
    "drainkit_asgi": ("asyncio", "anyio"),
    "drainkit_flask": ("flask",),
    "drainkit_django": ("django.core.wsgi",),
    "drainkit_starlette": ("asyncio", "starlette.applications"),
    "drainkit_clients": (),
    "drainkit_probe": (),
    "drainkit_cli": (),
}
_TIMEOUT_SECONDS = 60.0
_PROGRAM = """
import importlib, sys, time
*before, name = sys.argv[1:]
started = time.perf_counter()
for module in before:
    importlib.import_module(module)
between = time.perf_counter()
importlib.import_module(name)
print(between - started, time.perf_counter() - between)
"""


def run(bench: Bench) -> None:
    """Import each package in processes of its own."""
    with tempfile.TemporaryDirectory(prefix="drainkit-") as folder:
        _run(bench, {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": folder})


def _run(bench: Bench, environment: dict[str, str]) -> None:
    for name, before in _PACKAGES.items():
        # The first one compiles.
        samples = [_import(name, before, environment) for _ in range(1 + bench.pick(15, 5))][1:]
        names = {"where": "python -c", "case": f"import {name}", "unit": "ms"}
        if before:
            framework = before[-1].partition(".")[0]
            bench.add(
                [first for first, _ in samples],
                contender=f"{framework} alone",
                measure="time",
                **names,
            )
        measure = f"time behind {before[-1].partition('.')[0]}" if before else "time"
        bench.add([second for _, second in samples], contender=DRAINKIT, measure=measure, **names)


def _import(name: str, before: tuple[str, ...], environment: dict[str, str]) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *before, name],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=True,
    )
    first, second = map(float, done.stdout.split())
    return first * 1e3, second * 1e3
