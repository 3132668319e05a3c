"""What only concerns one server: a row of data each, read in its source and measured.

Rule: no code outside of this package names a server; a comment may, that gives a reason. A server
that needs code has one module of its own, with a `Connection`.
"""

from ._connection import Connection, waiting_bytes
from ._rows import row_of, server_of
from ._server import Invitation, Server

__all__ = ["Connection", "Invitation", "Server", "row_of", "server_of", "waiting_bytes"]
