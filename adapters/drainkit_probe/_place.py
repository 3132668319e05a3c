"""Where on the way to the application answers are lost, and what to add there.

Rule: it is a guess from what servers and proxies call themselves, and says "likely".
"""

from __future__ import annotations

from ._fates import Fate, seen
from ._run import Attempt, Run
from ._stacks import CURES, Cure, Stack, whose_words
from ._target import clean

_UNNAMED = "the server, which does not name itself"
_HANGS = "stops reading while its answer waits for a client that is still sending"
_CLOSES = (
    "closes the connection with the upload unread, and the reset that follows destroys the answer"
)
_ENDS = (
    "ends the stream, or the connection, while the upload is under way, and clients take that for "
    "an error"
)


def server_of(run: Run, every: list[tuple[Attempt, Fate]]) -> str | None:
    """Return the Server header of the application's own answers; None without one.

    Args:
        run: The run.
        every: Those of its uploads that count.
    """
    own = [a.answer for a, fate in every if fate is Fate.DELIVERED]
    if run.preflight is not None:
        own.append(run.preflight.answer)
    return next((said for answer in own if (said := answer.header("server"))), None)


def server_shown(run: Run) -> str | None:
    """Return what the server calls itself, fit to be shown; None if it does not say."""
    said = server_of(run, seen(run))
    return clean(said, 60) if said else None


def proxy_of(every: list[tuple[Attempt, Fate]]) -> str:
    """Return which proxy's words took the place of answers."""
    named = [whose_words(a.answer) for a, fate in every if fate is Fate.REPLACED]
    return next(filter(None, named), "a proxy that does not name itself")


def place_of(stack: Stack | None, run: Run, every: list[tuple[Attempt, Fate]]) -> str:
    """Return where answers are likely lost.

    Args:
        stack: The server that the answers name; None if they name none that is known.
        run: The run, in which some were lost.
        every: Its uploads.
    """
    if any(fate is Fate.REPLACED for _, fate in every):
        proxy = proxy_of(every)
        return f"Likely behind {proxy}, in the application server, and at the proxy itself."
    if all(a.end == "refused" for a, fate in every if fate.is_loss):
        return (
            "The server stopped taking connections during the probe: it may have crashed; see its "
            "log."
        )
    hung = any(fate is Fate.LOST and a.end == "timeout" for a, fate in every)
    if hung:
        return _named(stack, run, _HANGS)
    over_http2 = all(a.cell.way.http == "2" for a, fate in every if fate.is_loss)
    return _named(stack, run, _ENDS if over_http2 else _CLOSES)


def _named(stack: Stack | None, run: Run, does: str) -> str:
    if stack is None:
        said = server_shown(run)
        who = f"the server, which calls itself {said!r}" if said else _UNNAMED
        return f"Likely {who}: it {does}."
    if stack.is_proxy:
        return (
            f"Likely {stack.name}, which is what you are connected to, or the application behind "
            f"it: one of them {does}. Probe the application server directly to tell which."
        )
    return (
        f"Likely the application server, {stack.name}: it {does}. (A proxy in between that does "
        f"not name itself would look the same.) {stack.hint}"
    ).strip()


def cures_for(stack: Stack | None) -> tuple[Cure, ...]:
    """Return what to add, for each world that the server may serve; all of them for None."""
    return CURES[stack.interface if stack is not None else "either"]
