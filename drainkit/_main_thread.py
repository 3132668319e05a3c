"""What a function that runs in the main thread was told, where nobody else tells it.

For adapters: a server's worker often waits in a function whose arguments are its configuration.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from types import FrameType
from typing import Any


def main_thread_local(package: str, function: str, name: str) -> Any:
    """Return a local variable of a function that is running in the main thread.

    It is looked for once in a process.

    Args:
        package: The top package of the function's module.
        function: How the function's name begins.
        name: The variable's.

    Returns:
        Its value; ``None`` if no such function is running there, or has no such variable.
    """
    return _local(os.getpid(), package, function, name)


@functools.lru_cache(maxsize=16)  # the process among the rest: a forked one has a worker of its own
def _local(_process: int, package: str, function: str, name: str) -> Any:
    frame: FrameType | None = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if frame.f_code.co_name.startswith(function) and module.partition(".")[0] == package:
            return frame.f_locals.get(name)
        frame = frame.f_back
    return None
