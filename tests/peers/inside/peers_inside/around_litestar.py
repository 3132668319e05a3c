"""Litestar: every call of an application."""

from litestar import Litestar


def install(outside):
    """Put drainkit where the setting says."""
    outside.replace_asgi_call(Litestar)
