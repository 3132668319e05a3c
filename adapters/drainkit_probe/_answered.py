"""Whether the target can be tested at all: what a request without a body has to find.

Rule: each message names the cure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from drainkit_clients import NOT_HTTP, Answer

from ._plan import Plan
from ._stacks import whose_words
from ._target import NotTestedError, Target

# These move the endpoint; 302 and 303 may be the login page, which is an answer like any other.
_MOVED = frozenset({301, 307, 308})
_FOUND = frozenset({302, 303})
_GATEWAY = frozenset({502, 503, 504})


def check_answered(target: Target, plan: Plan, answer: Answer) -> None:
    """Refuse a target that does not even answer a request without a body.

    Raises:
        NotTestedError: It has no whole answer, or one of somebody else.
    """
    if not answer.delivered:
        unanswered = next(row for row in _UNANSWERED if row.fits(answer))
        seconds = f"{plan.timeout_seconds:g} s"
        raise NotTestedError(
            unanswered.reason,
            unanswered.message.format(seconds=seconds, malformed=answer.malformed),
        )
    check_moved(target, answer)
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


def check_moved(target: Target, answer: Answer) -> None:
    """Refuse an endpoint that is elsewhere; a login page elsewhere is an answer to measure.

    Raises:
        NotTestedError: The answer says where it is.
    """
    location = answer.header("location") or ""
    elsewhere = target.elsewhere(location)
    if elsewhere is None:
        return
    if answer.status in _MOVED or (
        answer.status in _FOUND and target.differs_in_scheme_only(location)
    ):
        raise NotTestedError(
            "redirect",
            f"the server redirects elsewhere ({answer.status}); probe {elsewhere} instead",
        )


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
