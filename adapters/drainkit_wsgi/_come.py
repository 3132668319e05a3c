"""The ordinary early answer: what is left of its body is small, and has come already.

A 401, 404, 422 or 429 to a JSON document whose bytes came with the headers is to cost what an
answer costs. So no drain is made for it, and no deadline: one read takes the rest.

Rule 1: only where that read surely waits for nobody; or where no deadline could end it anyway, with
no more than a drain would ask for first, and in a place like a drain's.
Rule 2: it is bounded, counted, reported and logged as what a drain discards.
Rule 3: whatever is not as expected, a drain finds as it was.
"""

from __future__ import annotations

from drainkit import (
    DEFAULTS,
    DrainReport,
    Outcome,
    Resource,
    process_capacity,
    slowest_bytes,
)

from ._input import Input
from ._threads import most_out_of_reach, moved
from ._types import StartResponse
from ._upload import Facts

# More is no small body: as much as one read of a drain asks for.
MOST_BYTES = 65_536

# What is out of reach holds a thread, or as dear a process.
_OUT_OF_REACH = DEFAULTS[Resource.THREAD]


def has_come(facts: Facts, source: Input) -> bool:
    """Tell whether all that is left of a body is small, and has surely come."""
    environ, stream, server = facts[:3]
    nbytes = source.left_bytes
    return nbytes <= MOST_BYTES and server.connection.has_come(environ, stream, nbytes)


def take(facts: Facts, source: Input, start_response: StartResponse | None, now: float) -> bool:
    """Discard what is left of a body if that is small and has come.

    Args:
        facts: What is known of the request.
        source: What the application has of the body, some of which is left.
        start_response: The server's; ``None`` where the adapter does not have it.
        now: The time in seconds of `time.monotonic`.

    Returns:
        Whether that is done. If not, a drain is needed.
    """
    environ, stream, server, framed, _, _, _ = facts
    nbytes, policy = source.left_bytes, source.policy
    if nbytes > MOST_BYTES or not isinstance(framed, int) or policy is None:
        return False
    max_bytes, connection = policy.max_bytes, server.connection
    if max_bytes is not None and nbytes > max_bytes:
        return False
    if not connection.is_out_of_reach:
        return connection.has_come(environ, stream, nbytes) and source.take_all()
    if nbytes > slowest_bytes(policy, _OUT_OF_REACH):
        return False
    # It is not known whether the rest has come, and nothing can end a read.
    most = policy.max_concurrent
    if most is None:
        most = most_out_of_reach(environ, stream, server, start_response)
    if not process_capacity.acquire(most):
        return False  # a drain waits for room, or says that there is none
    try:
        moved(now)
        return source.take_all()
    finally:
        process_capacity.release()


def report_of(facts: Facts, nbytes: int, seconds: float, status: int | None) -> DrainReport:
    """Return the report of what was taken.

    Args:
        facts: What is known of the request.
        nbytes: How many bytes were taken.
        seconds: How long that took.
        status: The status code of the answer; ``None`` when none was seen.
    """
    _, _, server, framed, _, _, (protocol, method, script_name, path_info) = facts
    assert isinstance(framed, int)  # or nothing would have been taken
    return DrainReport(
        outcome=Outcome.COMPLETE,
        bytes_discarded=nbytes,
        bytes_read=framed - nbytes,
        declared_bytes=framed,
        seconds=seconds,
        protocol=protocol,
        server=server.name,
        method=method,
        path=script_name + path_info,
        status=status,
    )
