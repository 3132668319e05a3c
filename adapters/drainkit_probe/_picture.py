"""One upload over time, as numbers that a terminal and an SVG both draw from.

Rule: nothing is smoothed; between two samples the earlier one counts.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass

from . import words
from ._fates import Fate
from ._run import Attempt

# What a connection's end is called where people read it.
ENDS = {
    "client": "closed by us",
    "fin": "closed",
    "reset": "reset",
    "timeout": "timed out",
    "tls-alert": "TLS alert",
    "refused": "no connection",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """One upload over time.

    Attributes:
        title: Which upload it is.
        lost: Whether its answer was lost.
        seconds: How long it took, which is the width of the picture.
        top_bytes: The height of the picture.
        curve: Points of (seconds, body bytes sent), ascending.
        answer: When an answer lay ready and how much was sent by then; None if none did.
        end: When it ended and how much was sent in all.
        answer_words: What the mark of the answer means; "" without one.
        end_words: What the mark of the end means.
    """

    title: str
    lost: bool
    seconds: float
    top_bytes: int
    curve: tuple[tuple[float, int], ...]
    answer: tuple[float, int] | None
    end: tuple[float, int]
    answer_words: str
    end_words: str

    def sent_at(self, seconds: float) -> int:
        """Return how many bytes were sent by then."""
        place = bisect.bisect_right(self.curve, (seconds, 1 << 62))
        return self.curve[place - 1][1] if place else 0


def picture(attempt: Attempt, fate: Fate) -> Picture:
    """Return the picture of an upload."""
    answer, cell = attempt.answer, attempt.cell
    seconds = max(answer.seconds, 1e-6)
    noticed = None
    answer_words = ""
    if answer.noticed_seconds is not None:
        by_then = answer.sent_at_noticed_bytes or 0
        noticed = (min(answer.noticed_seconds, seconds), by_then)
        answer_words = (
            f"answer ready: {words.duration(answer.noticed_seconds)}, "
            f"{words.size(by_then)} of {words.size(cell.size_bytes)} sent"
        )
    after = f"{words.duration(answer.seconds)}, {words.size(answer.sent_bytes)} sent"
    # How the connection stood then; what became of it later is not in the picture.
    lost = "malformed answer" if fate is Fate.MALFORMED else ENDS[attempt.end]
    what = lost if fate.is_loss else f"answer read: {answer.status}"
    return Picture(
        title=f"{fate.value}: {cell.client.name}, {cell.way.name}, {words.size(cell.size_bytes)}",
        lost=fate.is_loss,
        seconds=seconds,
        top_bytes=max(answer.sent_bytes, 1),
        curve=answer.trace or ((0.0, 0),),
        answer=noticed,
        end=(seconds, answer.sent_bytes),
        answer_words=answer_words,
        end_words=f"{what}: {after}" if fate.is_loss else f"{what}, {after}",
    )
