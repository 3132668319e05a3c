"""The conformance kit judges as it says, and its two applications give the answers of its cases."""

import asyncio
import dataclasses
import re
from wsgiref.validate import validator

import pytest

from drainkit.testing import ScriptedBody
from drainkit_clients import Answer, Upload
from drainkit_conformance import (
    CASES,
    Case,
    asgi_application,
    body_pieces,
    judge,
    wsgi_application,
)

NOBODY = ("127.0.0.1", 1)
CASE = Case(
    row="mine", name="mine", upload=Upload(path="/413", size_bytes=10), status=413, body=b"no"
)


def answer(status, body, error=None):
    return Answer(
        status=status,
        headers=(),
        body=body,
        complete=error is None,
        sent_bytes=7,
        error=error,
        first_byte_seconds=0.5,
        sent_at_first_byte_bytes=3,
        seconds=1.5,
        ended="open",
    )


RIGHT = answer(413, b"no")


def from_wsgi(case):
    """Upload a case to the WSGI application as a server that loses nothing."""
    started = []
    body = ScriptedBody(
        [case.upload.slice(at, 65536) for at in range(0, case.upload.size_bytes, 65536)]
    )
    environ = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": case.upload.path,
        "QUERY_STRING": "",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": body,
        "wsgi.errors": Errors(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if case.upload.framing == "length":
        environ["CONTENT_LENGTH"] = str(case.upload.size_bytes)
    else:
        environ["wsgi.input_terminated"] = True

    def start_response(status, headers, exc_info=None):
        started.append(int(status[:3]))
        return lambda data: None

    try:
        result = validator(wsgi_application())(environ, start_response)
        text = b"".join(result)
        result.close()
    except RuntimeError:
        return answer(500, b"")
    return answer(started[-1], text)


class Errors:
    """What ``wsgi.errors`` must be able to do."""

    def write(self, text):
        pass

    def writelines(self, lines):
        pass

    def flush(self):
        pass


def from_asgi(case):
    """Upload a case to the ASGI application as a server that loses nothing."""
    sent = []
    body = ScriptedBody(
        [case.upload.slice(at, 65536) for at in range(0, case.upload.size_bytes, 65536)]
    )

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": case.upload.path, "query_string": b""}
    try:
        asyncio.run(asgi_application()(scope, body.receive, send))
    except RuntimeError:
        return answer(500, b"")
    assert not sent[-1]["more_body"]
    return answer(sent[0]["status"], b"".join(message["body"] for message in sent[1:]))


@pytest.mark.parametrize("upload", [from_wsgi, from_asgi])
@pytest.mark.parametrize("name", CASES)
def test_an_application_that_loses_nothing_has_the_right_answer_to_each_case(name, upload):
    assert CASES[name].problem(upload(CASES[name])) is None


@pytest.mark.parametrize("upload", [from_wsgi, from_asgi])
@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/ready", 200, b"ready"),
        ("/413-nolength", 413, b"too large\n"),
        ("/nowhere", 404, b"no such path"),
    ],
)
def test_the_other_paths_answer_too(path, status, body, upload):
    case = dataclasses.replace(CASE, upload=Upload(path=path, size_bytes=10))
    seen = upload(case)

    assert (status, body) == (seen.status, seen.body)


def test_a_body_of_known_length_is_read_to_that_and_not_past_it():
    body = ScriptedBody([b"x" * 100_000, b"the next request"])
    environ = {"wsgi.input": body, "CONTENT_LENGTH": "100000"}

    assert 100_000 == sum(map(len, body_pieces(environ)))
    assert 100_000 == body.given_bytes


def test_the_asgi_application_takes_part_in_the_lifespan():
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent = []

    async def receive():
        return next(messages)

    async def send(message):
        sent.append(message["type"])

    asyncio.run(asgi_application()({"type": "lifespan"}, receive, send))

    assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == sent


@pytest.mark.parametrize(
    ("seen", "problem"),
    [
        (RIGHT, None),
        (answer(None, b"", "BrokenPipeError"), "lost: BrokenPipeError"),
        (answer(413, b"n", "reset"), "lost: reset"),
        (answer(200, b"no"), "status 200 instead of 413"),
        (answer(413, b"yes"), "b'yes' instead of b'no'"),
        (
            answer(413, b"y" * 100),
            "100 bytes (b'yyyyyyyyyyyyyyyyyyyy'...) instead of b'no'",
        ),
    ],
)
def test_a_case_tells_what_is_wrong_with_an_answer(seen, problem):
    assert problem == CASE.problem(seen)


def test_a_verdict_counts_the_tries_and_what_was_seen_instead():
    lost = answer(None, b"", "reset")
    scripted = iter([RIGHT, lost, answer(502, b""), lost])
    asked = []

    def client(address, upload, *, timeout_seconds, ssl_context=None):
        asked.append((address, upload, timeout_seconds, ssl_context))
        return next(scripted)

    verdict = judge(CASE, NOBODY, client=client, tries=4, timeout_seconds=3.0)

    assert [(NOBODY, CASE.upload, 3.0, None)] * 4 == asked
    assert (1, False) == (verdict.delivered, verdict.passed)
    assert {"lost: reset": 2, "status 502 instead of 413": 1} == verdict.problems
    assert "mine: 1 of 4 delivered; 2 x lost: reset; 1 x status 502 instead of 413" == str(verdict)
    assert (0.5, 1.5, 7) == (
        verdict.tries[0].first_byte_seconds,
        verdict.tries[0].seconds,
        verdict.tries[0].sent_bytes,
    )


@pytest.mark.parametrize("client", ["strict", "eager"])
def test_a_server_that_is_not_there_is_a_loss_and_no_exception(client):
    verdict = judge(dataclasses.replace(CASE, client=client), NOBODY, tries=2)

    assert (0, 2) == (verdict.delivered, len(verdict.tries))
    assert all(problem.startswith("lost: ConnectionRefused") for problem in verdict.problems)


def test_no_tries_are_no_verdict():
    with pytest.raises(ValueError, match="tries must be an integer of 1 or more; got 0"):
        judge(CASE, NOBODY, tries=0)


@pytest.mark.parametrize(
    ("fields", "arguments", "told"),
    [
        ({"status": "501"}, {}, "status must be an integer of 200 or more, such as 413; got '501'"),
        ({"body": "abc"}, {}, "body must be bytes, or None for any; got 'abc': write b'abc'"),
        ({"client": "lazy"}, {}, "client must be one of strict, eager; got 'lazy'"),
        ({"upload": Upload(path="late")}, {}, "path must be a text that begins with '/'; got 'la"),
        ({"upload": Upload(path=b"/late")}, {}, "path must be a text that begins with '/'; got b'"),
        ({"upload": "/late"}, {}, "upload must be a drainkit_clients.Upload; got '/late'"),
        ({}, {"tries": "1"}, "tries must be an integer of 1 or more; got '1'"),
        ({}, {"tries": True}, "tries must be an integer of 1 or more; got True"),
        ({}, {"timeout_seconds": "1"}, "timeout_seconds must be a finite number above 0; got '1'"),
        ({}, {"timeout_seconds": 0}, "timeout_seconds must be a finite number above 0; got 0"),
        ({}, {"address": "127.0.0.1:8000"}, "address must be a host and a port, such as"),
        ({}, {"client": "curl"}, "client must be a function such as drainkit_clients.strict"),
    ],
)
def test_what_would_mislead_is_refused(fields, arguments, told):
    """A status that is a text was "status 501 instead of 501", and a path of bytes was sent."""
    case = dataclasses.replace(CASE, **fields)
    with pytest.raises((TypeError, ValueError), match=re.escape(told)):
        judge(case, **{"address": NOBODY, "tries": 1, **arguments})


def test_what_is_no_case_is_refused():
    with pytest.raises(TypeError, match="case must be a Case, such as one of CASES; got '/late'"):
        judge("/late", NOBODY)
