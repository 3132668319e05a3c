"""How whole servers are measured, and what the page makes of it; no time is measured here."""

import contextlib
import socket
import struct
import threading
import types

import pytest

from tests.bench import asking
from tests.bench.alternatives import CONTROL, DRAINKIT, LEAST, NONE
from tests.bench.asking import AskingError, Client, Question, is_whole
from tests.bench.bench import FEWEST, MOST, count_for
from tests.bench.callgrind import total
from tests.bench.misses import misses
from tests.bench.names import (
    CONNECTIONS,
    CPU,
    CPU_RATIO,
    EARLY,
    GET,
    INSTRUCTIONS_RATIO,
    LOST,
    READ,
)
from tests.bench.results import Results, Section, figure
from tests.bench.servers_table import lead, missed, table, told_apart
from tests.bench.targets import TARGETS

TIMEOUT_SECONDS = 10.0
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET_BYTES = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
ONE = Question(pieces=(GET_BYTES,), status=200, connections=2)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", True),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\n\r\nok", False),
    ],
)
def test_an_answer_ends_where_its_head_says(answer, expected):
    assert expected == is_whole(answer)


class Peer:
    """A server of a few lines: it answers each request on a connection as it is told."""

    def __init__(self, serve):
        self.serve = serve
        self.received = []
        self.accepted = 0
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.address = self.listening.getsockname()
        self.threads = [threading.Thread(target=self.accept)]

    def __enter__(self):
        self.threads[0].start()
        return self

    def __exit__(self, *exc_info):
        # close() alone does not wake accept().
        with contextlib.suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        for thread in self.threads:
            thread.join(TIMEOUT_SECONDS)

    def accept(self):
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            self.accepted += 1
            connection.settimeout(TIMEOUT_SECONDS)
            self.threads.append(threading.Thread(target=self.talk, args=(connection,)))
            self.threads[-1].start()

    def talk(self, connection):
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(4096):
                self.received.append(data)
                if not self.serve(connection):
                    return


def keeps(connection):
    connection.sendall(ANSWER)
    return True


def closes(connection):
    connection.sendall(ANSWER)
    return False


def says_close(connection):
    connection.sendall(ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    return True


def ends_with_the_connection(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nok")
    return False


def resets(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


@pytest.mark.parametrize(
    ("serve", "is_kept"),
    [
        (keeps, True),
        (closes, False),
        (says_close, False),
        (ends_with_the_connection, False),
        (resets, False),
    ],
)
def test_the_client_finds_out_whether_connections_are_kept(serve, is_kept):
    with Peer(serve) as peer:
        assert is_kept == Client(peer.address, ONE).probe()


def test_a_connection_that_is_kept_serves_all_requests():
    with Peer(keeps) as peer, contextlib.closing(Client(peer.address, ONE)) as client:
        client.open(is_kept=True)
        told = client.ask(20)

        assert (0, 0, 2) == (told.opened, told.lost, peer.accepted)


@pytest.mark.parametrize("serve", [closes, ends_with_the_connection])
def test_a_connection_that_is_closed_is_counted_and_no_answer_is_lost(serve):
    with Peer(serve) as peer, contextlib.closing(Client(peer.address, ONE)) as client:
        client.open(is_kept=False)
        told = client.ask(20)

        assert (20, 0) == (told.opened, told.lost)


def test_a_server_that_closes_now_and_then_is_asked_again():
    """As hypercorn does behind a thousand requests; that request was never heard."""
    left = [5]

    def serve(connection):
        left[0] -= 1
        is_last = left[0] == 0
        connection.sendall(ANSWER)
        return not is_last

    one = Question(pieces=(GET_BYTES,), status=200, connections=1)
    with Peer(serve) as peer, contextlib.closing(Client(peer.address, one)) as client:
        client.open(is_kept=True)
        told = client.ask(4)
        more = client.ask(4)

        assert (0, 1, 0) == (told.lost, told.opened + more.opened, more.lost)


def test_an_answer_that_does_not_come_is_lost():
    with Peer(resets) as peer, contextlib.closing(Client(peer.address, ONE)) as client:
        client.open(is_kept=False)

        assert 4 == client.ask(4).lost


def test_a_late_piece_comes_by_itself(monkeypatch):
    # However long it takes to hear the first piece, the second is not due before.
    clock = types.SimpleNamespace(perf_counter=lambda: 1.0 if peer.received else 0.0)
    monkeypatch.setattr(asking, "time", clock)
    late = Question(pieces=(b"first", b"second"), status=200, gap_seconds=0.05, connections=1)

    def serve(connection):
        return not peer.received[-1].endswith(b"second") or keeps(connection)

    with Peer(serve) as peer, contextlib.closing(Client(peer.address, late)) as client:
        client.open(is_kept=True)

        assert [b"first", b"second"] == peer.received


def test_another_status_is_no_measurement():
    other = Question(pieces=(GET_BYTES,), status=413)
    with Peer(keeps) as peer, pytest.raises(AskingError, match="not 413"):
        Client(peer.address, other).probe()


@pytest.mark.parametrize(
    ("seconds_each", "expected"), [(0.001, 100), (1.0, FEWEST), (0.000001, MOST)]
)
def test_a_sample_takes_so_long_where_it_can(seconds_each, expected):
    assert expected == count_for(seconds_each, 0.1)


def test_instructions_are_those_of_all_processes_and_threads():
    told = (
        "PID 12: python -m server\n\n  Totals:        Ir \n   Th 1  15,587,046 \n   Th 2   3,382 \n"
        "  Frame:      Ir Backtrace for Thread 1\n   [ 0]   22,060 epoll_wait (401 x)\n\n"
        "PID 13: python -m server\n\n  Totals:Ir \n"
    )

    assert 15_590_428 == total(told)


# --- what the page says ---------------------------------------------------------------------------


def section(name, *figures):
    return Section(
        name=name,
        date="2026-01-01",
        command="nox",
        seconds=1.0,
        quick=False,
        skipped=(),
        figures=figures,
    )


def results(*sections):
    return Results(machine={}, versions={}, sections={each.name: each for each in sections})


def made(where, case, contender, measure, value):
    names = {"where": where, "case": case, "contender": contender, "measure": measure}
    return figure([value], unit="", **names)


def servers(**ratios):
    """Return the figures of servers whose early answers cost so much more."""
    for name, ratio in ratios.items():
        where = name.replace("_", "-")
        for case, value in ((GET, 1.0), (READ, 1.02), (EARLY, ratio)):
            yield made(where, case, NONE, CPU, 50.0)
            yield made(where, case, DRAINKIT, CPU, 50.0 * value)
            yield made(where, case, CONTROL, CPU_RATIO, 0.99)
            yield made(where, case, LEAST, CPU_RATIO, 1.01)
            yield made(where, case, DRAINKIT, CPU_RATIO, value)


def test_the_first_sentences_say_what_is_usual_and_what_is_most():
    found = results(section("servers", *servers(uvicorn_h11=1.1, cheroot=1.2, waitress=2.4)))
    first, second, third = lead(found).splitlines()

    assert "on 3 servers" in first
    assert "usually as much and at most as much" in first
    assert "usually 2 % more" in first
    assert "usually 20 % more and at most 2.4 times as much (waitress)" in second
    assert f"the dearest that was tried is 2.4 times as much (waitress, {EARLY})" in third
    assert "half of 9 comparisons lie between 1 % less and 1 % less" in told_apart(found)


def test_the_dearest_shape_is_named_beside_the_plain_early_answer():
    dear = made("cheroot", f"{EARLY}; the body is one chunk", DRAINKIT, CPU_RATIO, 3.1)
    *_, third = lead(results(section("servers", *servers(cheroot=1.2), dear))).splitlines()

    assert f"3.1 times as much (cheroot, {dear.case})" in third


def test_what_two_bare_servers_differ_by_is_told_with_its_extremes():
    twins = [
        made(f"s{number}", GET, CONTROL, CPU_RATIO, ratio)
        for number, ratio in enumerate((0.8, 0.98, 1.0, 1.03, 1.4))
    ]
    one = made("s0", EARLY, DRAINKIT, CPU_RATIO, 1.1)
    one_read, one_get = (made("s0", case, DRAINKIT, CPU_RATIO, 1.0) for case in (READ, GET))
    told = told_apart(results(section("servers", *twins, one, one_read, one_get)))

    assert "between 2 % less and 3 % more" in told
    assert "from 20 % less to 40 % more" in told


def discarded(**ratios):
    """Return how fast drainkit discards beside the server's own loop, with the heap kept."""
    return section(
        "discarding",
        *(
            made(name, "discard, heap kept", DRAINKIT, "speed / own loop's", ratio)
            for name, ratio in ratios.items()
        ),
    )


def test_whether_a_discarding_loop_is_the_server_s_own_follows_from_the_figures():
    told = misses(results(discarded(one=0.97, two=1.01, three=0.5)))
    all_same = misses(results(discarded(one=0.97)))
    none_same = misses(results(discarded(three=0.5)))

    assert "the clock and the bounds on one, two: 0.97 to 1.01 of its speed" in told
    assert "slower than that on three (0.5)" in told
    assert "slower than that" not in all_same
    assert "server's own with one or two" not in none_same


def test_each_miss_of_a_plain_request_stands_beside_the_least_middleware():
    found = results(
        section("servers", *servers(cheroot=1.24, waitress=1.02)),
        section(
            "server instructions",
            *(
                made("cheroot", GET, contender, INSTRUCTIONS_RATIO, value)
                for contender, value in ((LEAST, 1.047), (DRAINKIT, 1.052))
            ),
        ),
    )
    told = misses(found)

    assert "stands in brackets: cheroot 1.052 (1.047)." in told
    assert "stands in brackets: cheroot 1.24 (1.01)." in told
    assert "A POST that is read" not in told  # 1.02 is within its limit


def test_what_a_dear_shape_costs_on_trio_is_told_in_microseconds():
    case = f"{EARLY}; the body is one chunk"
    told = misses(
        results(
            section(
                "servers",
                made("hypercorn-trio", case, NONE, CPU, 300.0),
                made("hypercorn-trio", case, DRAINKIT, CPU, 540.0),
                made("hypercorn-trio", case, DRAINKIT, CPU_RATIO, 1.8),
            )
        )
    )

    assert f"On hypercorn-trio that is 1.8 for *{case}* (240 µs more)." in told


def test_a_get_is_told_in_instructions_where_they_were_counted():
    counted = section(
        "server instructions",
        *(made(name, GET, DRAINKIT, INSTRUCTIONS_RATIO, 1.004) for name in ("cheroot", "waitress")),
    )
    found = results(section("servers", *servers(cheroot=1.0)), counted)

    assert "usually 0.4 % more and at most 0.4 % more (cheroot), counted in instructions" in lead(
        found
    )


def test_nothing_is_said_of_servers_that_were_not_measured():
    assert "" == lead(results()) == told_apart(results()) == missed(results())


def test_a_missed_target_stands_beside_the_floor_and_what_it_adds():
    lines = missed(results(section("servers", *servers(uvicorn_h11=1.5, cheroot=1.05))))

    assert [f"| uvicorn-h11 | {EARLY} | 1.1 | 1.5 | 1.01 | 25 µs |"] == lines.splitlines()[2:]


def test_a_table_says_which_connections_and_answers_were_lost():
    figures = [
        *servers(granian_asgi=1.0),
        *(
            made("granian-asgi", EARLY, contender, measure, value)
            for contender, measure, value in (
                (NONE, CONNECTIONS, 1.0),
                (DRAINKIT, CONNECTIONS, 0.0),
                (NONE, LOST, 0.25),
                (DRAINKIT, LOST, 0.0),
            )
        ),
    ]
    last = table(section("servers", *figures)).splitlines()[-1]

    assert last.endswith("| ≤ 1.25: met | connections: 1 and 0; answers lost: 25 % and 0 % |")


@pytest.mark.parametrize(
    ("server", "limit"),
    [
        ("uvicorn-httptools-uvloop", 1.10),
        ("hypercorn-trio", 1.10),
        ("gunicorn-asgi", 1.10),
        ("granian-asgi", 1.25),
        ("granian-wsgi", 1.20),
        ("gunicorn-gthread", 1.10),
        ("waitress", 1.10),
    ],
)
def test_each_server_has_one_target_for_an_early_answer(server, limit):
    one = made(server, f"{EARLY} in two pieces", DRAINKIT, CPU_RATIO, 1.0)

    assert [limit] == [target.limit for target in TARGETS if target.covers("servers", one)]
