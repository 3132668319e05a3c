"""One request with a body: its upload, its answer, and when both are over.

An answer that comes when the body has been received needs nothing. One that comes before passes as
it is if the whole body has come (`Passing`), or may be received behind it (`Behind`); for every
other a `Response` is made.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

import anyio

from drainkit import CONTROL_KEY, DISCARD_FIRST, DrainControl, DrainPolicy, OnReport, Order

from ._ahead import CAME, UNANSWERED
from ._behind import Behind
from ._inbox import Loop, running_loop
from ._jobs import AsyncioJobs, Jobs, TrioJobs
from ._messages import START, HeaderField, announces_body, needs_no_body
from ._proxies import moments_behind
from ._response import Response
from ._types import ASGIApplication, Message, Receive, Scope, Send
from .servers import Server, server_of


class Exchange(Behind):
    """One HTTP request with a body, and its answer.

    It is one object, and its class is in seven modules: each is a room on the one below it, from
    `Inbox` over `Body`, `Ahead`, `Upload`, `Passing` and `Behind` to here. Every request with a
    body makes it, and pays for each object and each call between two. What that costs its reader:
    an attribute may belong to a room below, which declares it and says what it is, while its first
    value stands, for nearly all, in the one `__init__` here. Two methods are completed by rooms
    above: `report` and `end`. No other call goes up, and the import contract keeps every import
    downward.

    Attributes:
        needs_nursery: Whether `run_under_trio` must call the application.
        response: The answer, where it needs one; `returned` must be called behind it, and where
            the body is not taken.
    """

    _jobs: Jobs | None
    response: Response | None

    __slots__ = ("_jobs", "needs_nursery", "response")

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        fields: Sequence[HeaderField],
        server: Server,
        policy: DrainPolicy,
        on_report: OnReport | None,
        loop: Loop | None,
    ) -> None:
        """Begin before the application is called, and give it a `drainkit.DrainControl`.

        `open` knows for which requests. Args as for it; *server* is the row of the server, and
        *loop* asyncio's event loop, ``None`` under trio.
        """
        self._scope = scope
        self._receive = receive
        self._send = send
        self._fields = fields
        self._server = server
        self._on_report = on_report
        self._loop = loop
        self._control = scope[CONTROL_KEY] = DrainControl(policy)
        # For the report; the application may change its scope.
        self._method: str = scope.get("method", "")
        self._path: str = scope.get("path", "")
        self.gate = UNANSWERED
        self.is_taken = self._is_asked_for = self._is_busy = False
        # Counted here until there is a drain.
        self._bytes_read = self._largest_bytes = 0
        # Most requests need none of these.
        self._opened = self.response = self._jobs = self._start = self._kept = None
        self._connection = self._over = self.before_receive = None
        self._came = self._pending = self._freed = self._channel = None
        self._held = self._watch = self._behind_job = None
        self.needs_nursery = loop is None and not self._gather_from_channel()

    @classmethod
    def open(
        cls,
        scope: Scope,
        receive: Receive,
        send: Send,
        fields: Sequence[HeaderField],
        policy: DrainPolicy,
        on_report: OnReport | None,
    ) -> Exchange | None:
        """Begin an exchange if the request has a body that could be left on the connection.

        Args:
            scope: The scope of an HTTP request.
            receive: The server's.
            send: The server's.
            fields: What the request says of its body.
            policy: The bounds of the drain.
            on_report: Told of the drain; ``None`` when nobody is.

        Returns:
            The exchange; ``None`` when there is no body, or the server has read it, or cannot say
            where it ends.
        """
        is_announced = announces_body(fields)
        if not is_announced and needs_no_body(scope, fields):
            return None
        server = server_of(receive, send)
        if server.buffers_body or (server.needs_length and not is_announced):
            return None
        return cls(scope, receive, send, fields, server, policy, on_report, running_loop())

    async def run_under_trio(self, app: ASGIApplication) -> None:
        """Call the application within a nursery, and see to its request's body.

        Raises:
            BaseException: What the application raised, when the body is over.
        """
        error: BaseException | None = None
        async with anyio.create_task_group() as tasks:
            self._jobs = TrioJobs(tasks)
            try:
                await self._run(app)
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as exc:
                error = exc  # not through the task group, which would wrap it
        if error is not None:
            try:
                raise error
            finally:
                del error  # or its traceback and this frame would hold each other

    async def _run(self, app: ASGIApplication) -> None:
        try:
            await app(self._scope, self.receive, self.send)
        except BaseException as exc:
            await self.raised(exc)
            raise
        await self.returned()

    async def returned(self) -> None:
        """See to the body: the application has returned."""
        if self._watch is not None and self._behind_job is None:
            # Nothing is under way but the wait for the one message of a small body.
            try:
                await self._receive_behind()
            finally:
                self.end()
                self.is_taken = True
            return
        try:
            await self._finish(is_returned=True)
        finally:
            await self._abandon()

    async def raised(self, error: BaseException) -> None:
        """See to the body: the application has raised, or was cancelled."""
        try:
            if isinstance(error, Exception):
                # The server's own 500 must arrive, too.
                await self._finish(is_returned=False)
        finally:
            await self._abandon()

    async def _abandon(self) -> None:
        """Give up what is still under way: the request is over, or was cancelled."""
        # They hold each other; so do a start that is held and what would release it.
        response, self.response = self.response, None
        self._held = self.before_receive = None
        try:
            if response is not None:
                await response.abandon()
            if self._behind_job is not None:
                await self._behind_job.end()
        finally:
            self.end()
            self.is_taken = True  # what a task of the application still sends is the server's

    def send(self, message: Message) -> Awaitable[None]:
        """The application's ``send``.

        Not a coroutine of its own: what the server's returns is as good, and a frame less for each
        message of an ordinary request. Nothing happens before it is awaited.
        """
        if self.response is not None:
            return self.response.send(message)
        if self.is_taken:
            # The ordinary request: its body has been received.
            return self._send(message)
        return self._send_early(message)

    async def _send_early(self, message: Message) -> None:
        if self._held is not None and self._may_pass_behind(message):
            await self._pass_behind(message)
            return
        if self.gate is not CAME and self.response is None and not self._let_pass():
            if self._hold_if_small(message):
                self.before_receive = self._hold_no_longer
                return
            self.response = self._respond()
            if self._held is not None:
                await self.response.send(self._take_held())
        if self.response is not None:
            await self.response.send(message)
            return
        # Nothing is left on the connection: the answer costs what any answer costs. In place,
        # because a coroutine of its own would cost as much as all that is done in it.
        if message["type"] == START:
            self._start = message
        elif self.gate is CAME and self._is_last(message):
            self._discard_what_came()
            try:
                await self._send(message)
            finally:
                self.over()
            return
        await self._send(message)

    def _take_held(self) -> Message:
        start, self._held = self._held, None
        assert start is not None  # the caller has looked
        self.before_receive = None
        return start

    def _hold_no_longer(self) -> None:
        """Let the start go out: the application receives."""
        self.response = self._respond()
        self.response.release_soon(self._take_held())

    def _respond(self) -> Response:
        version: str = self._scope.get("http_version", "1.1")
        moments = self._server.moments.get(version[:1], DISCARD_FIRST)
        order = Order(
            self.open_drain(), moments_behind(self._scope, moments), sends_while_reading=True
        )
        jobs = AsyncioJobs(self._loop) if self._loop is not None else self._jobs
        assert jobs is not None  # run() made it under trio
        return Response(self._scope, self._send, self, order, jobs)

    async def _finish(self, *, is_returned: bool) -> None:
        """See to what is left when the application is over."""
        if self._held is not None:
            self.response = self._respond()
            await self.response.send(self._take_held())
        response = self.response
        if response is not None:
            await response.finish()
            if response.order.is_over:
                return
            await response.release_pieces()
        elif self.is_taken:
            return
        elif self._behind_job is not None:
            await self._behind_job.wait()
            return
        elif self._watch is not None:
            await self._receive_behind()
            return
        else:
            self.open_drain()
        if self.drain.settled:
            self.leave()
        else:
            await self.discard_alone()
        if response is not None:
            await response.release_rest(is_returned=is_returned)
