"""Arguments that both commands take: sizes and numbers of tries, and what is said of wrong ones."""

from __future__ import annotations

import re

import click

from drainkit_probe import words

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
_SIZE = re.compile(r"([0-9]{1,12})([KMG]?)(?:iB|B)?", re.IGNORECASE)
_WHOLE = re.compile("[0-9]{1,9}")
_MOST_TRIES = 100


def size_of(text: str, least: int, most: int, why: str = "") -> int:
    """Return a size in bytes, such as ``32M``.

    Args:
        text: What was typed.
        least: The smallest size that is allowed, in bytes.
        most: The largest.
        why: What there is to say of the largest.

    Raises:
        click.BadParameter: It is no size, or not within the limits.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise click.BadParameter(
            f"{text[:40]!r} is not a size; give a number of bytes, or one with K, M or G: 32M"
        )
    nbytes = int(match[1]) * _UNITS[match[2].upper()]
    if not least <= nbytes <= most:
        exactly = "1 byte" if nbytes == 1 else f"{nbytes} bytes"
        raise click.BadParameter(
            f"{text!r} is {exactly}; give a size from {words.size(least)} to "
            f"{words.size(most)}{why}"
        )
    return nbytes


def tries_of(text: str, such_as: int) -> int:
    """Return a number of tries.

    Raises:
        click.BadParameter: It is no whole number, or too large.
    """
    if not _WHOLE.fullmatch(text.strip()) or not 1 <= int(text) <= _MOST_TRIES:
        raise click.BadParameter(
            f"{text[:40]!r} is not a whole number from 1 to {_MOST_TRIES}; try {such_as}"
        )
    return int(text)
