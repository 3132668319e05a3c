"""Figures, how they are told from their samples, and the file that holds them.

Rule: a figure is a median with its quartiles and the number of samples; nothing is kept without.
"""

from __future__ import annotations

import dataclasses
import json
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
JSON_PATH = ROOT / "docs" / "benchmarks.json"
VERSION = 1


class ResultsError(ValueError):
    """The file of figures is not one, or not one of this version."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One number of the table.

    Attributes:
        where: The server, or "in process".
        case: What is done.
        contender: With what around the application.
        measure: What was measured, or how it was derived.
        unit: The unit of the three values.
        n: How many samples.
        low: The lower quartile.
        median: The median.
        high: The upper quartile.
        x: For figures of a curve: the place on its axis. For a case with a limit that grows: how
            often the application reads.
    """

    where: str
    case: str
    contender: str
    measure: str
    unit: str
    n: int
    low: float
    median: float
    high: float
    x: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """One section's figures, and how they came to be.

    Attributes:
        name: The section's.
        date: The day of the run, in UTC.
        command: What was run.
        seconds: How long it took.
        quick: Whether with fewer and smaller samples.
        skipped: What was left out, and why.
        figures: In the order of the table.
        commit: Which one of drainkit was measured; None where that was not kept.
    """

    name: str
    date: str
    command: str
    seconds: float
    quick: bool
    skipped: tuple[str, ...]
    figures: tuple[Figure, ...]
    commit: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """All that ``docs/benchmarks.json`` holds.

    Attributes:
        machine: What it ran on.
        versions: Of Python, of drainkit and of everything measured with it.
        sections: By name, in the order of the table.
    """

    machine: dict[str, str]
    versions: dict[str, str]
    sections: dict[str, Section]


def figure(
    samples: Sequence[float],
    *,
    where: str,
    case: str,
    contender: str,
    measure: str,
    unit: str,
    x: float | None = None,
) -> Figure:
    """Return the figure that samples make."""
    low, median, high = quartiles(samples)
    return Figure(
        where=where,
        case=case,
        contender=contender,
        measure=measure,
        unit=unit,
        n=len(samples),
        low=_rounded(low),
        median=_rounded(median),
        high=_rounded(high),
        x=x,
    )


def quartiles(samples: Sequence[float]) -> tuple[float, float, float]:
    """Return lower quartile, median and upper quartile; of one sample, three times that."""
    if len(samples) == 1:
        return samples[0], samples[0], samples[0]
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return low, median, high


def paired(
    samples: Sequence[float], others: Sequence[float], *, inverse: bool = False
) -> list[float]:
    """Return the ratio of each sample to the one that was taken next to it.

    Args:
        samples: Of the contender.
        others: Of what it is compared with.
        inverse: Divide the other way round, where less is better and the ratio is one of speed.
    """
    pairs = zip(samples, others, strict=True)
    return [other / sample if inverse else sample / other for sample, other in pairs]


def _rounded(value: float) -> float:
    # Four digits are more than any spread here allows, and keep changes of the file readable.
    return float(f"{value:.4g}")


def save(results: Results, path: Path) -> None:
    """Write the file."""
    content: dict[str, Any] = {"version": VERSION, **dataclasses.asdict(results)}
    for section in content["sections"].values():
        if section["commit"] is None:
            del section["commit"]
    text = json.dumps(content, indent=1, ensure_ascii=False)
    # A figure on one line: then a difference between two runs can be read.
    text = re.sub(r'\{\s+"where".*?\}', lambda found: _one_line(found.group()), text, flags=re.S)
    path.write_text(text + "\n", encoding="utf-8")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def load(path: Path) -> Results:
    """Read the file.

    Raises:
        ResultsError: It is not there, or something else than `save` writes.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultsError(f"{path.name} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ResultsError(f"{path.name} is no JSON: {error}") from error
    if content.pop("version", None) != VERSION:
        raise ResultsError(f"{path.name} is not of version {VERSION}; run the whole benchmark anew")
    try:
        sections = {
            name: Section(
                **{
                    **section,
                    "skipped": tuple(section["skipped"]),
                    "figures": tuple(Figure(**each) for each in section["figures"]),
                }
            )
            for name, section in content.pop("sections").items()
        }
        results = Results(sections=sections, **content)
    except (TypeError, KeyError, AttributeError) as error:
        raise ResultsError(f"{path.name} has fields that do not fit: {error}") from error
    for name, section in sections.items():
        _check(name, section)
    return results


def _check(name: str, section: Section) -> None:
    if name != section.name:
        raise ResultsError(f"section {section.name!r} stands under {name!r}")
    for each in section.figures:
        if not (each.n >= 1 and each.low <= each.median <= each.high):
            raise ResultsError(f"section {name!r}: no median between its quartiles in {each}")
