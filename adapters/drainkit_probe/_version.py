"""The version of the installed distribution."""

import importlib.metadata


def _installed() -> str:
    try:
        return importlib.metadata.version("drainkit")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"  # run from a working tree


VERSION = _installed()
