"""The stages of an answer and what leads from one to another, as SVG.

Rule: where a stage stands is chosen here; which arrows there are is not. Each has a number, that of
its line in the page's table, and a title that says it in words.
"""

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from drainkit import Stage
from tests.orders.stages import Transition

_WIDTH, _HEIGHT = 360, 500
_BOX_WIDTH, _BOX_HEIGHT = 96, 34
_FONT = "font-family='DejaVu Sans, Verdana, sans-serif'"
_INK, _GIVEN_UP, _FILL = "#1b3a52", "#a03010", "#e6f0f7"
# The middle of each box.
PLACES = {
    Stage.EXPECTED: (138, 46),
    Stage.HELD: (138, 146),
    Stage.OPEN: (138, 246),
    Stage.ENDING: (138, 352),
    Stage.ENDED: (138, 452),
    Stage.FULL: (302, 222),
    Stage.CUT: (302, 402),
}
_MARK_RADIUS = 8
_MARK_DISTANCE = 40
# Two arrows between the same boxes, and several that end at one, stand so far apart.
_APART = 9
_TIP = 7


def drawn(transitions: Sequence[Transition]) -> str:
    """Return the picture."""
    both_ways = {(one.after, one.before) for one in transitions}
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {_HEIGHT}' "
        f"width='{_WIDTH}' height='{_HEIGHT}' role='img' aria-labelledby='title desc' {_FONT} "
        "font-size='13'>",
        "<title id='title'>The stages of an answer</title>",
        f"<desc id='desc'>{escape(description(transitions))}</desc>",
        f"<rect width='{_WIDTH}' height='{_HEIGHT}' fill='#ffffff'/>",
    ]
    arrows = [
        _arrow(number, one, has_reverse=(one.before, one.after) in both_ways)
        for number, one in enumerate(transitions, 1)
    ]
    parts += [line for line, _ in arrows]
    parts += [_box(stage) for stage in PLACES]
    parts += [mark for _, mark in arrows]
    return "\n".join([*parts, "</svg>", ""])


def description(transitions: Sequence[Transition]) -> str:
    """Return what the picture shows, in words."""
    return "; ".join(words(one) for one in transitions) + "."


def words(one: Transition) -> str:
    """Return one transition in words."""
    return f"{one.before.value} to {one.after.value} by {', '.join(one.calls)}"


def _box(stage: Stage) -> str:
    x, y = PLACES[stage]
    return (
        f"<rect x='{x - _BOX_WIDTH / 2:g}' y='{y - _BOX_HEIGHT / 2:g}' width='{_BOX_WIDTH}' "
        f"height='{_BOX_HEIGHT}' rx='6' fill='{_FILL}' stroke='{_INK}'/>"
        f"<text x='{x}' y='{y + 4.5:g}' text-anchor='middle' fill='{_INK}'>{stage.name}</text>"
    )


def _arrow(number: int, one: Transition, *, has_reverse: bool) -> tuple[str, str]:
    """Return the line of a transition, and the mark with its number."""
    (x1, y1), (x2, y2) = PLACES[one.before], PLACES[one.after]
    ink = _GIVEN_UP if one.after is Stage.CUT else _INK
    rows = sorted({y for x, y in PLACES.values() if x == x1})
    is_skip = x1 == x2 and abs(rows.index(y1) - rows.index(y2)) > 1
    if is_skip:
        path, (x, y), angle = _around(x1, y1, y2)
    else:
        path, (x, y), angle = _straight(x1, y1, x2, y2, has_reverse=has_reverse)
    tip_x, tip_y = (float(part) for part in path.rpartition(" ")[2].split(","))
    dash = " stroke-dasharray='4 3'" if one.after is Stage.CUT else ""
    title = f"<title>{number}: {escape(words(one))}</title>"
    line = (
        f"<g>{title}<path d='{path}' fill='none' stroke='{ink}' stroke-width='1.4'{dash}/>"
        f"<path d='{_tip(tip_x, tip_y, angle)}' fill='{ink}'/></g>"
    )
    mark = (
        f"<g>{title}<circle cx='{x:.1f}' cy='{y:.1f}' r='{_MARK_RADIUS}' fill='#ffffff' "
        f"stroke='{ink}'/><text x='{x:.1f}' y='{y + 3.6:.1f}' font-size='10' text-anchor='middle' "
        f"fill='{ink}'>{number}</text></g>"
    )
    return line, mark


def _tip(x: float, y: float, angle: float) -> str:
    corners = [
        (x - _TIP * math.cos(angle + side), y - _TIP * math.sin(angle + side))
        for side in (-0.45, 0.45)
    ]
    return f"M{x:.1f} {y:.1f}" + "".join(f"L{cx:.1f} {cy:.1f}" for cx, cy in corners) + "z"


def _around(x: float, y1: float, y2: float) -> tuple[str, tuple[float, float], float]:
    """Go around what stands between, on the left; the farther, the wider."""
    edge = x - _BOX_WIDTH / 2
    wide = edge - 12 - abs(y2 - y1) * 0.16
    # So that what leaves a box and what comes to it do not meet.
    start, end = y1 + _APART, y2 - _APART
    path = (
        f"M{edge:.1f},{start:.1f} C{wide:.1f},{start:.1f} {wide:.1f},{end:.1f} {edge:.1f},{end:.1f}"
    )
    return path, (edge * 0.25 + wide * 0.75, (start + end) / 2), 0.0


def _straight(
    x1: float, y1: float, x2: float, y2: float, *, has_reverse: bool
) -> tuple[str, tuple[float, float], float]:
    angle = math.atan2(y2 - y1, x2 - x1)
    aside = _APART if has_reverse else 0.0
    dx, dy = -math.sin(angle) * aside, math.cos(angle) * aside
    from_x, from_y = _border(x1, y1, angle)
    to_x, to_y = _border(x2, y2, angle + math.pi)
    from_x, from_y, to_x, to_y = from_x + dx, from_y + dy, to_x + dx, to_y + dy
    path = f"M{from_x:.1f},{from_y:.1f} L {to_x:.1f},{to_y:.1f}"
    # Near where it begins: arrows that end in one box meet there.
    share = min(0.42, _MARK_DISTANCE / math.dist((from_x, from_y), (to_x, to_y)))
    mark = (from_x + (to_x - from_x) * share, from_y + (to_y - from_y) * share)
    return path, mark, angle


def _border(x: float, y: float, angle: float) -> tuple[float, float]:
    """Return where a line at this angle leaves the box around a point."""
    cos, sin = math.cos(angle), math.sin(angle)
    across = _BOX_WIDTH / 2 / abs(cos) if abs(cos) > 1e-9 else math.inf
    down = _BOX_HEIGHT / 2 / abs(sin) if abs(sin) > 1e-9 else math.inf
    length = min(across, down)
    return x + cos * length, y + sin * length
