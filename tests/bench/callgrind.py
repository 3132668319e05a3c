"""Valgrind's callgrind around servers: how it is started, and what it has counted."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence

from tests.bench.bench import BenchError

# Nothing is counted before `control` says so: a server starts in seconds, and not in minutes.
COMMAND = (
    *("valgrind", "--tool=callgrind", "--trace-children=yes", "--instr-atstart=no"),
    "--callgrind-out-file=/dev/null",
)
_TIMEOUT_SECONDS = 60.0
_PER_THREAD = re.compile(r"^ +Th \d+ +([\d,]+)", re.MULTILINE)


def count(pids: Sequence[int]) -> None:
    """Begin to count."""
    _control(pids, "-i", "on")


def forget(pids: Sequence[int]) -> None:
    """Begin at zero again."""
    _control(pids, "-z")


def counted(pids: Sequence[int]) -> int:
    """Return the instructions of all these processes."""
    return total(_control(pids, "-e", "-b"))


def total(told: str) -> int:
    """Return the sum over processes and threads of what ``callgrind_control -e -b`` prints."""
    return sum(int(number.replace(",", "")) for number in _PER_THREAD.findall(told))


def _control(pids: Sequence[int], *order: str) -> str:
    # Never without their ids: it would reach every valgrind of this machine.
    done = subprocess.run(
        ["callgrind_control", *order, *map(str, pids)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    missing = [pid for pid in pids if f"PID {pid}:" not in done.stdout]
    if done.returncode or missing:
        raise BenchError(f"callgrind_control {order}: {missing}\n{done.stdout}\n{done.stderr}")
    return done.stdout
