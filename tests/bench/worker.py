"""One process that measures every case in process, as a worker of pyperf.

All contenders of a case are measured in turn, again and again, so that whatever the machine does
meanwhile is done to all of them alike.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyperf

from tests.bench.cases import CASES, is_async, run

_CALIBRATION_LOOPS = 20


def main() -> None:
    """Measure; the arguments are pyperf's own and those below."""
    runner = pyperf.Runner()
    runner.argparser.add_argument("--repeats", type=int, required=True)
    runner.argparser.add_argument("--odd", action="store_true")
    runner.argparser.add_argument("--seconds-to", type=Path, required=True)
    options = runner.parse_args()
    seconds: dict[str, dict[str, list[float]]] = {}
    value_seconds = options.min_time
    for case in CASES.values():
        servers = {name: case.server(name) for name in case.contenders}
        names = list(servers)
        samples = seconds[case.key] = {name: [0.0] * options.repeats for name in names}
        loops = {name: _loops(server, value_seconds) for name, server in servers.items()}
        for repeat in range(options.repeats):
            # Who comes first has the caches of another case: take turns.
            order = names[::-1] if (repeat + options.odd) % 2 else names
            for name in order:
                server = servers[name]
                runner.args.loops = loops[name]
                bench = runner.bench_async_func if is_async(server) else runner.bench_func
                measured = bench(f"{case.key}, {name}, {repeat}", server)
                samples[name][repeat] = measured.median()
    # pyperf's own files are rewritten for each of the hundreds of benchmarks.
    options.seconds_to.write_text(json.dumps(seconds), encoding="utf-8")


def _loops(server: Callable[[], Any], value_seconds: float) -> int:
    run(server, _CALIBRATION_LOOPS)
    started = time.perf_counter()
    run(server, _CALIBRATION_LOOPS)
    seconds = (time.perf_counter() - started) / _CALIBRATION_LOOPS
    return max(1, int(value_seconds / seconds))


if __name__ == "__main__":
    main()
