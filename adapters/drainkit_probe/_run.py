"""The measurement: a request without a body first, then one upload after the other.

Rule 1: one connection at a time; each has ended before the next begins.
Rule 2: every wait has an end, and no more bytes are sent than the plan says.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Literal

from drainkit_clients import NOT_HTTP, Answer, Connection, Ended, Upload, unreachable

from ._plan import Cell, Plan, Way
from ._stacks import whose_words
from ._target import Family, NotTestedError, Target, clean
from ._version import VERSION

if TYPE_CHECKING:
    from drainkit_clients.http2 import Http2Connection

# "client": the server had left the connection open when we closed it.
End = Literal["client", "fin", "reset", "timeout", "tls-alert", "refused"]

# How long a server may take to close what it has announced to close; longer says nothing more.
_CLOSE_SECONDS = 2.0
_CONNECT_SECONDS = 10.0
# Statuses that a server gives to bytes which are no request, as the rest of a body is none.
_NO_REQUEST = frozenset({400, 405, 411, 414, 417, 431, 501, 505})
# These move the endpoint; 302 and 303 may be the login page, which is an answer like any other.
_MOVED = frozenset({301, 307, 308})
_FOUND = frozenset({302, 303})
_GATEWAY = frozenset({502, 503, 504})


class Reuse(Enum):
    """What became of the connection after an answer."""

    AGAIN = "used again"
    ANNOUNCED = "closed as announced"
    SILENT = "closed unannounced"
    GARBLED = "took leftover body for a request"
    UNTRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Preflight:
    """What a request without a body found.

    Attributes:
        address: The IP address that every connection goes to.
        answer: The answer to it.
        offers_http2: Whether the server chooses HTTP/2 where it may; False without TLS.
    """

    address: str
    answer: Answer = field(repr=False)
    offers_http2: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One upload and what became of it.

    Attributes:
        cell: What was sent.
        number: Which try it was, from 1.
        answer: What the client got.
        end: How the connection ended.
        reuse: What became of the connection after the answer.
    """

    cell: Cell
    number: int
    answer: Answer = field(repr=False)  # the other side may have echoed what is secret
    end: End
    reuse: Reuse

    @property
    def early(self) -> bool:
        """Whether an answer lay ready before the whole body was sent."""
        sent = self.answer.sent_at_noticed_bytes
        return sent is not None and sent < self.cell.size_bytes


@dataclass(slots=True)
class Run:
    """A run: where to, what, and what was seen so far.

    Attributes:
        target: The endpoint.
        plan: What is sent.
        family: 4 or 6 for that version of IP only, None for either.
        insecure: Whether any TLS certificate is accepted.
        addresses: The endpoint's addresses, in the order in which they are tried; () before they
            were looked up.
        preflight: What the request without a body found; None before it was made.
        attempts: The uploads so far.
        began: When the run was made, in UTC.
    """

    target: Target
    plan: Plan
    family: Family | None = None
    insecure: bool = False
    addresses: tuple[str, ...] = ()
    preflight: Preflight | None = None
    attempts: list[Attempt] = field(default_factory=list)
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def resolve(self) -> tuple[str, ...]:
        """Look up the endpoint's addresses, and keep them; nothing is sent to it.

        Raises:
            NotTestedError: It has none.
        """
        self.addresses = self.target.resolve(self.family)
        return self.addresses

    def look(self) -> Preflight:
        """Make one request without a body, and keep what it found; `resolve` comes first.

        Raises:
            NotTestedError: Nobody there speaks HTTP as the plan does, or the endpoint is elsewhere.
        """
        if self.plan.speaks_http2 and self.target.scheme == "http":
            raise NotTestedError(
                "http2", "HTTP/2 is probed over TLS only; give an https:// URL, or other --ways"
            )
        failure: NotTestedError | None = None
        for address in self.addresses:
            try:
                offers_http2 = self._offers_http2(address)
                connection = self._connect(address, self.plan.ways[0])
            except OSError as error:
                failure = failure or self._unreachable(error)
                continue
            with connection:
                answer = connection.strict(
                    self._bodiless("close"), timeout_seconds=self.plan.timeout_seconds
                )
            self._check(answer)
            self.preflight = Preflight(address, answer, offers_http2)
            return self.preflight
        raise failure or NotTestedError("dns", "the host has no address")

    def upload(self, tell: Callable[[Attempt], object] | None = None) -> None:
        """Make every upload of the plan; `look` comes first.

        Args:
            tell: Told of each upload when it is over; None tells nobody.

        Raises:
            NotTestedError: The endpoint sends uploads elsewhere, or the file that is the body
                cannot be read any more.
        """
        for cell, number in self.plan.each():
            try:
                attempt = self._attempt(cell, number)
            except OSError as error:
                # A failure of the network is a value of the clients; only the body is left.
                raise NotTestedError("body", f"the body cannot be read: {error}") from error
            if attempt.answer.delivered:
                self._check_moved(attempt.answer)
            self.attempts.append(attempt)
            if tell is not None:
                tell(attempt)

    def _attempt(self, cell: Cell, number: int) -> Attempt:
        assert self.preflight is not None  # look() comes first
        try:
            connection = self._connect(self.preflight.address, cell.way)
        except OSError as error:
            return Attempt(cell, number, unreachable(error), "refused", Reuse.UNTRIED)
        upload = self.plan.upload(cell, self.target.request_target, self._headers())
        longest = self.plan.longest_seconds(cell)
        send = {"strict": connection.strict, "eager": connection.eager}[cell.client.name]
        with connection:
            answer = send(upload, timeout_seconds=longest, stall_seconds=self.plan.timeout_seconds)
            if isinstance(connection, Connection):
                end, reuse = self._afterwards(connection, answer, upload)
            else:
                end, reuse = self._afterwards_over_http2(connection, answer)
        return Attempt(cell, number, answer, end, reuse)

    def _afterwards(
        self, connection: Connection, answer: Answer, upload: Upload
    ) -> tuple[End, Reuse]:
        """See what the connection is good for once the answer is here."""
        if not answer.delivered:
            return _ended(answer.ended), Reuse.UNTRIED
        if answer.ended != "open":
            return _ended(answer.ended), Reuse.ANNOUNCED
        if answer.sent_bytes < upload.size_bytes:
            # Whoever stops in the middle of a body has to close the connection.
            return "client", Reuse.UNTRIED
        if _closes(answer) or upload.connection == "close":
            rest = connection.rest(timeout_seconds=min(_CLOSE_SECONDS, self.plan.timeout_seconds))
            garbled = rest.data.startswith(b"HTTP/1.")
            return _ended(rest.ended), Reuse.GARBLED if garbled else Reuse.ANNOUNCED
        return self._again(connection, answer)

    def _again(self, connection: Connection, answer: Answer) -> tuple[End, Reuse]:
        """Use the connection again, since nothing said that it ends."""
        second = connection.strict(
            self._bodiless("keep-alive"), timeout_seconds=self.plan.timeout_seconds
        )
        if not second.delivered:
            return _ended(second.ended), Reuse.SILENT
        assert self.preflight is not None
        unlike = second.status != self.preflight.answer.status
        garbled = answer.excess.startswith(b"HTTP/1.") or (unlike and second.status in _NO_REQUEST)
        return _ended(second.ended), Reuse.GARBLED if garbled else Reuse.AGAIN

    def _afterwards_over_http2(
        self, connection: Http2Connection, answer: Answer
    ) -> tuple[End, Reuse]:
        """See whether the connection takes another request, as it has to unless it says so."""
        if not answer.delivered:
            return _ended(answer.ended), Reuse.UNTRIED
        if connection.is_leaving:
            return _ended(answer.ended), Reuse.ANNOUNCED
        second = connection.strict(
            self._bodiless("keep-alive"), timeout_seconds=self.plan.timeout_seconds
        )
        return _ended(second.ended), Reuse.AGAIN if second.delivered else Reuse.SILENT

    def _connect(self, address: str, way: Way) -> Connection | Http2Connection:
        context = self.target.ssl_context(self.insecure, http2=way.http == "2")
        to = (address, self.target.port)
        if way.http == "2":
            # An import of its own: h2 is there for those who ask for it.
            from drainkit_clients.http2 import Http2Connection

            assert context is not None  # look() refuses it without TLS
            return Http2Connection(
                to,
                ssl_context=context,
                connect_timeout_seconds=self._connect_seconds,
                server_name=self.target.host,
            )
        return Connection(
            to,
            ssl_context=context,
            connect_timeout_seconds=self._connect_seconds,
            server_name=self.target.host,
        )

    @property
    def _connect_seconds(self) -> float:
        return min(_CONNECT_SECONDS, self.plan.timeout_seconds)

    def _offers_http2(self, address: str) -> bool:
        """Shake hands once, and see what the server chooses.

        Raises:
            NotTestedError: The plan needs HTTP/2, and it chooses something else.
            OSError: There is nobody to talk to.
        """
        context = self.target.ssl_context(self.insecure, http2=True)
        if context is None:
            return False
        to = (address, self.target.port)
        with (
            socket.create_connection(to, timeout=self._connect_seconds) as plain,
            context.wrap_socket(plain, server_hostname=self.target.host) as secured,
        ):
            offers = secured.selected_alpn_protocol() == "h2"
        if self.plan.speaks_http2 and not offers:
            raise NotTestedError(
                "http2",
                "the server does not choose HTTP/2 when it is offered (ALPN); configure it there, "
                "or leave http2 out of --ways",
            )
        return offers

    def _headers(self) -> tuple[tuple[str, str], ...]:
        own = {
            "host": ("Host", self.target.host_header),
            "user-agent": ("User-Agent", f"drainkit-probe/{VERSION}"),
            "accept": ("Accept", "*/*"),
        }
        if self.target.credentials is not None:
            own["authorization"] = ("Authorization", self.target.credentials)
        for name, _ in self.plan.headers:
            own.pop(name.lower(), None)
        return tuple(own.values())

    def _bodiless(self, connection: Literal["keep-alive", "close"]) -> Upload:
        kept = tuple(
            (name, value)
            for name, value in self.plan.headers
            if not name.lower().startswith("content-")
        )
        return Upload(
            path=self.target.request_target,
            method="GET",
            connection=connection,
            headers=self._headers() + kept,
        )

    def _check(self, answer: Answer) -> None:
        if not answer.delivered:
            unanswered = next(row for row in _UNANSWERED if row.fits(answer))
            seconds = f"{self.plan.timeout_seconds:g} s"
            raise NotTestedError(
                unanswered.reason,
                unanswered.message.format(seconds=seconds, malformed=answer.malformed),
            )
        self._check_moved(answer)
        proxy = whose_words(answer) if answer.status in _GATEWAY else None
        # Without a name, a 503 may be the application's own.
        if proxy is not None or answer.status in (502, 504):
            raise NotTestedError(
                "gateway",
                f"a request without a body was answered {answer.status} by {proxy or 'a proxy'}: "
                "the application behind it does not answer at all; start it, or look at the "
                "proxy's error log",
            )
        if answer.status == 400 and b"HTTPS port" in answer.body:
            raise NotTestedError("tls", "the server speaks TLS on this port; try https://")

    def _check_moved(self, answer: Answer) -> None:
        """Refuse an endpoint that is elsewhere; a login page elsewhere is an answer to measure."""
        location = answer.header("location") or ""
        elsewhere = self.target.elsewhere(location)
        if elsewhere is None:
            return
        if answer.status in _MOVED or (
            answer.status in _FOUND and self.target.differs_in_scheme_only(location)
        ):
            raise NotTestedError(
                "redirect",
                f"the server redirects elsewhere ({answer.status}); probe {elsewhere} instead",
            )

    def _unreachable(self, error: OSError) -> NotTestedError:
        where = clean(self.target.origin, 100)
        if isinstance(error, ssl.SSLCertVerificationError):
            return NotTestedError(
                "tls",
                f"the certificate of {where} was not accepted: {clean(error.verify_message, 100)}; "
                "use the name that it was made for, or --insecure if you trust this server anyway",
            )
        if isinstance(error, ssl.SSLEOFError):
            return NotTestedError(
                "tls", f"{where} closed the connection in the TLS handshake; look at its log"
            )
        if isinstance(error, ssl.SSLError):
            reason = (error.reason or "no reason given").replace("_", " ").lower()
            cure = "check its protocol versions and ciphers"
            if "wrong version" in reason or "record layer" in reason or "packet length" in reason:
                cure = "the port does not seem to speak TLS: try http://"
            return NotTestedError("tls", f"no TLS with {where} ({clean(reason, 60)}); {cure}")
        if isinstance(error, TimeoutError):
            return NotTestedError(
                "connect",
                f"no connection to {where} in time; check host, port and firewall, or give it "
                "longer with --timeout",
            )
        reason = clean((error.strerror or type(error).__name__).lower(), 60)
        return NotTestedError(
            "connect", f"no connection to {where}: {reason}; start the server, or check the port"
        )


def _closes(answer: Answer) -> bool:
    """Whether the answer says that the connection ends with it (RFC 9112 section 9.3)."""
    said = (answer.header("connection") or "").lower()
    return "close" in said or (answer.version == "1.0" and "keep-alive" not in said)


def _ended(ended: Ended) -> End:
    return "client" if ended == "open" else ended


@dataclass(frozen=True, slots=True)
class _Unanswered:
    """Why a request without a body has no whole answer.

    Attributes:
        fits: Whether an answer is of this kind.
        reason: A word for programs.
        message: What there is to say; ``{seconds}`` is the longest wait, ``{malformed}`` the rule
            that was broken.
    """

    fits: Callable[[Answer], bool]
    reason: str
    message: str


# The first row that fits counts, and the last one always does.
_UNANSWERED = (
    _Unanswered(
        lambda answer: answer.malformed == NOT_HTTP,
        "not-http",
        "what came back is not HTTP/1; check that the port is the web server's, and whether it "
        "wants https://",
    ),
    _Unanswered(
        lambda answer: answer.malformed is not None,
        "malformed",
        "the answer to a request without a body breaks the rules of HTTP ({malformed}); mend what "
        "wrote it: the server, a proxy or the application",
    ),
    _Unanswered(
        lambda answer: answer.ended == "tls-alert",
        "tls",
        "the server ended the connection with a TLS alert; if it asks for a client certificate, "
        "probe the application server behind it",
    ),
    _Unanswered(
        lambda answer: answer.ended == "timeout" and answer.noticed_seconds is not None,
        "slow",
        "an answer to a request without a body began but was not over after {seconds}; give it "
        "longer with --timeout, or find out why the server is so slow",
    ),
    _Unanswered(
        lambda answer: answer.ended == "timeout",
        "silent",
        "no answer in {seconds}, not even to a request without a body; check that the server's "
        "workers are alive, or give it longer with --timeout",
    ),
    _Unanswered(
        lambda answer: (answer.error or "").startswith("response of more"),
        "not-http",
        "the answer to a request without a body does not end; probe the path that takes uploads",
    ),
    _Unanswered(
        lambda answer: True,
        "closed",
        "the server closed the connection without a whole answer, even to a request without a "
        "body; look at its log, and check the port and whether it wants https://",
    ),
)
