"""Where and when something was measured, and with what."""

import datetime
import importlib.metadata
import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.revision import recorded


def described(command: str, packages: Iterable[str]) -> dict[str, Any]:
    """Return the circumstances of a measurement.

    Args:
        command: What repeats it.
        packages: The distributions whose versions matter.
    """
    return {
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        **recorded(),
        "machine": {
            "cpu": _cpu(),
            "cores": len(os.sched_getaffinity(0)),
            "kernel": f"{platform.system()} {re.match(r'[0-9.]*', platform.release())[0]}",
        },
        "versions": {
            "Python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in sorted(packages)},
        },
    }


def _cpu() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()
