"""The plots of the page, as small SVG files; readable without colour.

Rule: each file holds a digest of the figures it shows, so that a test can tell a stale one without
drawing it anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.alternatives import DRAINKIT, NONE
from tests.bench.names import CPU, EARLY, GET, LAG, MEMORY, READ, SLOW, WAIT
from tests.bench.results import Figure, Results

_MARKERS = "os^vDx*+"
_DASHES = ("-", "--", ":", "-.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Plot:
    """One picture.

    Attributes:
        name: Of the file, without its ending.
        title: What it shows.
        alt: What it shows, for who does not see it.
        section: Where the figures stand.
        shows: Which of them.
        x_label: The axis of the figures' ``x``.
        y_label: The axis of the medians.
        log_y: Whether the second axis is logarithmic, too; the first one always is.
        by_case: Whether there is a line for each case, and not for each contender.
    """

    name: str
    title: str
    alt: str
    section: str
    shows: Callable[[Figure], bool]
    x_label: str
    y_label: str
    log_y: bool = False
    by_case: bool = False

    def lines(self, results: Results) -> dict[str, list[Figure]]:
        """Return the figures of each line, in order."""
        lines: dict[str, list[Figure]] = {}
        section = results.sections.get(self.section)
        for figure in section.figures if section else ():
            if figure.x is not None and self.shows(figure):
                lines.setdefault(self._line(figure), []).append(figure)
        return {name: sorted(line, key=_x) for name, line in lines.items()}

    def _line(self, figure: Figure) -> str:
        if self.by_case:
            return figure.case
        if figure.where in ("in process", figure.contender):
            return figure.contender
        return f"{figure.where}, {figure.contender}"

    def digest(self, results: Results) -> str:
        """Return what changes when a figure does."""
        return _digest(self.lines(results))

    def draw(self, canvas: Any, results: Results) -> None:
        """Draw on an empty canvas."""
        lines = self.lines(results)
        axes = canvas.add_subplot()
        for number, (name, line) in enumerate(lines.items()):
            _draw_line(axes, number, name, line, is_ours=line[0].contender == DRAINKIT)
        axes.set_xscale("log")
        axes.set_xticks(sorted({_x(each) for line in lines.values() for each in line}))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        if self.log_y:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
        else:
            axes.set_ylim(bottom=min(0.0, *(e.low for line in lines.values() for e in line)))
        axes.set(title=self.title, xlabel=self.x_label, ylabel=self.y_label)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)


def _digest(lines: Mapping[str, Sequence[Figure]]) -> str:
    shown = [
        (name, figure.where, figure.x, figure.low, figure.median, figure.high)
        for name, line in lines.items()
        for figure in line
    ]
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()


def _x(figure: Figure) -> float:
    assert figure.x is not None
    return figure.x


def _is(case: str, measure: str, *contenders: str) -> Callable[[Figure], bool]:
    return lambda figure: (
        (figure.case, figure.measure) == (case, measure)
        and (not contenders or figure.contender in contenders)
    )


PLOTS = (
    Plot(
        name="cost-reads",
        title="WSGI: a body of 4 KiB, fully read",
        alt="Overhead of drainkit and of the snippet by the number of read calls.",
        section="per request",
        shows=_is("WSGI POST by reads", "overhead"),
        x_label="read calls",
        y_label="overhead, µs",
    ),
    Plot(
        name="cost-messages",
        title="ASGI: a body of 4 KiB, fully received",
        alt="Overhead of drainkit and of the naive loop by the number of messages.",
        section="per request",
        shows=_is("ASGI POST by messages", "overhead"),
        x_label="messages",
        y_label="overhead, µs",
    ),
    Plot(
        name="cost-headers",
        title="drainkit, by the number of header fields",
        alt="Overhead of drainkit on GET and POST by the number of header fields.",
        section="per request",
        shows=lambda figure: (
            figure.case.endswith("by headers")
            and figure.measure == "overhead"
            and figure.contender == DRAINKIT
        ),
        x_label="header fields",
        y_label="overhead, µs",
        by_case=True,
    ),
    Plot(
        name="cost-read-size",
        title="Discarding in a handler, by the size of its reads",
        alt="CPU time for each GiB by the size of a read, for WSGI servers and a bare socket.",
        section="discarding",
        shows=_is("discard by size of read", "CPU for each GiB"),
        x_label="KiB in a read",
        y_label="CPU seconds for each GiB",
        log_y=True,
    ),
    Plot(
        name="cost-body",
        title="Discarding, by the size of the body",
        alt="CPU time by the size of the body, with drainkit and with a loop in the handler.",
        section="growth",
        shows=_is("discard by size of body", "CPU"),
        x_label="MiB in the body",
        y_label="CPU seconds",
        log_y=True,
    ),
    Plot(
        name="cost-drains",
        title="Discarding 256 KiB, by the drains under way at once",
        alt="CPU time for each drain by the number of drains that are under way at once.",
        section="growth",
        shows=_is("discard 256 KiB by drains at once", "CPU for each drain"),
        x_label="drains at once",
        y_label="CPU, ms for each drain",
    ),
    Plot(
        name="cost-slow-memory",
        title="Memory, by the slow uploads at once",
        alt="KiB for each slow upload by their number: drained by drainkit, and received by an "
        "application without it.",
        section="slow drains",
        shows=_is(SLOW, MEMORY),
        x_label="slow uploads at once",
        y_label="memory, KiB for each",
    ),
    Plot(
        name="cost-slow-lag",
        title="Lag of the event loop, by the slow uploads at once",
        alt="How late the event loop is, by the number of slow uploads: drained by drainkit, and "
        "received by an application without it.",
        section="slow drains",
        shows=_is(SLOW, LAG),
        x_label="slow uploads at once",
        y_label="lag, ms (p99)",
    ),
    Plot(
        name="cost-slow-wait",
        title="A GET beside them, by the slow uploads at once",
        alt="How long a GET takes by the number of slow uploads beside it: drained by drainkit, "
        "and received by an application without it.",
        section="slow drains",
        shows=_is(SLOW, WAIT),
        x_label="slow uploads at once",
        y_label="time to the answer, ms (p99)",
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bars:
    """One picture with a pair of bars for each server: without drainkit, and with it.

    Attributes:
        name: Of the file, without its ending.
        title: What it shows.
        alt: What it shows, for who does not see it.
        section: Where the figures stand.
        cases: One panel for each, by what stands above it.
        measure: What is shown of them.
        x_label: The axis of the medians.
    """

    name: str
    title: str
    alt: str
    section: str
    cases: dict[str, str]
    measure: str
    x_label: str

    def lines(self, results: Results) -> dict[str, list[Figure]]:
        """Return the figures of each panel and contender, in the order of the servers."""
        lines: dict[str, list[Figure]] = {}
        section = results.sections.get(self.section)
        for figure in section.figures if section else ():
            shown = figure.case in self.cases and figure.measure == self.measure
            if shown and figure.contender in (NONE, DRAINKIT):
                lines.setdefault(f"{figure.case}, {figure.contender}", []).append(figure)
        return lines

    def digest(self, results: Results) -> str:
        """Return what changes when a figure does."""
        return _digest(self.lines(results))

    def draw(self, canvas: Any, results: Results) -> None:
        """Draw on an empty canvas."""
        lines = self.lines(results)
        canvas.set_size_inches(8.0, 4.6)
        panels = canvas.subplots(1, len(self.cases), sharex=True, sharey=True)
        for axes, (case, heading) in zip(panels, self.cases.items(), strict=True):
            for number, contender in enumerate((NONE, DRAINKIT)):
                bars = lines[f"{case}, {contender}"]
                medians = [each.median for each in bars]
                axes.barh(
                    [row + (number - 0.5) * _BAR_HEIGHT for row in range(len(bars))],
                    medians,
                    _BAR_HEIGHT,
                    xerr=(
                        [each.median - each.low for each in bars],
                        [each.high - each.median for each in bars],
                    ),
                    label="with drainkit" if contender == DRAINKIT else "without",
                    color="0.25" if contender == DRAINKIT else "0.75",
                    error_kw={"linewidth": 0.8, "ecolor": "0.5"},
                )
            axes.set(title=heading, xlabel=self.x_label)
            axes.grid(axis="x", alpha=0.3)
        names = [each.where for each in lines[f"{next(iter(self.cases))}, {NONE}"]]
        panels[0].set_yticks(range(len(names)), names)
        panels[0].invert_yaxis()
        canvas.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        canvas.suptitle(self.title)


_BAR_HEIGHT = 0.38

# The page begins with it.
SUMMARY = Bars(
    name="cost-servers",
    title="What a request costs the server, without drainkit and with it",
    alt="CPU time for each request without drainkit and with it, for each server: a GET, a small "
    "POST that is read, a small POST that is answered early.",
    section="servers",
    cases={
        GET: "a GET",
        READ: "a POST that is read",
        EARLY: "a POST answered early",
    },
    measure=CPU,
    x_label="CPU, µs",
)

PICTURES: tuple[Plot | Bars, ...] = (SUMMARY, *PLOTS)


def draw(results: Results, folder: Path) -> None:
    """Write the SVG files that have something to show."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    # Text stays text, and the same figures make the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "drainkit", "font.size": 9})
    for picture in PICTURES:
        if not picture.lines(results):
            continue
        canvas = Canvas(figsize=(6.4, 3.6), layout="constrained")
        picture.draw(canvas, results)
        about = {"Date": None, "Creator": None, "Title": picture.title}
        about["Description"] = picture.digest(results)
        canvas.savefig(folder / f"{picture.name}.svg", metadata=about)


def _draw_line(axes: Any, number: int, name: str, line: list[Figure], *, is_ours: bool) -> None:
    medians = [each.median for each in line]
    axes.errorbar(
        [_x(each) for each in line],
        medians,
        yerr=(
            [each.median - each.low for each in line],
            [each.high - each.median for each in line],
        ),
        label=name,
        color="black" if is_ours else "0.5",
        linestyle=_DASHES[number % len(_DASHES)],
        marker=_MARKERS[number % len(_MARKERS)],
        markersize=4,
        linewidth=1,
        capsize=2,
    )
