"""What an import says where the extra that brings its framework is not installed.

Rule: only what is missing is translated. Every other error of an import stays what it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_OWN = "drainkit"


@contextmanager
def needs_extra(package: str, extra: str) -> Iterator[None]:
    """Name the extra to install when an import in the block finds that a module is missing.

    An adapter's ``__init__.py`` puts its own imports into the block::

        with needs_extra(__name__, "flask"):
            from ._install import init_app

    Args:
        package: The import package that needs the extra.
        extra: The extra of the distribution ``drainkit`` that brings what it needs.

    Raises:
        ModuleNotFoundError: A module is not installed. The message names the extra; the original
            error is the cause.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if not missing or missing.startswith(_OWN):
            raise
        raise ModuleNotFoundError(
            f'{package} needs {missing}, which is not installed: pip install "drainkit[{extra}]"',
            name=error.name,
            path=error.path,
        ) from error
