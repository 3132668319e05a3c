"""The golden table: what happened in each combination, kept in a file, and compared.

What happened is one line of text (a sequence). A file holds each sequence once, under a name made
of its own text, so that a change of one combination is a change of one line.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent

MOST_GROUPS = 20
MOST_EXAMPLES = 3


def path_of(world):
    """Return the file for ``"asgi"`` or ``"wsgi"``, or for what has changed in one of them."""
    return FOLDER / f"{world}.json"


def _name(sequence):
    return hashlib.sha256(sequence.encode()).hexdigest()[:6]


def save(world, sequences):
    """Write what happened: a sequence for each scenario."""
    names = {}
    for sequence in sorted(set(sequences.values())):
        name = _name(sequence)
        assert name not in names, "two sequences with one name: make names longer"
        names[name] = sequence
    groups = defaultdict(dict)
    for scenario, sequence in sequences.items():
        group = groups[scenario.group]
        assert scenario.rest not in group, f"twice: {scenario.group}, {scenario.rest}"
        group[scenario.rest] = _name(sequence)
    table = {"sequences": names, "combinations": groups}
    path_of(world).write_text(json.dumps(table, indent=0, ensure_ascii=False) + "\n")


def load(world):
    """Return the sequences of a file, by the key of their scenario."""
    table = json.loads(path_of(world).read_text())
    names = table["sequences"]
    return {
        f"{group} | {rest}": names[name]
        for group, rests in table["combinations"].items()
        for rest, name in rests.items()
    }


@dataclass(frozen=True)
class Change:
    """One difference from the golden table that is meant.

    Attributes:
        why: A sentence.
        matches: Tells from a scenario whether it is one of those that have changed.
        right: What is right now: a sequence, or a function of the scenario and the recorded one.
    """

    why: str
    matches: Callable[[Any], bool]
    right: str | Callable[[Any, str], str]

    def of(self, scenario, recorded):
        """Return what is right now."""
        return self.right if isinstance(self.right, str) else self.right(scenario, recorded)


def differences(recorded, got, changes=()):
    """Compare what happened with what was recorded; return a summary, or "" if all is as meant.

    Args:
        recorded: The sequences of the table, by key.
        got: The sequences of now, by scenario.
        changes: What is meant to differ (`Change`).
    """
    problems = []
    missing = set(recorded) - {scenario.key for scenario in got}
    added = [scenario.key for scenario in got if scenario.key not in recorded]
    if missing:
        problems.append(f"{len(missing)} recorded but not served, such as {min(missing)}")
    if added:
        problems.append(f"{len(added)} served but not recorded, such as {added[0]}")
    used = Counter()
    groups = defaultdict(list)
    for scenario, sequence in got.items():
        if scenario.key not in recorded:
            continue
        right = recorded[scenario.key]
        matching = [change for change in changes if change.matches(scenario)]
        if len(matching) > 1:
            both = " / ".join(change.why for change in matching)
            problems.append(f"two changes match {scenario.key}: {both}")
        for change in matching[:1]:
            used[change] += 1
            new = change.of(scenario, right)
            if new == right:
                problems.append(f"matches what has not changed, {scenario.key}: {change.why}")
            right = new
        if sequence != right:
            groups[right, sequence].append(scenario.key)
    problems += [f"matches nothing: {change.why}" for change in changes if not used[change]]
    problems = [*problems[:MOST_GROUPS], *_summary(groups, len(got))]
    return "\n".join(problems)


def _summary(groups, total):
    if not groups:
        return
    count = sum(map(len, groups.values()))
    yield f"{count} of {total} combinations differ, in {len(groups)} ways"
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    for (right, sequence), keys in ordered[:MOST_GROUPS]:
        yield f"\n{len(keys)} times\n  expected  {right}\n  got       {sequence}"
        yield from (f"    {key}" for key in keys[:MOST_EXAMPLES])
    if len(ordered) > MOST_GROUPS:
        yield f"\n... and {len(ordered) - MOST_GROUPS} other ways"
