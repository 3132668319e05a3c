"""What uvicorn must be told: to stop discarding where a bound said so."""

from __future__ import annotations

from typing import Any

from ._row import Connection

# RFC 9113 section 7.
_NO_ERROR = 0x0


class UvicornConnection(Connection):
    """Closes a connection on which uvicorn would discard the rest by itself, without a bound."""

    __slots__ = ()

    def close(self) -> None:
        """Close the connection; over HTTP/2, where it has other streams, end the stream."""
        # uvicorn/protocols/http/*_impl.py: receive is a method of the RequestResponseCycle.
        cycle: Any = getattr(self._receive, "__self__", None)
        transport = getattr(cycle, "transport", None)
        stream: Any = getattr(cycle, "stream", None)
        if transport is None:
            return
        if not hasattr(stream, "reset"):
            transport.close()
        elif not stream.pending_bytes:
            # zttp_h2_impl.py. Not while some of the answer waits for the client's credit, which a
            # reset would cut off.
            stream.reset(_NO_ERROR)
            transport.write(cycle.conn.data_to_send())
