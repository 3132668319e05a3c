"""When a visitor sees that an upload was refused, as SVG: for each link, a row each way to serve.

Rule of this file: a row says its numbers in words, and the bars only repeat them.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from tests.bench.alternatives import DRAINKIT, HANDLER, NONE, SNIPPET
from tests.link.answers import BUFFERED, CONTENDERS, STATUS

_WIDTH = 360
_LEFT = 10
_BAR = 200
_ROW = 34
_LINK = 34
_HEAD = 62
_FOOT = 34
_FONT = "font-family='DejaVu Sans, Verdana, sans-serif'"
_INK, _FILL, _OTHER, _LOST = "#1f2933", "#2f7fb8", "#c9b8a8", "#a03010"

_KILOBYTES_BELOW = 1e6

# The bars' scale is logarithmic: a tenth of a second has no length, an hour has all of it.
_LEAST_SECONDS, _MOST_SECONDS = 0.1, 3600.0

CLIENT = "chromium-form"
WORDS = {
    DRAINKIT: "with drainkit",
    NONE: "without anything, if at all",
    SNIPPET: "the snippet reads it all",
    HANDLER: "the handler reads it all",
    BUFFERED: "nginx's default buffering",
}
ORDER = (DRAINKIT, *(name for name in CONTENDERS if name != DRAINKIT))


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < _LEAST_SECONDS:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def megabytes(size_bytes: float) -> str:
    """Return a size in MB, or in kB where that would be nothing."""
    if size_bytes < _KILOBYTES_BELOW:
        return f"{size_bytes / 1e3:.0f} kB"
    shown = size_bytes / 1e6
    return f"{shown:.1f} MB" if shown < 10 else f"{shown:.0f} MB"


def expected_seconds(row: Mapping[str, Any], size_bytes: int) -> float:
    """Return how long a whole upload takes at the rate of one that was stopped."""
    seconds: float = row["seconds"]
    sent_bytes: int = row["sent_bytes"]
    return seconds * size_bytes / max(1, sent_bytes)


def outcome(row: Mapping[str, Any], size_bytes: int, limit_seconds: float) -> str:
    """Return what came of an upload, in few words."""
    if is_unfinished(row, limit_seconds):
        return f"some {duration(expected_seconds(row, size_bytes))}, {megabytes(size_bytes)}"
    told = f"{duration(row['seconds'])}, {megabytes(row['sent_bytes'])} sent"
    if row["error"] is not None:
        return f"lost after {told}"
    return told if row["status"] == STATUS else f"a {row['status']} after {told}"


def is_lost(row: Mapping[str, Any], limit_seconds: float) -> bool:
    """Return whether a client had another answer than the right one, or none."""
    return row["status"] != STATUS and not is_unfinished(row, limit_seconds)


def is_unfinished(row: Mapping[str, Any], limit_seconds: float) -> bool:
    """Return whether an upload was stopped while it was under way."""
    return row["error"] is not None and row["seconds"] >= 0.95 * limit_seconds


def drawn(record: Mapping[str, Any], links: Sequence[str]) -> str:
    """Return the picture."""
    size, limit = record["size_bytes"], record["limit_seconds"]
    height = _HEAD + len(links) * (_LINK + len(ORDER) * _ROW) + _FOOT
    title = f"{megabytes(size)} are refused: when does one see it?"
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {height}' width='{_WIDTH}' "
        f"height='{height}' role='img' aria-labelledby='title desc' {_FONT} font-size='12'>",
        f"<title id='title'>{escape(title)}</title>",
        f"<desc id='desc'>{escape(description(record, links))}</desc>",
        f"<rect width='{_WIDTH}' height='{height}' rx='6' fill='#ffffff'/>",
        f"<g fill='{_INK}'>",
        f"<text x='{_LEFT}' y='22' font-size='13' font-weight='bold'>{escape(title)}</text>",
        f"<text x='{_LEFT}' y='42' font-size='11'>Chromium, a form; time and what it sent for it"
        "</text></g>",
    ]
    top = _HEAD
    for link in links:
        parts.append(
            f"<text x='{_LEFT}' y='{top + 14}' font-weight='bold' fill='{_INK}'>"
            f"{escape(link_words(record, link))}</text>"
        )
        top += _LINK - 8
        for contender in ORDER:
            row = _row(record, link, contender)
            if row is not None:
                parts += _bar(contender, row, size, limit, top)
            top += _ROW
        top += 8
    parts.append(
        f"<text x='{_LEFT}' y='{height - 14}' font-size='10' fill='{_INK}'>Logarithmic: an hour "
        "has the longest bar.</text>"
    )
    return "\n".join([*parts, "</svg>", ""])


def description(record: Mapping[str, Any], links: Sequence[str]) -> str:
    """Return what the picture shows, in words."""
    told = []
    for link in links:
        rows = [(name, _row(record, link, name)) for name in ORDER]
        words = "; ".join(
            f"{WORDS[name]}: {outcome(row, record['size_bytes'], record['limit_seconds'])}"
            for name, row in rows
            if row is not None
        )
        told.append(f"{link}: {words}.")
    return " ".join(told)


def link_words(record: Mapping[str, Any], link: str) -> str:
    """Return a link's name and what it is like."""
    one = record["links"][link]
    up = one["up_bits_per_second"] / 1e6
    loss = f", {one['loss'] * 100:g} % lost" if one["loss"] else ""
    return f"{link}: {one['round_trip_seconds'] * 1000:g} ms, {up:g} Mbit/s{loss}"


def _row(record: Mapping[str, Any], link: str, contender: str) -> Mapping[str, Any] | None:
    asked = (link, contender, CLIENT)
    for row in record["rows"]:
        if (row["link"], row["contender"], row["client"]) == asked:
            found: Mapping[str, Any] = row
            return found
    return None


def _bar(contender: str, row: Mapping[str, Any], size: int, limit: float, top: int) -> list[str]:
    lost = is_lost(row, limit)
    seconds = expected_seconds(row, size) if is_unfinished(row, limit) else row["seconds"]
    share = math.log(max(seconds, _LEAST_SECONDS) / _LEAST_SECONDS) / math.log(
        _MOST_SECONDS / _LEAST_SECONDS
    )
    width = 4 + _BAR * min(1.0, share)
    fill = _LOST if lost else _FILL if contender == DRAINKIT else _OTHER
    dash = f" fill='#ffffff' stroke='{fill}' stroke-dasharray='3 2'" if lost else f" fill='{fill}'"
    return [
        f"<text x='{_LEFT}' y='{top + 10}' font-size='11' fill='{_INK}'>"
        f"{escape(WORDS[contender])}: "
        f"<tspan font-weight='bold'>{escape(outcome(row, size, limit))}</tspan></text>",
        f"<rect x='{_LEFT}' y='{top + 15}' width='{width:.1f}' height='9'{dash}/>",
    ]
