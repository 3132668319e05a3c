"""What the benchmarks ran on: enough to judge the figures, nothing that names a machine."""

import importlib.metadata
import os
import platform
from pathlib import Path

# Everything whose speed is in a figure.
_MEASURED = (
    "drainkit",
    "anyio",
    "cheroot",
    "django",
    "flask",
    "granian",
    "gunicorn",
    "h11",
    "httptools",
    "hypercorn",
    "pyperf",
    "starlette",
    "uvicorn",
    "uvloop",
    "werkzeug",
)


def machine() -> dict[str, str]:
    """Return the processor, how many of its cores, the memory and the system."""
    return {
        "processor": _from_proc("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Return the version of Python and of each package that is installed and measured."""
    found = {"python": f"{platform.python_implementation()} {platform.python_version()}"}
    for name in _MEASURED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _from_proc(path: str, name: str) -> str:
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
