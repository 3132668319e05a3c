"""The versions: of the installed distribution, and of what --json prints."""

import importlib.metadata


def _installed() -> str:
    try:
        return importlib.metadata.version("drainkit")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"  # run from a working tree


VERSION = _installed()

# Of what --json prints, not of the package.
FORMAT = 1
