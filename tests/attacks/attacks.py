"""The attacks, as data: what is sent, and how it must end on a server that can be bounded.

Each is one connection; `Attack.behind` others may have taken drainkit's capacity before.
"""

from dataclasses import dataclass

from tests.attacks.wire import HalfClose, Leave, Pause, Send, Step

KIB = 1024
MIB = 1024 * KIB
TIB = 1024 * 1024 * MIB

# Small, so that the suite is quick; what is shown is that the bounds hold, whatever they are.
POLICY: dict[str, float] = {
    "max_bytes": 8 * MIB,
    "max_seconds": 2.0,
    "idle_seconds": 1.2,
    "min_bytes_per_second": 240,
    "grace_seconds": 1.5,
    "max_concurrent": 16,
}
MAX_BYTES = 8 * MIB

# A server takes a moment to let go; and so much do its socket, its parser and drainkit's last read
# hold behind max_bytes (tcp_rmem of Linux is 6 MiB on most machines, 32 MiB on some).
SLACK_SECONDS = 1.0
HELD_SECONDS = POLICY["max_seconds"] + SLACK_SECONDS
ONE_READ_BYTES = 512 * KIB  # granian hands over its whole buffer, 417,792 bytes, at once

# 64 bytes each: what is left behind a limit of 64 KiB and so on begins with a request.
SMUGGLED = b"GET /200?smuggled HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20 + b"\r\n\r\n"
_REQUESTS = SMUGGLED * 1024
_BLOCK = b"x" * 64 * KIB
_CHUNK = b"10000\r\n" + _BLOCK + b"\r\n"
_CHUNK_OF_REQUESTS = b"10000\r\n" + _REQUESTS + b"\r\n"
_SECOND = b"GET /200?second HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
EXPECT = "Expect: 100-continue"

CHUNKED = "Transfer-Encoding: chunked"

_SILENT = frozenset({"IDLE"})
# Whether it is silent or slow is seen where the bytes come: in messages, or on the connection.
_SLOW = frozenset({"IDLE", "TOO_SLOW"})
_TIMED = frozenset({"TIME_LIMIT"})
# A server may cancel the application of a client that has left, and its drain.
_LEFT = frozenset({"DISCONNECTED", "ERROR"})
_CUT = frozenset({"BYTE_LIMIT"})
_WHOLE = frozenset({"COMPLETE"})
_FULL = frozenset({"AT_CAPACITY"})
_UNINVITED = frozenset({"EXPECT_PENDING"})
_REFUSED = frozenset({"ERROR", "DISCONNECTED"})
# What a parser makes of it decides whether it is refused, or read until a bound.
_ANY_BOUND = frozenset({"TIME_LIMIT", "IDLE", "TOO_SLOW", "BYTE_LIMIT"})


def length(nbytes: int) -> str:
    """Return a Content-Length field."""
    return f"Content-Length: {nbytes}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Attack:
    """One attack.

    Attributes:
        name: What the tests and the tables call it.
        what: What it does, in words.
        fields: The header fields beside Host.
        steps: What comes behind the headers.
        outcomes: How its drain may end; "" stands for no drain, as the server has refused the
            request or the client left before it was read.
        method: How it asks; drainkit's reports tell two attacks on one page from each other by it.
        path: What it asks for; by default a page that does not exist, whose name tells the attacks
            from each other in drainkit's reports.
        reads: Whether it reads what is sent to it.
        answers: Final responses that it may get at the most; what the server has to say of a
            malformed body (400) is not one.
        behind: Silent uploads that have taken places of ``max_concurrent`` before.
        alone: Whether it is to be measured with no other attack beside it.
        is_flood: Whether its bytes are body bytes, as fast as the server takes them.
    """

    name: str
    what: str
    fields: tuple[str, ...]
    steps: tuple[Step, ...]
    outcomes: frozenset[str]
    method: str = "POST"
    path: str = ""
    reads: bool = True
    answers: int = 1
    behind: int = 0
    alone: bool = False
    is_flood: bool = False

    @property
    def request(self) -> tuple[str, str]:
        """What tells it from the others: method and path."""
        return (self.method, self.asked_path)

    @property
    def is_chunked(self) -> bool:
        """Whether its body is chunked."""
        return CHUNKED in self.fields

    @property
    def asked_path(self) -> str:
        """The path in the request."""
        return self.path or f"/attack/{self.name}"

    @property
    def script(self) -> tuple[Step, ...]:
        """All of it, the headers included."""
        lines = (f"{self.method} {self.asked_path} HTTP/1.1", "Host: a", *self.fields, "", "")
        return (Send("\r\n".join(lines).encode()), *self.steps)


ATTACKS: dict[str, Attack] = {
    attack.name: attack
    for attack in (
        # --- slow ------------------------------------------------------------------------------
        Attack(
            name="drip-length",
            what="one byte a second, Content-Length",
            fields=(length(MIB),),
            steps=(Send(b"x", None, 1.0),),
            outcomes=_SLOW,
        ),
        Attack(
            name="drip-chunked",
            what="a chunk of one byte a second",
            fields=(CHUNKED,),
            steps=(Send(b"1\r\nx\r\n", None, 1.0),),
            outcomes=_SLOW,
        ),
        Attack(
            name="steady-length",
            what="2,000 bytes a second, which is above the minimum, Content-Length",
            fields=(length(MIB),),
            steps=(Send(b"x" * 200, None, 0.1),),
            outcomes=_TIMED,
        ),
        Attack(
            name="steady-chunked",
            what="2,000 bytes a second, which is above the minimum, chunked",
            fields=(CHUNKED,),
            steps=(Send(b"c8\r\n" + b"x" * 200 + b"\r\n", None, 0.1),),
            outcomes=_TIMED,
        ),
        Attack(
            name="drip-extension",
            what="a chunk extension without end, 50 bytes at a time",
            fields=(CHUNKED,),
            steps=(Send(b"1;"), Send(b"x" * 200, None, 0.1)),
            outcomes=_SLOW | _REFUSED,
        ),
        # --- silent ----------------------------------------------------------------------------
        Attack(
            name="silent-length",
            what="nothing behind the headers, Content-Length",
            fields=(length(MIB),),
            steps=(),
            outcomes=_SILENT,
        ),
        Attack(
            name="silent-chunked",
            what="nothing behind the headers, chunked",
            fields=(CHUNKED,),
            steps=(),
            outcomes=_SILENT,
        ),
        Attack(
            name="half-length",
            what="nothing behind half of the body, Content-Length",
            fields=(length(MIB),),
            steps=(Send(_BLOCK, 8),),
            outcomes=_SILENT,
        ),
        Attack(
            name="half-chunked",
            what="nothing behind half of a chunk",
            fields=(CHUNKED,),
            steps=(Send(_CHUNK, 8), Send(b"10000\r\n" + b"x" * 1000)),
            outcomes=_SILENT,
        ),
        Attack(
            name="half-read",
            what="nothing behind half of a body that the application has begun to read",
            fields=(length(MIB),),
            steps=(Send(_BLOCK, 8),),
            path="/422",
            outcomes=_SILENT,
        ),
        Attack(
            name="silent-raise",
            what="nothing behind the headers, to an application that raises",
            fields=(length(MIB),),
            steps=(),
            path="/raise",
            outcomes=_SILENT,
        ),
        Attack(
            name="silent-stream",
            what="nothing behind the headers, while a page of 4 MB is streamed",
            fields=(length(MIB),),
            steps=(),
            path="/page-stream",
            outcomes=_SLOW,
        ),
        Attack(
            name="huge-silent",
            what="Content-Length of 10 TiB and nothing sent",
            fields=(length(10 * TIB),),
            steps=(),
            outcomes=_SILENT | _CUT,
        ),
        # --- large -----------------------------------------------------------------------------
        Attack(
            name="huge-flood",
            what="Content-Length of 10 TiB at full speed",
            fields=(length(10 * TIB),),
            steps=(Send(_BLOCK, None),),
            outcomes=_CUT,
            is_flood=True,
            alone=True,
        ),
        Attack(
            name="endless",
            what="chunks without end at full speed",
            fields=(CHUNKED,),
            steps=(Send(_CHUNK, None),),
            outcomes=_CUT,
            is_flood=True,
            alone=True,
        ),
        Attack(
            name="tiny-chunks",
            what="chunks of one byte at full speed",
            fields=(CHUNKED,),
            steps=(Send(b"1\r\nx\r\n" * 8192, None),),
            outcomes=_ANY_BOUND | _REFUSED,
            alone=True,
        ),
        Attack(
            name="extensions",
            what="chunks of one byte with 16 KB of extension (CVE-2023-39326)",
            fields=(CHUNKED,),
            steps=(Send(b"1;" + b"x" * 16_000 + b"\r\ny\r\n", None),),
            outcomes=_ANY_BOUND | _REFUSED,
            alone=True,
        ),
        Attack(
            name="trailers",
            what="trailers without end at full speed",
            fields=(CHUNKED,),
            steps=(Send(b"0\r\n"), Send(b"X-Y: z\r\n" * 1024, None)),
            outcomes=_ANY_BOUND | _REFUSED | _WHOLE | {""},
            alone=True,
        ),
        Attack(
            name="drip-trailers",
            what="trailers without end, one at a time",
            fields=(CHUNKED,),
            steps=(Send(b"0\r\n"), Send(b"X-Y: z\r\n", None, 0.1)),
            outcomes=_ANY_BOUND | _REFUSED | _WHOLE,
        ),
        # --- framing that contradicts itself ---------------------------------------------------
        Attack(
            name="length-and-chunked",
            what="Content-Length and Transfer-Encoding together",
            fields=(length(5), CHUNKED),
            steps=(Send(b"0\r\n\r\n" + _SECOND),),
            outcomes=_WHOLE | {""},
            answers=2,
        ),
        Attack(
            name="length-twice",
            what="Content-Length twice, the same",
            fields=(length(len(_REQUESTS)), length(len(_REQUESTS)), "Connection: close"),
            steps=(Send(_REQUESTS),),
            outcomes=_WHOLE | {"", "UNFRAMED"},
        ),
        Attack(
            name="lengths-differ",
            what="Content-Length twice, different",
            fields=(length(0), length(len(_REQUESTS)), "Connection: close"),
            steps=(Send(_REQUESTS),),
            outcomes=_WHOLE | {"", "UNFRAMED"},
        ),
        # --- leaving ---------------------------------------------------------------------------
        *(
            Attack(
                name=f"{how}-{name}",
                what=f"{words} {when}",
                fields=(length(MIB),),
                steps=(*before, Leave("fin" if how == "fin" else "reset")),
                outcomes=outcomes,
            )
            for how, words in (("fin", "FIN"), ("reset", "RST"))
            for name, when, before, outcomes in (
                ("before", "behind the headers", (), _LEFT | {""}),
                ("during", "behind half of the body", (Send(_BLOCK, 8), Pause(0.3)), _LEFT),
                ("end", "behind the last byte", (Send(_BLOCK, 16),), _LEFT | _WHOLE | {""}),
            )
        ),
        Attack(
            name="shut-before",
            what="half-close behind the headers",
            fields=(length(MIB),),
            steps=(HalfClose(),),
            outcomes=_LEFT | {""},
        ),
        Attack(
            name="shut-during",
            what="half-close behind half of the body",
            fields=(length(MIB),),
            steps=(Send(_BLOCK, 8), Pause(0.3), HalfClose()),
            outcomes=_LEFT,
        ),
        Attack(
            name="shut-end",
            what="half-close behind the last byte",
            fields=(length(MIB),),
            steps=(Send(_BLOCK, 16), HalfClose()),
            outcomes=_WHOLE | _LEFT,
        ),
        # --- smuggling -------------------------------------------------------------------------
        Attack(
            name="pipeline-complete",
            what="a second request behind a complete body",
            fields=(length(64 * KIB),),
            steps=(Send(_BLOCK + _SECOND),),
            outcomes=_WHOLE,
            answers=2,
        ),
        Attack(
            name="pipeline-incomplete",
            what="a second request behind half of the body",
            fields=(length(MIB),),
            steps=(Send(_BLOCK, 8), Send(SMUGGLED)),
            outcomes=_SILENT,
        ),
        Attack(
            name="hidden-whole",
            what="requests as the body",
            fields=(length(16 * len(_REQUESTS)), "Connection: close"),
            steps=(Send(_REQUESTS, 16),),
            outcomes=_WHOLE,
        ),
        Attack(
            name="hidden-length",
            what="requests as the body, beyond max_bytes, Content-Length",
            fields=(length(64 * MIB),),
            steps=(Send(_REQUESTS, 1024),),
            outcomes=_CUT,
            is_flood=True,
            alone=True,
        ),
        Attack(
            name="hidden-chunked",
            what="requests as the body, beyond max_bytes, chunked",
            fields=(CHUNKED,),
            steps=(Send(_CHUNK_OF_REQUESTS, 1024),),
            outcomes=_CUT,
            is_flood=True,
            alone=True,
        ),
        Attack(
            name="hidden-late",
            what="silence until the drain has ended, then requests as the body",
            fields=(length(MIB),),
            steps=(Pause(2.2), Send(SMUGGLED, None, 0.02)),
            outcomes=_SILENT,
        ),
        Attack(
            name="hidden-expected",
            what="Expect: 100-continue, then requests instead of the body",
            fields=(EXPECT, length(MIB)),
            steps=(Pause(0.3), Send(SMUGGLED, None, 0.02)),
            outcomes=_TIMED | _UNINVITED | _LEFT,
        ),
        # --- invitations -----------------------------------------------------------------------
        Attack(
            name="expect-silent",
            what="Expect: 100-continue and nothing sent",
            fields=(EXPECT, length(MIB)),
            steps=(),
            outcomes=_SILENT | _UNINVITED,
        ),
        Attack(
            name="expect-sent",
            what="Expect: 100-continue and the body at once",
            fields=(EXPECT, length(64 * KIB), "Connection: close"),
            steps=(Send(_BLOCK),),
            outcomes=_WHOLE | _UNINVITED,
        ),
        # --- capacity --------------------------------------------------------------------------
        Attack(
            name="capacity-silent",
            what="one drain more than max_concurrent, silent",
            fields=(length(MIB),),
            steps=(),
            outcomes=_FULL,
            behind=16,
            alone=True,
        ),
        Attack(
            name="capacity-drip",
            what="one drain more than max_concurrent, 2,000 bytes a second",
            fields=(length(MIB),),
            steps=(Send(b"x" * 200, None, 0.1),),
            outcomes=_FULL,
            behind=16,
            alone=True,
        ),
        Attack(
            name="capacity-hidden",
            what="one drain more than max_concurrent, requests as the body",
            fields=(length(64 * MIB),),
            steps=(Pause(0.2), Send(_REQUESTS, 1024)),
            outcomes=_FULL,
            behind=16,
            alone=True,
        ),
        # --- not reading -----------------------------------------------------------------------
        Attack(
            name="unread-complete",
            what="a complete body, and a page of 4 MB that is not read",
            fields=(length(64 * KIB),),
            steps=(Send(_BLOCK),),
            path="/page",
            outcomes=_WHOLE,
            reads=False,
        ),
        Attack(
            name="unread-silent",
            what="nothing behind the headers, and a page of 4 MB that is not read",
            fields=(length(MIB),),
            steps=(),
            method="PUT",
            path="/page",
            outcomes=_SILENT,
            reads=False,
        ),
        Attack(
            name="unread-stream",
            what="nothing behind the headers, and a streamed page of 4 MB that is not read",
            fields=(length(MIB),),
            steps=(),
            method="PUT",
            path="/page-stream",
            outcomes=_SLOW | _LEFT,
            reads=False,
        ),
        Attack(
            name="unread-flood",
            what="chunks without end at full speed, and a page of 4 MB that is not read",
            fields=(CHUNKED,),
            steps=(Send(_CHUNK, None),),
            method="PATCH",
            path="/page",
            outcomes=_CUT,
            reads=False,
            is_flood=True,
        ),
    )
}
