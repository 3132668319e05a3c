"""Serve one case again and again: ``python -m tests.bench.count CASE CONTENDER LOOPS``."""

import sys

from tests.bench.cases import CASES, run


def main() -> None:
    """Serve; nothing is timed here."""
    key, contender, loops = sys.argv[1:]
    run(CASES[key].server(contender), int(loops))


if __name__ == "__main__":
    main()
