"""A trio channel whose method the server's ``receive()`` is, and what has been taken of it.

Under trio a ``receive()`` that was begun cannot be left for later, as asyncio's can. But trio gives
what a channel has without waiting (`trio.MemoryReceiveChannel.receive_nowait`).
"""

from __future__ import annotations

from typing import Any

import anyio.lowlevel

from ._messages import nbytes_of
from ._types import Message, Receive


class Channel:
    """Gives the messages of one request, in order.

    Attributes:
        came: What was taken before anybody asked; the next to be given.
    """

    __slots__ = ("_channel", "came")

    def __init__(self, receive: Receive) -> None:
        """Take a server's ``receive``, which is such a method."""
        self._channel: Any = getattr(receive, "__self__", None)
        self.came: list[Message] = []

    def gather(self, length: int) -> bool:
        """Take a body of so many bytes, to be received next; tell whether it has come whole."""
        nbytes = 0
        while nbytes < length:
            try:
                message: Message = self._channel.receive_nowait()
            except Exception:  # nothing has come, or the channel is closed
                return False
            self.came.append(message)
            nbytes += nbytes_of(message)  # the end and a disconnect have none
        return True

    async def receive(self) -> Message:
        """Wait for the next message."""
        if self.came:
            # As trio does it: who polls in a cancelled scope takes nothing.
            await anyio.lowlevel.checkpoint_if_cancelled()
            return self.came.pop(0)
        message: Message = await self._channel.receive()
        return message

    def receive_nowait(self) -> Message:
        """Return the next message.

        Raises:
            trio.WouldBlock: It has not come.
        """
        message: Message = self.came.pop(0) if self.came else self._channel.receive_nowait()
        return message
