"""What memory a process keeps between two reads."""

from __future__ import annotations

# Twice as much is kept, by each of glibc's arenas, of which every thread may have one: as little as
# does for what the servers measured hold for one drain, up to 256 KiB some times.
_KEPT_BYTES = 1024 * 1024

_is_kept = False


def keep_heap() -> None:
    """Let the allocator keep what the next read of a drain will want again. Once for a process.

    An adapter calls it when a drain begins; the engine itself never has a byte of a body.

    A server allocates each piece of a body anew. glibc gives what is free at the end of its heap
    back to the kernel from 128 KiB on, and then has to have every page made anew for the next
    piece, which costs more than receiving it. As soon as a larger block of memory has been freed,
    it keeps twice as much as that (malloc/malloc.c, "dynamic mmap threshold"; mallopt(3)). So one
    of 1 MiB is freed here, and each arena keeps up to 2 MiB. `bytes` leaves it to the kernel to
    fill the block with zeros, so it never takes memory.

    A process whose ``MALLOC_`` variables set a threshold keeps that; with other allocators
    nothing happens.
    """
    global _is_kept
    if not _is_kept:
        _is_kept = True
        bytes(_KEPT_BYTES)
