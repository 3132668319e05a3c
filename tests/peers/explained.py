"""Tests that pass without drainkit and not with it, and why that is no fault of drainkit's.

Rule: a row whose reason is gone fails the session, as a difference without a row does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.peers.inside.peers_inside.setting import OUTERMOST, Place


@dataclass(frozen=True, kw_only=True, slots=True)
class Explained:
    """One difference that is meant.

    Attributes:
        suite: The name of the suite.
        test: The id of a test, or a pattern of `fnmatch` for several.
        places: Where drainkit stands when they differ.
        with_body: Whether requests are given bodies when they differ; ``None`` for both.
        reason: A sentence.
        is_race: Whether they differ in some runs only. Such a test is run again alone, several
            times, before its row counts as out of date.
    """

    suite: str
    test: str
    places: frozenset[Place]
    with_body: bool | None = None
    reason: str
    is_race: bool = False

    def is_about(self, suite: str, place: Place, with_body: bool) -> bool:
        """Tell whether it is about a run."""
        return suite == self.suite and place in self.places and self.with_body in (None, with_body)

    def matches(self, test: str) -> bool:
        """Tell whether it is about a test."""
        # Brackets stand for themselves: pytest puts parameters in them.
        return test == self.test or fnmatchcase(test, self.test.replace("[", "[[]"))


_ORDER_OF_TEST_CLIENT = (
    "Starlette's test client takes an answer for unfinished, and cancels the application, until "
    "its last message; in this order that comes behind the body, although all of the bytes are "
    "there. uvicorn, which has this order, cancels nothing."
)
_READ_AFTER = (
    "These read the body when their client has the whole answer. Behind its answer a body is "
    "discarded; drainkit leaves one in memory alone, but wsgiref.validate, which is around it "
    "here, hides that it is one."
)
_HANDLER_RETURNS = (
    "These call Django's WSGI handler and take what it returns for Django's own response. Around "
    "the handler is what PEP 3333 describes: something to iterate over, and to close."
)
_BETWEEN = frozenset({Place.OUTERMOST_BETWEEN})

TABLE: Sequence[Explained] = (
    Explained(
        suite="flask",
        test="tests/test_basic.py::test_app_freed_on_zero_refcount",
        places=frozenset({Place.INIT_APP}),
        reason="An application whose wsgi_app is wrapped, as Flask's documentation shows, holds "
        "itself: the wrapper has its method. The garbage collector frees it.",
    ),
    Explained(
        suite="starlette",
        test="tests/test_testclient.py::test_closing_completed_response_waits_for_background_task*",
        places=_BETWEEN,
        with_body=True,
        reason=_ORDER_OF_TEST_CLIENT,
        is_race=True,
    ),
    Explained(
        suite="starlette",
        test="tests/test_testclient.py"
        "::test_closing_response_inside_unrelated_except_waits_for_background_task*",
        places=_BETWEEN,
        with_body=True,
        reason=_ORDER_OF_TEST_CLIENT,
        is_race=True,
    ),
    Explained(
        suite="starlette",
        test="tests/test_testclient.py::test_closing_completed_trailers_waits_for_application*",
        places=OUTERMOST,
        with_body=True,
        reason="Trailers are the end of an answer and wait for the body, but the application does "
        "not: its send() of them returns before. This test looks for them then, and not when the "
        "answer has ended.",
        is_race=True,
    ),
    Explained(
        suite="falcon",
        test="tests/test_hello.py::TestHelloWorld::test_stream_chunked",
        places=OUTERMOST,
        with_body=True,
        reason="What the application calls a stream is a list here, so its length is known: an "
        "early answer that is known as a whole is given the Content-Length that it lacks, by which "
        "a client sees its end although the body is still being discarded.",
    ),
    *(
        Explained(
            suite="falcon",
            test=f"tests/test_request_body.py::TestRequestBody::{test}",
            places=OUTERMOST,
            reason=_READ_AFTER,
        )
        for test in ("test_tiny_body*", "test_read_body")
    ),
    *(
        Explained(
            suite="django",
            test=test,
            places=frozenset({Place.OUTERMOST}),
            with_body=True,
            reason=_HANDLER_RETURNS,
        )
        for test in (
            "handlers.test_exception.ExceptionHandlerTests.test_data_upload_max_*",
            "handlers.tests.HandlerTests.test_bad_path_info",
            "handlers.tests.HandlerTests.test_invalid_multipart_boundary",
            "wsgi.tests.WSGITest.test_get_wsgi_application",
        )
    ),
    Explained(
        suite="django",
        test="handlers.tests.HandlerRequestTests.test_async_streaming",
        places=frozenset({Place.MIDDLEWARE}),
        with_body=True,
        reason="Django's warning about an asynchronous stream that is consumed synchronously names "
        "the file that iterates over it, which is drainkit's.",
    ),
)
