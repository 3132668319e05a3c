"""Record what drainkit does now: ``python -m tests.adapters.golden.record [changed]``.

With ``changed`` only what differs from the tables, in files of its own: each such combination needs
a reason among the changes of `tests.adapters.test_golden`.
"""

import sys

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


def record_changed():
    """Write what has changed since the golden tables were recorded."""
    for world in (asgi, wsgi):
        name = world.__name__.rpartition(".")[2]
        recorded = table.load(name)
        now = world.all_that_happens(world.scenarios())
        changed = {one: told for one, told in now.items() if told != recorded[one.key]}
        table.save(f"{name}_changed", changed)
        print(f"{name}: {len(changed):,} of {len(now):,} combinations have changed")


if __name__ == "__main__":
    if sys.argv[1:] == ["changed"]:
        record_changed()
    else:
        record()
