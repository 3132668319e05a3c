"""What the page says of whole servers: its first sentences, and tables of ratios.

Rule: nothing here is measured; every number comes from the figures.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from tests.bench.alternatives import CONTROL, DRAINKIT, LEAST, NONE, SNIPPET
from tests.bench.names import (
    CONNECTIONS,
    CPU,
    CPU_RATIO,
    EARLY,
    GET,
    INSTRUCTIONS,
    INSTRUCTIONS_RATIO,
    LOST,
    READ,
)
from tests.bench.results import Figure, Results, Section
from tests.bench.table import number, spread
from tests.bench.targets import Target, judged, target_of

_SECTIONS = ("servers", "server instructions")
# What is nearer to 1 than this is called the same.
_SAME = 0.005
_PERCENT = 100.0

_Cells = Mapping[tuple[str, str], Figure]


def lead(results: Results) -> str:
    """Return the sentences that a site's owner reads, or nothing where no server was measured."""
    section = results.sections.get("servers")
    if section is None:
        return ""
    reads = _ratios(section, READ, CPU_RATIO, DRAINKIT)
    earlies = _ratios(section, EARLY, CPU_RATIO, DRAINKIT)
    dearest = max(
        (
            figure
            for figure in section.figures
            if (figure.measure, figure.contender) == (CPU_RATIO, DRAINKIT)
        ),
        key=lambda figure: figure.median,
    )
    return (
        f"Compared with the same application without drainkit, on {len(reads)} servers, the "
        f"processor works {_gets(results, section)} for a GET, and {_usual(reads)} for a POST of "
        f"1 KiB that the application reads.\n"
        f"For a POST of 1 KiB that is answered before anybody has read it, as a 401 or a 429 is, "
        f"it works {_usual(earlies)}.\n"
        f"Other shapes of body and answer cost more on some: the dearest that was tried is "
        f"{_percent(dearest.median)} ({dearest.where}, {dearest.case}).\n"
    )


def told_apart(results: Results) -> str:
    """Return from what on a difference is one, or nothing where no server was measured."""
    section = results.sections.get("servers")
    if section is None:
        return ""
    twins = [
        figure.median
        for figure in section.figures
        if figure.measure == CPU_RATIO and figure.contender == CONTROL
    ]
    low, _, high = statistics.quantiles(twins, n=4, method="inclusive")
    return (
        f"Two servers without drainkit differ from each other, too: half of {len(twins)} "
        f"comparisons lie between {_percent(low)} and {_percent(high)}, and the other half outside "
        f"of that, from {_percent(min(twins))} to {_percent(max(twins))}. So no difference within "
        f"the first two is told apart here, and a single one within the last two may be chance.\n"
    )


def _gets(results: Results, section: Section) -> str:
    """Return what of a GET is told, in instructions if they were counted: time is too coarse."""
    counted = results.sections.get("server instructions")
    ratios = counted and _ratios(counted, GET, INSTRUCTIONS_RATIO, DRAINKIT)
    timed = _ratios(section, GET, CPU_RATIO, DRAINKIT)
    if not ratios:
        return _usual(timed)
    where = "" if len(ratios) >= len(timed) else f" on {len(ratios)} of them"
    return f"{_usual(ratios)}, counted in instructions{where},"


def _ratios(section: Section, case: str, measure: str, contender: str) -> dict[str, float]:
    return {
        figure.where: figure.median
        for figure in section.figures
        if (figure.case, figure.measure, figure.contender) == (case, measure, contender)
    }


def _usual(ratios: Mapping[str, float]) -> str:
    most = max(ratios, key=lambda name: ratios[name])
    usual = _percent(statistics.median(ratios.values()))
    return f"usually {usual} and at most {_percent(ratios[most])} ({most})"


def _percent(ratio: float) -> str:
    """Return a ratio in words: "3 % more", "2.4 times as much"."""
    if abs(ratio - 1) < _SAME:
        digits = abs(ratio - 1) * _PERCENT
        return "as much" if digits < 0.05 else f"{digits:.1f} % {'more' if ratio > 1 else 'less'}"
    if ratio >= 2:
        return f"{ratio:.1f} times as much"
    return f"{abs(ratio - 1) * _PERCENT:.0f} % {'more' if ratio > 1 else 'less'}"


def table(section: Section) -> str:
    """Return the table of a section about whole servers: a row for each server and request."""
    has_notes = section.name == "servers"
    absolute, ratio = (CPU, CPU_RATIO) if has_notes else (INSTRUCTIONS, INSTRUCTIONS_RATIO)
    rows: dict[tuple[str, str], dict[tuple[str, str], Figure]] = {}
    for figure in section.figures:
        cells = rows.setdefault((figure.where, figure.case), {})
        cells[figure.measure, figure.contender] = figure
    compared = [
        (contender, heading)
        for contender, heading in (
            (CONTROL, "without, again"),
            (SNIPPET, "snippet"),
            (LEAST, "least middleware"),
            (DRAINKIT, "drainkit"),
        )
        if any((ratio, contender) in cells for cells in rows.values())
    ]
    first = "without, µs" if has_notes else "without"
    headings = ["server", "request", first, *(heading for _, heading in compared), "target"]
    lines = [[*headings, *(["besides"] if has_notes else [])]]
    for (where, case), cells in rows.items():
        line = [where, case, _cell(cells, absolute, NONE)]
        line += [_cell(cells, ratio, contender) for contender, _ in compared]
        line.append(_verdict(section.name, cells[ratio, DRAINKIT]))
        lines.append([*line, *([_besides(cells)] if has_notes else [])])
    return _markdown(lines)


def _cell(cells: _Cells, measure: str, contender: str) -> str:
    figure = cells.get((measure, contender))
    return spread(figure) if figure else ""


def _verdict(section: str, figure: Figure) -> str:
    target = target_of(section, figure)
    return (
        f"{target.sign()} {target.limit_for(figure):g}: {target.verdict(figure)}" if target else ""
    )


def _besides(cells: _Cells) -> str:
    """Return what else differs: connections that had to be opened, and answers that were lost."""
    notes = []
    if (CONNECTIONS, NONE) in cells:
        without, own = (cells[CONNECTIONS, each].median for each in (NONE, DRAINKIT))
        notes.append(f"connections: {number(without)} and {number(own)}")
    if (LOST, NONE) in cells:
        without, own = (cells[LOST, each].median * _PERCENT for each in (NONE, DRAINKIT))
        notes.append(f"answers lost: {number(without)} % and {number(own)} %")
    return "; ".join(notes)


def missed(results: Results) -> str:
    """Return a table of the targets that a server misses: by how much, and where the floor is."""
    worst: dict[tuple[int, str], tuple[Target, Figure]] = {}
    for target, figure in judged(results):
        if target.section not in _SECTIONS or not target.measure.endswith("/ without"):
            continue
        if target.at_least or target.verdict(figure).startswith("met"):
            continue
        key = (id(target), figure.where)
        if key not in worst or figure.median > worst[key][1].median:
            worst[key] = (target, figure)
    if not worst:
        return ""
    lines = [["server", "request", "limit", "drainkit", "least middleware", "drainkit adds"]]
    for target, figure in worst.values():
        section = results.sections[target.section]
        absolute, unit = (CPU, " µs") if target.section == "servers" else (INSTRUCTIONS, "")
        added = _median(section, figure, absolute, DRAINKIT) - _median(
            section, figure, absolute, NONE
        )
        least = _figure(section, figure, figure.measure, LEAST)
        verdict = target.verdict(figure)
        lines.append(
            [
                figure.where,
                figure.case,
                f"{target.limit_for(figure):g}",
                spread(figure) + verdict.removeprefix("not met"),
                spread(least),
                f"{number(added)}{unit}",
            ]
        )
    return _markdown(lines)


def _median(section: Section, like: Figure, measure: str, contender: str) -> float:
    return _figure(section, like, measure, contender).median


def _figure(section: Section, like: Figure, measure: str, contender: str) -> Figure:
    """Return the figure of the same request on the same server."""
    return next(
        figure
        for figure in section.figures
        if (figure.where, figure.case) == (like.where, like.case)
        and (figure.measure, figure.contender) == (measure, contender)
    )


def _markdown(lines: Iterable[Sequence[str]]) -> str:
    first, *others = lines
    rule = "|" + "---|" * len(first)
    return "\n".join(["| " + " | ".join(first) + " |", rule, *(_row(line) for line in others), ""])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
