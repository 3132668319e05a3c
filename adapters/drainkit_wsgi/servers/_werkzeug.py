"""Werkzeug's development server: its socket stands in the environ."""

from __future__ import annotations

from ._connection import SocketConnection


class WerkzeugConnection(SocketConnection):
    """A connection of Werkzeug's development server."""

    __slots__ = ()

    key = "werkzeug.socket"  # werkzeug/serving.py, make_environ
