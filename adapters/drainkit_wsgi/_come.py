"""The ordinary early answer: what is left of its body is small, and has come already.

A 401, 404, 422 or 429 to a JSON document whose bytes came with the headers is to cost what an
answer costs. So no drain is made for it, and no deadline: one read takes the rest.

Rule 1: only where that read surely waits for nobody; or where no deadline could end it anyway, with
no more than a drain would ask for first, and in a place like a drain's.
Rule 2: it is bounded, counted, reported and logged as what a drain discards.
Rule 3: whatever is not as expected, a drain finds as it was.
Rule 4: for what is about to come it waits once, without a read, in a place, and for a moment only.
"""

from __future__ import annotations

from drainkit import (
    DEFAULTS,
    BodyKind,
    DrainPolicy,
    DrainReport,
    Outcome,
    Resource,
    process_capacity,
    slowest_bytes,
)

from ._input import NO_LENGTH, Input
from ._threads import bounds_of, most_out_of_reach, moved
from ._types import StartResponse
from ._upload import Facts

# More is no small body: as much as one read of a drain asks for.
MOST_BYTES = 65_536

# What is out of reach holds a thread, or as dear a process.
_OUT_OF_REACH = DEFAULTS[Resource.THREAD]

# Many clients send a head, and then its body, in two packets: the second is late by as much as
# their processor was busy. Arbitrary, and far below what anybody would notice.
_SOON_SECONDS = 0.05


def may_have_come(facts: Facts, source: Input) -> bool:
    """Tell whether what is left of a body is small, as far as it is known without a read."""
    return source.left_bytes <= MOST_BYTES or (
        _is_untouched_chunks(facts, source)
        and (facts[2].connection.reads_to_end or _come_chunks(facts) is not None)
    )


def has_come(facts: Facts, source: Input) -> bool:
    """Tell whether all that is left of a body is small, and has surely come."""
    environ, stream, server = facts[:3]
    nbytes = source.left_bytes
    if nbytes <= MOST_BYTES:
        return bool(server.connection.has_come(environ, stream, nbytes))
    return _is_untouched_chunks(facts, source) and _come_chunks(facts) is not None


def take(
    facts: Facts,
    source: Input,
    start_response: StartResponse | None,
    now: float,
    *,
    may_wait: bool = False,
) -> int | None:
    """Discard what is left of a body if that is small and has come.

    Args:
        facts: What is known of the request.
        source: What the application has of the body, some of which is left.
        start_response: The server's; ``None`` where the adapter does not have it.
        now: The time in seconds of `time.monotonic`.
        may_wait: Whether nobody waits for this any more, so that it may wait for the rest.

    Returns:
        How many bytes that were. ``None`` if it is not done: a drain is needed.
    """
    environ, stream, server, framed, _, _, _ = facts
    nbytes, policy, connection = source.left_bytes, source.policy, server.connection
    if policy is None:
        return None
    if not isinstance(framed, int):
        return _take_chunks(facts, source, start_response, now)
    max_bytes = policy.max_bytes
    if nbytes > MOST_BYTES or (max_bytes is not None and nbytes > max_bytes):
        return None
    if not connection.is_out_of_reach:
        has_come = connection.has_come(environ, stream, nbytes)
        if has_come is False and may_wait:
            has_come = _wait_for_rest(facts, nbytes, policy, start_response)
        return source.take_all(nbytes, nbytes) if has_come else None
    if nbytes > slowest_bytes(policy, _OUT_OF_REACH):
        return None
    return _take_in_a_place(facts, source, start_response, now, nbytes, nbytes)


def report_of(facts: Facts, nbytes: int, seconds: float, status: int | None) -> DrainReport:
    """Return the report of what was taken.

    Args:
        facts: What is known of the request.
        nbytes: How many bytes were taken.
        seconds: How long that took.
        status: The status code of the answer; ``None`` when none was seen.
    """
    _, _, server, framed, _, _, (protocol, method, script_name, path_info) = facts
    length = framed if isinstance(framed, int) else None
    return DrainReport(
        outcome=Outcome.COMPLETE,
        bytes_discarded=nbytes,
        bytes_read=0 if length is None else length - nbytes,  # chunks were untouched
        declared_bytes=length,
        seconds=seconds,
        protocol=protocol,
        server=server.name,
        method=method,
        path=script_name + path_info,
        status=status,
    )


def _take_chunks(
    facts: Facts, source: Input, start_response: StartResponse | None, now: float
) -> int | None:
    """Do so with a body of which only its own chunks tell how long it is."""
    policy, connection = source.policy, facts[2].connection
    if policy is None or not _is_untouched_chunks(facts, source):
        return None
    max_bytes = policy.max_bytes
    if not connection.is_out_of_reach:
        nbytes = _come_chunks(facts)
        if nbytes is None or (max_bytes is not None and nbytes > max_bytes):
            return None
        # One more than there are: the server is to come to the end.
        return source.take_all(nbytes + 1, nbytes)
    most_bytes = slowest_bytes(policy, _OUT_OF_REACH)
    if not connection.reads_to_end or (max_bytes is not None and most_bytes > max_bytes):
        return None
    return _take_in_a_place(facts, source, start_response, now, most_bytes, None)


def _take_in_a_place(
    facts: Facts,
    source: Input,
    start_response: StartResponse | None,
    now: float,
    asked_bytes: int,
    nbytes: int | None,
) -> int | None:
    """Do so where it is not known whether the rest has come, and nothing can end a read."""
    environ, stream, server = facts[:3]
    most = None if source.policy is None else source.policy.max_concurrent
    if most is None:
        most = most_out_of_reach(environ, stream, server, start_response)
    if not process_capacity.acquire(most):
        return None  # a drain waits for room, or says that there is none
    try:
        moved(now)
        return source.take_all(asked_bytes, nbytes)
    finally:
        process_capacity.release()


def _wait_for_rest(
    facts: Facts, nbytes: int, policy: DrainPolicy, start_response: StartResponse | None
) -> bool:
    """Wait a moment for the rest of a body, as a drain would; tell whether all of it has come."""
    environ, stream, server = facts[:3]
    connection = server.connection(environ, stream, start_response)
    descriptor = connection.descriptor
    if descriptor is None or connection.is_tls:
        return False  # what comes would not be seen
    defaults, _ = bounds_of(environ, server, connection)
    seconds = defaults.idle_seconds if policy.idle_seconds is None else policy.idle_seconds
    if policy.max_seconds is not None:
        seconds = min(seconds, policy.max_seconds)
    most = defaults.max_concurrent if policy.max_concurrent is None else policy.max_concurrent
    if not process_capacity.acquire(most):
        return False
    try:
        is_readable = connection.is_readable(descriptor, min(seconds, _SOON_SECONDS))
    except OSError:
        return False  # no descriptor is left for the look
    finally:
        process_capacity.release()
    return is_readable and bool(connection.has_come(environ, stream, nbytes))


def _is_untouched_chunks(facts: Facts, source: Input) -> bool:
    """Tell whether a body is chunked, and nobody has read any of it."""
    framed = facts[3]
    return (
        source.left_bytes == NO_LENGTH
        and not isinstance(framed, int)
        and framed.kind is BodyKind.CHUNKED
        and not framed.expects_continue
    )


def _come_chunks(facts: Facts) -> int | None:
    """Return how much content a chunked body has that is small and has come."""
    return facts[2].connection.chunks_come(facts[1], MOST_BYTES)
