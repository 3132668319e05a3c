"""drainkit's engine: every client gets its answer, also when nobody reads its upload.

This package is the engine: the standard library only, no WSGI, no ASGI, no socket and no clock.
What the world around it needs stands in one package each beside it:

    drainkit_wsgi           any WSGI application
    drainkit_asgi           any ASGI application, on asyncio and trio
    drainkit_flask          Flask: ``init_app`` and configuration keys
    drainkit_django         Django: an entry of ``MIDDLEWARE``, a setting, system checks
    drainkit_starlette      Starlette and FastAPI: ``init_app``, or a middleware
    drainkit_clients        clients on raw sockets, which show what becomes of an answer
    drainkit_conformance    the cases that an adapter is held to, for authors of others
    drainkit_probe          what a deployment does to early answers
    drainkit_prometheus     drains as metrics of prometheus_client
    drainkit_opentelemetry  drains as metrics, and spans, of OpenTelemetry
    drainkit_pytest         a fixture for the tests of an application, on its own server
    drainkit_cli            the command ``drainkit``: ``demo`` and ``probe``

And this is the engine:

    framing(...)  ->  Framing      how long is the body?
    DrainPolicy                    how much of it may be discarded, for how long, how many at once
    Resource                       what a drain holds, which decides what a policy leaves open
    Drain(policy, framing)         what to read next, until ...
    DrainReport(outcome, ...)      ... why it ended
    DrainControl                   what the application may say about it
    Order(drain, moments)          what of the answer goes out before that, and what behind it
    Kept                           what an application that reads late will still have
"""

from ._answer import RESPONSE_BUFFER_BYTES, Stage, lacks_length
from ._budget import Budget, process_budget
from ._capacity import Capacity, process_capacity
from ._configuration import Configuration, Interface, PolicyFields, check_on_report
from ._control import CONTROL_KEY, DrainControl
from ._drain import Drain, Read, Step, slowest_bytes
from ._extras import needs_extra
from ._framing import METHODS_WITHOUT_CONTENT, NO_BODY, BodyKind, Framing, framing
from ._heap import keep_heap
from ._kept import Kept, LateReadError
from ._main_thread import main_thread_local
from ._named import APPLICATION_VARIABLE, load_application
from ._order import DISCARD_FIRST, Moment, Moments, Order, Plan
from ._policy import DEFAULTS, Defaults, DrainPolicy, Resource
from ._report import DrainReport, OnReport, Outcome, Reporter, answered, is_heard, publish

__all__ = [
    "APPLICATION_VARIABLE",
    "CONTROL_KEY",
    "DEFAULTS",
    "DISCARD_FIRST",
    "METHODS_WITHOUT_CONTENT",
    "NO_BODY",
    "RESPONSE_BUFFER_BYTES",
    "BodyKind",
    "Budget",
    "Capacity",
    "Configuration",
    "Defaults",
    "Drain",
    "DrainControl",
    "DrainPolicy",
    "DrainReport",
    "Framing",
    "Interface",
    "Kept",
    "LateReadError",
    "Moment",
    "Moments",
    "OnReport",
    "Order",
    "Outcome",
    "Plan",
    "PolicyFields",
    "Read",
    "Reporter",
    "Resource",
    "Stage",
    "Step",
    "answered",
    "check_on_report",
    "framing",
    "is_heard",
    "keep_heap",
    "lacks_length",
    "load_application",
    "main_thread_local",
    "needs_extra",
    "process_budget",
    "process_capacity",
    "publish",
    "slowest_bytes",
]
