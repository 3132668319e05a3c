"""One request with a body: its upload, its answer, and when both are over.

    Exchange  ->  Response  ->  Upload  ->  the engine

For an answer that comes when the body has been received no `Response` is made: it needs nothing.
"""

from __future__ import annotations

import anyio

from drainkit import DISCARD_FIRST, DrainPolicy, OnReport, Order

from ._inbox import Loop, running_loop
from ._jobs import AsyncioJobs, Jobs, TrioJobs
from ._messages import BodyFields
from ._proxies import moments_behind
from ._response import Response
from ._types import ASGIApplication, Message, Receive, Scope, Send
from ._upload import Upload
from .servers import Server, server_of


class Exchange:
    """One HTTP request with a body, and its answer."""

    __slots__ = ("_jobs", "_loop", "_response", "_scope", "_send", "_server", "_upload")

    def __init__(
        self, scope: Scope, send: Send, server: Server, upload: Upload, loop: Loop | None
    ) -> None:
        """Begin before the application is called; `open` knows for which requests."""
        self._scope = scope
        self._send = send
        self._server = server
        self._upload = upload
        self._loop = loop
        self._jobs: Jobs | None = None
        self._response: Response | None = None

    @classmethod
    def open(
        cls,
        scope: Scope,
        receive: Receive,
        send: Send,
        fields: BodyFields,
        policy: DrainPolicy,
        on_report: OnReport | None,
    ) -> Exchange | None:
        """Begin an exchange if the request's body could be left on the connection.

        Args:
            scope: The scope of an HTTP request.
            receive: The server's.
            send: The server's.
            fields: What the request says of its body.
            policy: The bounds of the drain.
            on_report: Told of the drain; ``None`` when nobody is.

        Returns:
            The exchange; ``None`` when the server has read the body, or cannot say where it ends.
        """
        server = server_of(receive, send)
        if server.buffers_body:
            return None
        if server.needs_length and not fields.length and fields.encoding is None:
            return None
        loop = running_loop()
        upload = Upload(scope, receive, send, fields, server, policy, on_report, loop)
        return cls(scope, send, server, upload, loop)

    async def run(self, app: ASGIApplication) -> None:
        """Call the application, and see to its request's body.

        Raises:
            Exception: What the application raised, when the body is over.
        """
        if self._loop is None and self._jobs is None:
            await self._run_under_trio(app)
            return
        try:
            try:
                await app(self._scope, self._upload.receive, self.send)
            except Exception:
                # The server's own 500 must arrive, too.
                await self._finish(is_returned=False)
                raise
            if self._response is not None or not self._upload.is_received:
                await self._finish(is_returned=True)
        finally:
            try:
                if self._response is not None:
                    await self._response.abandon()
            finally:
                self._upload.end()

    async def _run_under_trio(self, app: ASGIApplication) -> None:
        error: Exception | None = None
        async with anyio.create_task_group() as tasks:
            self._jobs = TrioJobs(tasks)
            try:
                await self.run(app)
            except Exception as exc:
                error = exc  # not through the task group, which would wrap it
        if error is not None:
            try:
                raise error
            finally:
                del error  # or its traceback and this frame would hold each other

    async def send(self, message: Message) -> None:
        """The application's ``send``."""
        response = self._response
        if response is None:
            if self._upload.is_received:
                # The ordinary request: its body has been received.
                await self._send(message)
                return
            response = self._response = self._respond()
        await response.send(message)

    def _respond(self) -> Response:
        version: str = self._scope.get("http_version", "1.1")
        moments = self._server.moments.get(version[:1], DISCARD_FIRST)
        drain = self._upload.open_drain()
        self._upload.answered()
        order = Order(drain, moments_behind(self._scope, moments), sends_while_reading=True)
        jobs = AsyncioJobs(self._loop) if self._loop is not None else self._jobs
        assert jobs is not None  # run() made it under trio
        return Response(self._scope, self._send, self._upload, order, jobs)

    async def _finish(self, *, is_returned: bool) -> None:
        """See to what is left when the application is over."""
        upload, response = self._upload, self._response
        if response is not None:
            await response.finish()
            if response.order.is_over:
                return
            await response.release_pieces()
        else:
            upload.open_drain()
        if upload.drain.settled:
            upload.leave()
        else:
            await upload.discard_alone()
        if response is not None:
            await response.release_rest(is_returned=is_returned)
