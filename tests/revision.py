"""Which commit of drainkit is measured: it stands in what is recorded."""

import functools
import subprocess
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_SECONDS = 20.0


@functools.cache
def revision() -> str | None:
    """Return the short commit, as ``git describe --always --dirty`` has it; None without one.

    It is asked for once in a process: what a run itself writes makes nothing dirty.
    """
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.strip() or None


def recorded() -> dict[str, str]:
    """Return the entry ``commit`` of a record; none where the commit is not known."""
    found = revision()
    return {} if found is None else {"commit": found}
