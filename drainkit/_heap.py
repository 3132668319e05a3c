"""What memory a process keeps between two reads."""

from __future__ import annotations

# More than any server measured holds for one drain: gunicorn, with up to 1 MiB three times.
_KEPT_BYTES = 4 * 1024 * 1024

_is_kept = False


def keep_heap() -> None:
    """Let the allocator keep what the next read of a drain will want again. Once for a process.

    An adapter calls it when a drain begins; the engine itself never has a byte of a body.

    A server allocates each piece of a body anew. glibc gives what is free at the end of its heap
    back to the kernel from 128 KiB on, and then has to have every page made anew for the next
    piece, which costs more than receiving it. As soon as a larger block of memory has been freed,
    it keeps twice as much as that (malloc/malloc.c, "dynamic mmap threshold"; mallopt(3)). So one
    is freed here. `bytes` leaves it to the kernel to fill it with zeros, so it never takes memory.

    A process whose ``MALLOC_`` variables set a threshold keeps that; with other allocators
    nothing happens.
    """
    global _is_kept
    if not _is_kept:
        _is_kept = True
        bytes(_KEPT_BYTES)
