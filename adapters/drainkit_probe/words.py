"""Numbers as people read them, and as JSON has them."""

from __future__ import annotations

_KIB = 1024
_MIB = 1024 * _KIB
_GIB = 1024 * _MIB


def size(nbytes: int) -> str:
    """Return a number of bytes in words."""
    for unit, name in ((_GIB, "GiB"), (_MIB, "MiB"), (_KIB, "KiB")):
        if nbytes >= unit:
            return f"{nbytes / unit:.1f} {name}".replace(".0 ", " ")
    return "1 byte" if nbytes == 1 else f"{nbytes} bytes"


def duration(seconds: float) -> str:
    """Return a duration in words."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    milliseconds = seconds * 1000
    digits = 0 if milliseconds >= 10 else 1 if milliseconds >= 1 else 2
    return f"{milliseconds:.{digits}f} ms"


def count(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listed(words: list[str], last: str = "and") -> str:
    """Return words with commas between them, and one word before the last."""
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""


def rounded(seconds: float | None) -> float | None:
    """Return a duration to the microsecond: finer than anything that is measured here."""
    return None if seconds is None else round(seconds, 6)
