"""The command ``drainkit``: ``demo`` loses an answer here, ``probe`` asks a server of yours.

It needs click and rich: ``pip install "drainkit[cli]"``.
"""

import sys

from drainkit import needs_extra

__all__ = ["main"]


def main(*, prog_name: str = "drainkit") -> None:
    """Run the command, and end the process with its exit status.

    Without click and rich it says in one line what to install, and the status is 2.

    Args:
        prog_name: What the command is called in its messages.
    """
    try:
        with needs_extra("The command drainkit", "cli"):
            from ._commands import main as command
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    command(prog_name=prog_name)
