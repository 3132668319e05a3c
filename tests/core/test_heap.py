"""Memory between two reads: a process that drains keeps what the next read will want again."""

import os
import platform
import subprocess
import sys

import pytest

# Pieces of a body as gunicorn holds them: more at once than glibc keeps by itself.
PROGRAM = """
import ctypes, resource, sys
from drainkit import keep_heap

# Huge pages would hide how many are made anew (linux/prctl.h, PR_SET_THP_DISABLE).
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)
if "keep" in sys.argv:
    keep_heap()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

before = faults()
for _ in range(50):
    pieces = [b"x" * 1_000_000 for _ in range(3)]
    del pieces
print(faults() - before)
"""


def page_faults(*arguments: str) -> int:
    # Neither settings of the allocator, nor Python's own on top of it (development mode).
    settings = ("MALLOC_", "GLIBC_", "PYTHONMALLOC", "PYTHONDEVMODE")
    env = {name: value for name, value in os.environ.items() if not name.startswith(settings)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30.0,
        check=True,
        env=env,
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's allocator")
def test_memory_that_is_to_be_kept_is_not_given_back_between_two_reads() -> None:
    """50 rounds of 3 MB are 36,000 pages: made anew each time without a drain, once behind one."""
    without = page_faults()
    behind_a_drain = page_faults("keep")

    assert without > 10_000, "it is kept without drainkit"
    assert behind_a_drain < 5_000
