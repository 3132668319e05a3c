"""What uvicorn must be told: to stop discarding where a bound said so, and to wait over TLS."""

from __future__ import annotations

import contextlib
from typing import Any

from drainkit import RESPONSE_BUFFER_BYTES

from ._row import Connection

# RFC 9113 section 7.
_NO_ERROR = 0x0


class UvicornConnection(Connection):
    """Closes a connection on which uvicorn would discard the rest by itself, without a bound."""

    __slots__ = ()

    def _cycle(self) -> Any:
        # uvicorn/protocols/http/*_impl.py: receive is a method of the RequestResponseCycle.
        return getattr(self._receive, "__self__", None)

    def wait_early(self) -> None:
        """Wait as on a connection without TLS, where asyncio has 64 KiB and not 512."""
        transport = getattr(self._cycle(), "transport", None)
        if transport is not None:
            # uvloop's raises when it is closed; the server finds out with what is sent.
            with contextlib.suppress(Exception):
                transport.set_write_buffer_limits(high=RESPONSE_BUFFER_BYTES)

    def close(self) -> None:
        """Close the connection; over HTTP/2, where it has other streams, end the stream."""
        cycle = self._cycle()
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
