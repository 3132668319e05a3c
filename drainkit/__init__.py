"""drainkit's engine: every client gets its answer, also when nobody reads its upload.

This package is the engine: the standard library only, no WSGI, no ASGI, no socket and no clock.
What servers and frameworks need stands in one package each beside it: ``drainkit_wsgi``,
``drainkit_asgi``, ``drainkit_flask``, ``drainkit_django``, ``drainkit_starlette``.

    framing(...)  ->  Framing      how long is the body?
    DrainPolicy                    how much of it may be discarded, for how long, how many at once
    Drain(policy, framing)         what to read next, until ...
    DrainReport(outcome, ...)      ... why it ended
    DrainControl                   what the application may say about it
"""

from ._capacity import Capacity, process_capacity
from ._configuration import Configuration, Interface, PolicyFields, check_on_report
from ._control import CONTROL_KEY, DrainControl
from ._drain import Drain, Read, Step
from ._extras import needs_extra
from ._framing import NO_BODY, BodyKind, Framing, framing
from ._policy import DrainPolicy
from ._report import DrainReport, OnReport, Outcome, publish

__all__ = [
    "CONTROL_KEY",
    "NO_BODY",
    "BodyKind",
    "Capacity",
    "Configuration",
    "Drain",
    "DrainControl",
    "DrainPolicy",
    "DrainReport",
    "Framing",
    "Interface",
    "OnReport",
    "Outcome",
    "PolicyFields",
    "Read",
    "Step",
    "check_on_report",
    "framing",
    "needs_extra",
    "process_capacity",
    "publish",
]
