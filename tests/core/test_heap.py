"""Memory between two reads: a process that drains keeps what the next read will want again."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's allocator")

# Pieces of a body as servers hold them: more at once than glibc keeps by itself, and less than it
# is to keep.
PIECES = """
import ctypes, resource, sys
from drainkit import keep_heap

# Huge pages would hide how many are made anew (linux/prctl.h, PR_SET_THP_DISABLE).
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)
if "keep" in sys.argv:
    keep_heap()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

before = faults()
for _ in range(100):
    pieces = [b"x" * 256_000 for _ in range(7)]
    del pieces
print(faults() - before)
"""

# Threads as a server or an application has them, which have worked and wait for more.
THREADS = """
import ctypes, sys, threading
from drainkit import keep_heap

ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)
if "keep" in sys.argv:
    keep_heap()

def resident_kib():
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))

meet = threading.Barrier(17)

def work():
    meet.wait()
    for _ in range(3):
        pieces = [bytearray(b"x" * 900_000) for _ in range(7)]
        del pieces
    meet.wait()
    meet.wait()

before = resident_kib()
threads = [threading.Thread(target=work, daemon=True) for _ in range(16)]
for thread in threads:
    thread.start()
meet.wait()
meet.wait()
print(resident_kib() - before)
meet.wait()
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of the programs: nothing in it changes what the allocator keeps.

    Neither settings of the allocator, nor Python's own on top of it (development mode). And every
    module is compiled beforehand: compiling a large one frees a block so large that glibc keeps as
    much by itself (`inspect` alone: no page is made anew), and whether a module is compiled
    already is by chance.
    """
    removed = (
        "MALLOC_",
        "GLIBC_",
        "PYTHONMALLOC",
        "PYTHONDEVMODE",
        "PYTHONDONTWRITEBYTECODE",
    )
    compiled: Path = tmp_path_factory.mktemp("compiled")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(removed)
    }
    environment["PYTHONPYCACHEPREFIX"] = str(compiled)
    for program in (PIECES, THREADS):
        run(environment, program, "keep")
    assert list(compiled.rglob("inspect.*.pyc")), "nothing was compiled beforehand"
    return environment


def run(environment: dict[str, str], program: str, *arguments: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30.0,
        check=True,
        env=environment,
    )
    return int(done.stdout)


def test_memory_that_is_to_be_kept_is_not_given_back_between_two_reads(
    environment: dict[str, str],
) -> None:
    """100 rounds of 1.8 MB are 44,000 pages: made anew each time without a drain, else once."""
    without = run(environment, PIECES)
    behind_a_drain = run(environment, PIECES, "keep")

    assert without > 5_000, "it is kept without drainkit"
    assert behind_a_drain < 1_000


def test_a_thread_keeps_no_more_than_is_said(environment: dict[str, str]) -> None:
    """Each of 16 threads has an arena of its own, which keeps 2 MiB and not all that it held."""
    without_kib = run(environment, THREADS)
    behind_a_drain_kib = run(environment, THREADS, "keep")

    assert behind_a_drain_kib < without_kib + 16 * 2 * 1024 + 4 * 1024
