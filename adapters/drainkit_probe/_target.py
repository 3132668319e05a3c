"""Where a probe goes: the URL, what may be shown of it, and the address behind its name.

Rule: what may be secret (a password in the URL, its query, the value of a header) is sent to the
target and to nobody else. What is shown, written or raised comes from ``Target.shown``.
"""

from __future__ import annotations

import base64
import ipaddress
import re
import socket
import ssl
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

Family = Literal[4, 6]

_PORTS = {"http": 80, "https": 443}
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6, None: socket.AF_UNSPEC}
# RFC 9110 section 5.6.2: what the name of a header is made of.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# RFC 3986 section 3.1. Without the slashes "localhost:8000" would be of the scheme "localhost".
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\uffff]")

# The probe varies these itself: that is what it measures.
_OWN = {
    "connection": "the probe tries keep-alive and close itself; choose with --ways",
    "content-length": "the probe states the length of what it sends; choose with --sizes",
    "expect": "the probe tries it itself; choose it with --ways expect",
    "transfer-encoding": "the probe tries it itself; choose it with --ways chunked",
}


class BadTargetError(ValueError):
    """The URL or a header cannot be used; the message names it and the cure."""


class NotTestedError(Exception):
    """The target could not be tested.

    Attributes:
        reason: A word for programs: ``dns``, ``connect``, ``tls``, ``redirect``, ...
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint as the user named it.

    Attributes:
        scheme: ``"http"`` or ``"https"``.
        host: Its name or address, without brackets.
        port: Its port.
        path: The path, without the query.
        request_target: What the request line says, query included; never shown.
        credentials: The value of the Authorization header that the URL asks for; never shown.
    """

    scheme: str
    host: str
    port: int
    path: str
    request_target: str = field(repr=False)
    credentials: str | None = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> Target:
        """Return the target that a URL names.

        Args:
            url: The URL; without a scheme it is one of http, as with curl.

        Raises:
            BadTargetError: It cannot be used; the message does not repeat what may be secret.
        """
        if not _SCHEME.match(url):
            url = f"http://{url}"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise BadTargetError("the URL cannot be read; check its host and its port") from None
        if parts.scheme not in _PORTS:
            raise BadTargetError(
                "the URL must begin with http:// or https://, or with the host, as in "
                "http://127.0.0.1:8000/upload"
            )
        if not parts.hostname:
            raise BadTargetError("the URL names no host, as http://127.0.0.1:8000/upload does")
        return cls(
            scheme=parts.scheme,
            host=parts.hostname,
            port=_PORTS[parts.scheme] if port is None else port,
            path=parts.path or "/",
            request_target=_request_target(parts),
            credentials=_credentials(parts),
        )

    @property
    def origin(self) -> str:
        """Scheme, host and port, the port only where it is not the usual one."""
        return f"{self.scheme}://{self.host_header}"

    @property
    def host_header(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """The URL without its password and with its query left out."""
        query = "?..." if self.request_target != self.path else ""
        return clean(f"{self.origin}{self.path}{query}", 200)

    def resolve(self, family: Family | None) -> tuple[str, ...]:
        """Return the addresses of the host, in the order in which they are to be tried.

        Args:
            family: 4 or 6 for that protocol only, None for either.

        Raises:
            NotTestedError: There is none.
        """
        try:
            found = socket.getaddrinfo(
                self.host, self.port, _FAMILIES[family], socket.SOCK_STREAM, socket.IPPROTO_TCP
            )
        except (OSError, UnicodeError):
            only = f" for IPv{family}" if family else ""
            raise NotTestedError(
                "dns",
                f"no address{only} was found for the host {clean(self.host, 100)!r}; check its "
                "spelling and your resolver, or give the address itself in the URL",
            ) from None
        return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))

    def ssl_context(self, insecure: bool, *, http2: bool = False) -> ssl.SSLContext | None:
        """Return what TLS is spoken with; None without TLS.

        Args:
            insecure: Accept any certificate.
            http2: Offer HTTP/2, too, as browsers do.
        """
        if self.scheme == "http":
            return None
        context = ssl.create_default_context()
        # Without saying what the client speaks, some servers choose HTTP/2.
        context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
        if insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def elsewhere(self, location: str) -> str | None:
        """Return where a redirect leads, if that is another scheme, host or port, else None.

        Args:
            location: The value of the Location header.
        """
        if location.startswith("//"):
            location = f"{self.scheme}:{location}"
        if "://" not in location:
            return None
        try:
            other = Target.parse(location)
        except BadTargetError:
            return "an address that cannot be read"
        here = (self.scheme, self.host, self.port)
        return None if here == (other.scheme, other.host, other.port) else other.shown

    def differs_in_scheme_only(self, location: str) -> bool:
        """Whether an absolute URL is this one but for its scheme and port: http to https, mostly.

        Args:
            location: The value of the Location header.
        """
        try:
            other = Target.parse(location)
        except BadTargetError:
            return False
        return (other.host, other.path) == (self.host, self.path) and other.scheme != self.scheme


def _request_target(parts: SplitResult) -> str:
    path = parts.path or "/"
    request_target = f"{path}?{parts.query}" if parts.query else path
    if not request_target.isascii() or re.search(r"[\x00-\x20\x7f]", request_target):
        raise BadTargetError(
            "the URL's path or query holds a character that no URL may hold as it is; "
            "percent-encode it (a space is %20)"
        )
    return request_target


def _credentials(parts: SplitResult) -> str | None:
    if parts.username is None:
        return None
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    # What was typed in another encoding goes out as it was typed.
    return "Basic " + base64.b64encode(pair.encode("utf-8", "surrogateescape")).decode()


def is_loopback(address: str) -> bool:
    """Whether an IP address is this machine's own."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped.is_loopback
    return parsed.is_loopback


def parse_header(text: str) -> tuple[str, str]:
    """Return the name and the value of a header given as ``Name: value``.

    Raises:
        BadTargetError: If it cannot be sent; the message names the header, never its value.
    """
    name, colon, value = text.partition(":")
    name = name.strip()
    if not colon or not _NAME.fullmatch(name):
        raise BadTargetError("a header is given as 'Name: value', as in 'X-Api-Version: 2'")
    value = value.strip()
    check_header(name, value)
    return name, value


def check_header(name: str, value: str) -> None:
    """Refuse a header that cannot be sent, or that the probe sends itself.

    Raises:
        BadTargetError: The message names the header, never its value.
    """
    if not _NAME.fullmatch(name):
        raise BadTargetError(f"{name[:40]!r} is not the name of a header, as 'X-Api-Version' is")
    if (cure := _OWN.get(name.lower())) is not None:
        raise BadTargetError(f"the header {name} is the probe's own: {cure}")
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise BadTargetError(
            f"the value of the header {name} holds a character beyond Latin-1; encode it"
        ) from None
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
        raise BadTargetError(f"the value of the header {name} holds a control character")


def clean(text: str, most: int) -> str:
    """Return text from the network as it may be shown: printable, and not too long.

    Args:
        text: What the other side said.
        most: The characters to keep.
    """
    text = _PRINTABLE.sub("?", text)
    return text if len(text) <= most else text[: most - 3] + "..."
