"""The way to the target: connections, and what each request on them has in common.

Rule: what is secret of the target goes out here, and nowhere into a message.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Literal

from drainkit_clients import Connection, Upload

from ._plan import Plan, Way
from ._target import NotTestedError, Target, clean
from ._version import VERSION

if TYPE_CHECKING:
    from drainkit_clients.http2 import Http2Connection

_CONNECT_SECONDS = 10.0


def no_http2() -> NotTestedError:
    """Return what there is to say of a server that does not choose HTTP/2."""
    return NotTestedError(
        "http2",
        "the server does not choose HTTP/2 when it is offered (ALPN); configure it there, or leave "
        "http2 out of --ways",
    )


class Dial:
    """Makes connections to one target, and requests for them."""

    def __init__(self, target: Target, plan: Plan, insecure: bool) -> None:
        self._target = target
        self._plan = plan
        self._insecure = insecure

    def connect(self, address: str, way: Way) -> Connection | Http2Connection:
        """Connect.

        Args:
            address: The IP address.
            way: How uploads go out there, which decides about the version of HTTP.

        Raises:
            NotTestedError: HTTP/2 is not what the server chooses.
            OSError: There is nobody to talk to.
        """
        context = self._target.ssl_context(self._insecure, http2=way.http == "2")
        to = (address, self._target.port)
        if way.http == "2":
            # An import of its own: h2 is there for those who ask for it.
            from drainkit_clients.http2 import Http2Connection, NoHttp2Error

            assert context is not None  # Run.look() refuses it without TLS
            try:
                return Http2Connection(
                    to,
                    ssl_context=context,
                    connect_timeout_seconds=self._connect_seconds,
                    server_name=self._target.host,
                )
            except NoHttp2Error:
                raise no_http2() from None
        return Connection(
            to,
            ssl_context=context,
            connect_timeout_seconds=self._connect_seconds,
            server_name=self._target.host,
        )

    @property
    def _connect_seconds(self) -> float:
        return min(_CONNECT_SECONDS, self._plan.timeout_seconds)

    def offers_http2(self, address: str) -> bool:
        """Shake hands once, and see whether the server chooses HTTP/2, as it may over TLS."""
        context = self._target.ssl_context(self._insecure, http2=True)
        if context is None:
            return False
        to = (address, self._target.port)
        try:
            with (
                socket.create_connection(to, timeout=self._connect_seconds) as plain,
                context.wrap_socket(plain, server_hostname=self._target.host) as secured,
            ):
                return secured.selected_alpn_protocol() == "h2"
        except OSError:
            return False

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return the headers that the target asks for; those of the plan come behind them."""
        own = {
            "host": ("Host", self._target.host_header),
            "user-agent": ("User-Agent", f"drainkit-probe/{VERSION}"),
            "accept": ("Accept", "*/*"),
        }
        if self._target.credentials is not None:
            own["authorization"] = ("Authorization", self._target.credentials)
        for name, _ in self._plan.headers:
            own.pop(name.lower(), None)
        return tuple(own.values())

    def bodiless(self, connection: Literal["keep-alive", "close"]) -> Upload:
        """Return a request without a body.

        Args:
            connection: What the Connection header says.
        """
        kept = tuple(
            (name, value)
            for name, value in self._plan.headers
            if not name.lower().startswith("content-")
        )
        return Upload(
            path=self._target.request_target,
            method="GET",
            connection=connection,
            headers=self.headers() + kept,
        )

    def unreachable(self, error: OSError) -> NotTestedError:
        """Return what there is to say of a connection that could not be made."""
        where = clean(self._target.origin, 100)
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
