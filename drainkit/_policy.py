"""How much of an unread body may be discarded, for how long, and for how many at once.

Rule 1: this is the only place where a default is spelled.
Rule 2: a policy that exists is valid; nothing downstream checks it again.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

# What 400 Mbit/s sends in 20 seconds. Some precedents:
# - Tomcat maxSwallowSize: 2 MB
# - hono node-server: 64 MiB
# - werkzeug's development server: 10 GB
DEFAULT_MAX_BYTES = 1 * GIB

# nginx lingering_timeout: 5; Apache httpd SECONDS_TO_LINGER: 2
DEFAULT_IDLE_SECONDS = 5.0
# TCP doubles its wait before each try (RFC 6298 section 5.5), so a link that stops for 4 seconds
# looks silent for up to 8, and the first of these waits. Where that holds next to nothing it is
# borne: some of these servers would have borne it by themselves.
_PATIENT_IDLE_SECONDS = 10.0

# Kestrel MinRequestBodyDataRate: 240 bytes a second after 5 seconds of grace.
DEFAULT_MIN_BYTES_PER_SECOND = 240.0
DEFAULT_GRACE_SECONDS = 5.0

# Arbitrary: a form or a JSON document that is read late fits, a film does not.
DEFAULT_LATE_READ_BYTES = 1 * MIB


class Resource(enum.Enum):
    """What a drain holds while it lasts, which decides what it may cost by default."""

    PROCESS = "process"
    """A whole process, which answers nobody else meanwhile."""
    THREAD = "thread"
    """One thread of a process that has several."""
    GREENLET = "greenlet"
    """A greenlet: some memory, and turns of the event loop."""
    TASK = "task"
    """A task of an event loop; the same."""

    # Looked up in a table for every drain; Enum's own is a function in Python.
    __hash__ = object.__hash__


@dataclass(frozen=True, kw_only=True, slots=True)
class Defaults:
    """The bounds that follow from what a drain holds, where a policy does not set them.

    Attributes:
        max_seconds: Seconds that a whole drain may last.
        max_concurrent: Drains at once in this process.
        idle_seconds: Longest silence of the client, in seconds.
    """

    max_seconds: float
    max_concurrent: int
    idle_seconds: float = DEFAULT_IDLE_SECONDS

    def leaving_half(self, at_once: float) -> Defaults:
        """Return the bounds where drains and other requests share so many places.

        Args:
            at_once: How many requests the server serves at once; half of them is left to others.
        """
        return _leaving_half(self, at_once)


@functools.lru_cache(maxsize=64)  # a process has a handful of them
def _leaving_half(defaults: Defaults, at_once: float) -> Defaults:
    half = max(1, math.floor(min(at_once, 2 * defaults.max_concurrent) / 2))
    return dataclasses.replace(defaults, max_concurrent=half)


# max_seconds of what serves nobody else: under gunicorn's worker timeout (30) and Heroku's router
# (30). Some precedents:
# - nginx lingering_time: 30
# - aiohttp lingering_time: 10
# Of what holds next to nothing: a 40 MB upload at 8 Mbit/s takes 40 seconds, and the server would
# have waited for it.
#
# max_concurrent: nobody ships such a bound; CVE-2014-0230 (Tomcat, threads held by aborted uploads)
# shows why one is needed. The numbers are arbitrary. A process has one drain, unless its server
# does not tell the truth; how many threads drains may hold is their adapter's business, which
# knows them.
DEFAULTS: Mapping[Resource, Defaults] = {
    Resource.PROCESS: Defaults(max_seconds=20.0, max_concurrent=64),
    Resource.THREAD: Defaults(max_seconds=20.0, max_concurrent=1000),
    Resource.GREENLET: Defaults(
        max_seconds=300.0, max_concurrent=1000, idle_seconds=_PATIENT_IDLE_SECONDS
    ),
    Resource.TASK: Defaults(
        max_seconds=300.0, max_concurrent=1000, idle_seconds=_PATIENT_IDLE_SECONDS
    ),
}
"""The bounds of a policy that does not set them, by what a drain holds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DrainPolicy:
    """The bounds of a drain. Whichever is reached first ends it.

    Attributes:
        max_bytes: Body bytes discarded for one request. ``None`` sets no limit, ``0`` never
            discards.
        max_seconds: Seconds that a whole drain may last. ``None`` follows from what it holds
            (`DEFAULTS`): 20 for a process or a thread, 300 for a greenlet or a task.
        idle_seconds: Longest silence of the client, in seconds. A drain that cannot finish
            (Content-Length says more than ``max_bytes``) lasts no longer than this in total.
            ``None`` follows from what a drain holds: 5 for a process or a thread, 10 for a
            greenlet or a task.
        min_bytes_per_second: A client that is slower than this on average, counted from the
            beginning of the drain, is given up. ``0`` sets no minimum.
        grace_seconds: Seconds before ``min_bytes_per_second`` counts.
        max_concurrent: Drains at once in this process. A body that would be one more is left
            alone at once. ``None`` follows from what a drain holds: 1000, and drains of clients
            that stand still hold at most half of a server's threads.
        late_read_bytes: Body bytes kept for an application that still reads after its response
            has begun, where the response can go on only if the body is read. All requests of a
            process together keep 16 times that.

    Raises:
        ValueError: A field has the wrong type, a wrong sign, or is not finite. The message names
            the field, the value and what is allowed.
    """

    max_bytes: int | None = DEFAULT_MAX_BYTES
    max_seconds: float | None = None
    idle_seconds: float | None = None
    min_bytes_per_second: float = DEFAULT_MIN_BYTES_PER_SECOND
    grace_seconds: float = DEFAULT_GRACE_SECONDS
    max_concurrent: int | None = None
    late_read_bytes: int = DEFAULT_LATE_READ_BYTES

    def __post_init__(self) -> None:
        if self.max_bytes is not None:
            _check_count("max_bytes", self.max_bytes, least=0, instead=", or None for no limit")
        if self.max_seconds is not None:
            _check_number("max_seconds", self.max_seconds, positive=True, instead=_UNSET)
        if self.idle_seconds is not None:
            _check_number("idle_seconds", self.idle_seconds, positive=True, instead=_UNSET)
        _check_number("min_bytes_per_second", self.min_bytes_per_second, positive=False)
        _check_number("grace_seconds", self.grace_seconds, positive=False)
        if self.max_concurrent is not None:
            _check_count("max_concurrent", self.max_concurrent, least=1, instead=_UNSET)
        _check_count("late_read_bytes", self.late_read_bytes, least=0)

    @classmethod
    def from_settings(
        cls, settings: Mapping[str, Any], *, base: DrainPolicy | None = None
    ) -> DrainPolicy:
        """Make a policy of a framework's settings.

        Args:
            settings: Field names and values; a field that is not named keeps its value in *base*.
            base: The policy to start from. ``None`` starts from the defaults.

        Raises:
            ValueError: A key is no field of a policy (the message lists the fields), or a value
                is not allowed.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for key in settings:
            if key not in known:
                raise ValueError(
                    f"{key!r} is not a field of DrainPolicy; the fields are: {', '.join(known)}"
                )
        return dataclasses.replace(base if base is not None else cls(), **settings)


# What else may be said, in an error.
_UNSET = ", or None for the default of what a drain holds"


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


def _check_count(field: str, value: object, *, least: int, instead: str = "") -> None:
    # bool is an int in Python, and never a count.
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{field} must be an integer of {least} or more{instead}; got {value!r}")


def _check_number(field: str, value: object, *, positive: bool, instead: str = "") -> None:
    allowed = "above 0" if positive else "of 0 or more"
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not _is_finite(value)
        or value < 0
        or (positive and value == 0)
    ):
        raise ValueError(f"{field} must be a finite number {allowed}{instead}; got {value!r}")
