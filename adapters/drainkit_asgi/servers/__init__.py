"""What only concerns one server.

    _row      what is known of a server: `Server`; what can be told to one: `Connection`
    _table    a row a server, and which of them made a request: `SERVERS`, `server_of`
    _uvicorn, _hypercorn    those that must be told something in code
    _granian    one that must be asked something in code

Rule: a new server, or a changed one, is a changed row. What takes code has a module of its own; it
has a `Connection` where the server must be told something. No code outside this folder names a
server; a comment may, that gives a reason.
"""

from ._row import MOST_QUEUED_BYTES, MOST_QUEUED_MESSAGES, Connection, Server
from ._table import SERVERS, UNKNOWN, server_of

__all__ = [
    "MOST_QUEUED_BYTES",
    "MOST_QUEUED_MESSAGES",
    "SERVERS",
    "UNKNOWN",
    "Connection",
    "Server",
    "server_of",
]
