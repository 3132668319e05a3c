"""What the application sees: when it is let go, what it has set, what it raises, what it reads.

It writes it down itself (``parity_parts.note``).
"""

import threading

import pytest

from drainkit_clients import Connection, Upload
from tests.parity.harness import Seen, new_run, notes_once, scenario
from tests.parity.peer import Peer
from tests.servers.harness import Running

pytestmark = pytest.mark.server

_UPLOAD_BYTES = 4_000_000


def _eager(server: Running, target: str, *, seconds: float) -> Peer:
    """Upload steadily for that long, and read meanwhile; the connection is closed then."""
    with Peer(server.address) as peer:
        peer.request(target, length=_UPLOAD_BYTES)
        peer.upload(_UPLOAD_BYTES, seconds=seconds)
        peer.wait_for_end()
        return peer


@scenario(
    "parity_starlette",
    right={"status": 413, "body": b"too large"},
    within={"behind": 0.3},
    requires=("starlette",),
)
@pytest.mark.parametrize("place", ["listening", "deaf", "base-inside", "base-outside"])
def test_a_background_task_runs_behind_an_early_answer_while_the_upload_goes_on(
    server: Running, place: str
) -> Seen:
    run = new_run()
    peer = _eager(server, f"/{place}/background?run={run}", seconds=1.0)
    seen = notes_once(server, run, lambda seen: "behind" in seen, 10.0)
    return Seen({"status": peer.status, "body": bytes(peer.body)}, {"behind": seen.get("behind")})


@scenario(
    "parity_starlette",
    right={"status": 413, "body": b"too large"},
    within={"answer": 0.3, "behind": 0.3},
    requires=("starlette",),
)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_long_background_task_does_not_delay_the_end_of_the_answer(
    server: Running, framing: str
) -> Seen:
    run = new_run()
    peer = _eager(server, f"/listening/background/{framing}?run={run}", seconds=0.5)
    seen = notes_once(server, run, lambda seen: "behind" in seen, 10.0)
    return Seen(
        {"status": peer.status, "body": bytes(peer.body)},
        {"answer": peer.whole_seconds, "behind": seen.get("behind")},
    )


@scenario(
    "parity_starlette",
    right={"answer": (413, b"too large"), "sent_bytes": _UPLOAD_BYTES},
    better=("answer", "sent_bytes"),
    within={"answer": 1.5},
    requires=("starlette",),
)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_long_background_task_does_not_delay_the_drain(server: Running, framing: str) -> Seen:
    """A strict client has its answer when it has sent everything, and not 3 s later."""
    run = new_run()
    upload = Upload(
        path=f"/listening/background/{framing}?run={run}",
        size_bytes=_UPLOAD_BYTES,
        piece_pause_seconds=0.005,
    )
    with Connection(server.address) as connection:
        answer = connection.strict(upload, timeout_seconds=10.0)
    return Seen(
        {"answer": (answer.status, answer.body), "sent_bytes": answer.sent_bytes},
        {"answer": answer.seconds if answer.delivered else None},
    )


@scenario(
    "parity_plain",
    right={"answer": (413, b"too large"), "limit": "kept"},
    better=("answer",),
)
def test_a_time_limit_around_everything_counts_the_answer_and_not_the_upload(
    server: Running,
) -> Seen:
    """The limit is 1 s, and the upload takes two."""
    run = new_run()
    upload = Upload(
        path=f"/limited?run={run}",
        size_bytes=_UPLOAD_BYTES,
        piece_bytes=_UPLOAD_BYTES // 40,
        piece_pause_seconds=0.05,
    )
    with Connection(server.address) as connection:
        answer = connection.strict(upload)
    seen = notes_once(server, run, lambda seen: "limit" in seen, 10.0)
    return Seen({"answer": (answer.status, answer.body), "limit": seen.get("limit")})


@scenario(
    "parity_plain",
    right={"answer": (413, b"too large"), "inside": "LookupError", "outside": "LookupError"},
    within={"inside": 0.3},
    causes=("Traceback",),
)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_exception_behind_the_last_message_is_raised_at_once(
    server: Running, framing: str
) -> Seen:
    """The application's own middleware sees it while the upload stands still.

    A middleware outside sees it too, if not before the drain has ended: the server closes then.
    """
    run = new_run()
    with Peer(server.address) as peer:
        peer.request(f"/failing/{framing}?run={run}", length=_UPLOAD_BYTES, body=b"x" * 100_000)
        peer.wait_for_body(len(b"too large"))
        notes_once(server, run, lambda seen: "inside" in seen, 10.0)
        answer = (peer.status, bytes(peer.body))
    seen = notes_once(server, run, lambda seen: "outside" in seen, 10.0)
    facts = {name: seen.get(name) for name in ("inside", "outside")}
    return Seen({"answer": answer, **facts}, {"inside": seen.get("inside_seconds")})


@scenario(
    "parity_plain",
    right={"answer": (413, b"too large"), "raised": "LookupError"},
    better=("answer",),
    causes=("Traceback",),
)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_exception_behind_the_last_message_does_not_lose_the_answer(
    server: Running, framing: str
) -> Seen:
    run = new_run()
    upload = Upload(path=f"/failing/{framing}?run={run}", size_bytes=_UPLOAD_BYTES)
    with Connection(server.address) as connection:
        answer = connection.strict(upload)
    seen = notes_once(server, run, lambda seen: "outside" in seen, 10.0)
    whole = (answer.status, answer.body) if answer.delivered else None
    return Seen({"answer": whole, "raised": seen.get("outside")})


@scenario(
    "parity_plain",
    right={
        "status": 200,
        "bytes": 4 * 65_536 + 3,
        "listened": ["http.request"],
        "group": "left",
    },
    within={"answer": 0.5},
)
@pytest.mark.parametrize("size_bytes", [20, 300_000])
def test_a_task_group_of_its_own_receives_and_sends_at_once(
    server: Running, size_bytes: int
) -> Seen:
    run = new_run()
    with Peer(server.address) as peer:
        peer.request(f"/grouped?run={run}", length=size_bytes, body=b"x" * size_bytes)
        peer.wait_for_end()
        seen = notes_once(server, run, lambda seen: "group" in seen, 10.0)
    return Seen(
        {
            "status": peer.status,
            "bytes": len(peer.body),
            **{name: seen.get(name) for name in ("listened", "group")},
        },
        {"answer": peer.whole_seconds},
    )


@scenario(
    "parity_plain",
    right={
        "answer": (413, b"too large"),
        "site": "here",
        "user": "behind",
        "foreign": False,
    },
)
@pytest.mark.parametrize("size_bytes", [20, 300_000])
def test_context_variables_go_in_and_come_out(server: Running, size_bytes: int) -> Seen:
    """An outer middleware sees what the application has set, and the application what it has."""
    run = new_run()
    with Peer(server.address) as peer:
        peer.request(f"/context?run={run}", length=size_bytes, body=b"x" * size_bytes)
        peer.wait_for_end()
        seen = notes_once(server, run, lambda seen: "user" in seen, 10.0)
    facts = {name: seen.get(name) for name in ("site", "user")}
    # A start may be held until the body is there, and an end may be a message of its own: whatever
    # is sent, and by which task, is sent with what the application has set.
    facts["foreign"] = "nobody" in seen.get("users", ["nobody"])
    return Seen({"answer": (peer.status, bytes(peer.body)), **facts})


@scenario(
    "parity_plain",
    right={"answer": (413, b"too large"), "headers": [["x-first", "1"], ["x-second", "2"]]},
)
def test_headers_that_can_be_read_once_reach_the_application(server: Running) -> Seen:
    run = new_run()
    with Peer(server.address) as peer:
        peer.request(
            f"/once?run={run}", length=20, headers=["X-First: 1", "X-Second: 2"], body=b"x" * 20
        )
        peer.wait_for_end()
    seen = notes_once(server, run, lambda seen: "headers" in seen, 5.0)
    return Seen({"answer": (peer.status, bytes(peer.body)), "headers": seen.get("headers")})


@scenario("parity_plain", right={"answer": (200, b"headers: False")})
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_scope_without_headers_is_no_error(server: Running, method: str) -> Seen:
    with Peer(server.address) as peer:
        if method == "GET":
            peer.request("/headless", "GET")
        else:
            peer.request("/headless", length=20, body=b"x" * 20)
        peer.wait_for_end()
    return Seen({"answer": (peer.status, bytes(peer.body))})


@scenario(
    "parity_plain",
    right={"answer": (413, b"too large"), "whole": 10},
    within={"behind": 0.3},
)
def test_many_early_answers_let_their_applications_go_at_once(server: Running) -> Seen:
    """Ten uploads go on, and each application is behind its last message."""
    runs = [new_run() for _ in range(10)]
    answers = []

    def upload(run: str) -> None:
        answers.append(_eager(server, f"/early/length?run={run}", seconds=1.0))

    threads = [threading.Thread(target=upload, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    behind = [notes_once(server, run, lambda seen: "behind" in seen, 5.0) for run in runs]
    return Seen(
        {
            "answer": (answers[0].status, bytes(answers[0].body)),
            "whole": sum(peer.is_whole for peer in answers),
        },
        {"behind": max(seen.get("behind", 99.0) for seen in behind)},
    )
