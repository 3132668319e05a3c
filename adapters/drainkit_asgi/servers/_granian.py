"""granian: how many requests it takes at once stands in the frame of its worker's function."""

from __future__ import annotations

from drainkit import main_thread_local


def most_requests() -> float | None:
    """Return what ``--backpressure`` says; ``None`` where the worker is not granian's own.

    A worker that has so many requests under way accepts no connection (granian/server/mp.py).
    """
    requests = main_thread_local("granian", "_spawn_asgi_", "backpressure")
    return requests if isinstance(requests, int) else None
