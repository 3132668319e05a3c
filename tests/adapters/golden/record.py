"""Record what drainkit does now: ``python -m tests.adapters.golden.record``.

Only for what is meant: `tests.adapters.test_golden` has a table of changes, and it says why.
"""

from tests.adapters.golden import asgi, table, wsgi


def record():
    """Write the golden tables."""
    for world in (asgi, wsgi):
        name = world.__name__.rpartition(".")[2]
        sequences = world.all_that_happens(world.scenarios())
        table.save(name, sequences)
        kinds = len(set(sequences.values()))
        nbytes = table.path_of(name).stat().st_size
        print(f"{name}: {len(sequences):,} combinations, {kinds:,} sequences, {nbytes:,} bytes")


if __name__ == "__main__":
    record()
