"""Each combination of server, request and answer: as it was recorded, but for what is meant.

The tables were recorded before the two shells were built anew. What is meant to differ since then
has a reason in `CHANGED`; ``python -m tests.adapters.golden.record changed`` writes what is right
now. A combination that differs otherwise fails, and so does a reason that has gone.
"""

from dataclasses import dataclass, replace

import pytest

from tests.adapters.golden import asgi, table, wsgi
from tests.adapters.golden.table import Change, differences

TABLES = {world: table.load(world) for world in ("asgi", "wsgi")}
NOW = {world: table.load(f"{world}_changed") for world in ("asgi", "wsgi")}

PIECES = ("two", "two, end", "one, end", "empty, one")
WHOLE = ("whole", "whole empty", "whole, length")
RECEIVES_BETWEEN = ("late", "late first")


def change(world, why, matches):
    """Return the change of the combinations that match and are in the file of what is right now."""
    now = NOW[world]
    return Change(
        why=why,
        matches=lambda s: s.key in now and matches(s),
        right=lambda s, recorded: now[s.key],
    )


def is_stream(scenario):
    """Whether the answer is an iterable that does not say how long it is."""
    answer = wsgi.ANSWERS[scenario.answer]
    return answer.kind == "iterable" and not answer.length


def is_received_behind(scenario):
    """Whether a small body is received behind a whole answer on granian, which has no trio."""
    return scenario.row == "granian" and scenario.answer in (
        "whole",
        "whole empty",
        "whole, length",
    )


# What is meant to differ from the table. Each entry must match something, and only what differs.
CHANGED: dict[str, list[Change]] = {
    "asgi": [
        change(
            "asgi",
            "A small error of unknown length whose pieces come at once goes out as a whole one.",
            lambda s: s.use not in RECEIVES_BETWEEN and s.answer in (*PIECES, "many, end"),
        ),
        change(
            "asgi",
            "Nothing of an answer is held across the application's receive().",
            lambda s: s.use in RECEIVES_BETWEEN or s.answer in ("start", "one, no end"),
        ),
        change(
            "asgi",
            "What is left at a bound is swallowed beside the empty end of an answer, and not "
            "beside a last piece that a client may take its time to read.",
            lambda s: (
                s.policy == "max_bytes=100"
                and s.answer in ("small, big", "length, small, big")
                and s.use not in RECEIVES_BETWEEN
            ),
        ),
        change(
            "asgi",
            "On granian a small body is received behind a whole answer, which passes as it is: the "
            "server adds the length, and no proxy leaves so little of an upload unread.",
            lambda s: is_received_behind(s) and s.use not in RECEIVES_BETWEEN,
        ),
        change(
            "asgi",
            "Behind an answer whose body was read ahead receive() is the disconnect at once.",
            lambda s: s.answer == "length, one, trailers",
        ),
    ],
    "wsgi": [
        change(
            "wsgi",
            "An empty whole answer on cheroot is a whole answer like any other: the body goes "
            "before it, and then nothing is left to do.",
            lambda s: s.row.startswith("cheroot") and s.answer in ("empty list", "list of empty"),
        ),
        change(
            "wsgi",
            "Where no deadline can end a read, nothing is read between two pieces of an error, "
            "as over HTTP/2: a client that stops sending at the status waits for the second.",
            lambda s: (
                s.answer == "length, two"
                and s.status == 413
                and s.is_behind_proxy
                and not s.row.startswith("uwsgi")
            ),
        ),
        change(
            "wsgi",
            "Whether a piece is the last is not looked for: that would keep it waiting, and an "
            "application that reads behind it would be kept from its client.",
            lambda s: s.answer != "write big" and is_stream(s) and not s.row.startswith("uwsgi"),
        ),
        change(
            "wsgi",
            "uWSGI closes behind each answer, and drainkit says so; beside what else has changed.",
            lambda s: s.row.startswith("uwsgi"),
        ),
        change(
            "wsgi",
            "A server that discards by itself is told to close only if something is left to.",
            lambda s: s.row.startswith("cheroot") and s.answer == "write big",
        ),
        change(
            "wsgi",
            "The peer of a Unix socket, as that of a connection here is, has time to take the "
            "answer where some of the body is left, before anything is shut or closed.",
            lambda s: (
                s.policy == "max_bytes=50"
                and "reachable" in s.row
                and not is_stream(s)
                and not s.row.startswith("uwsgi")
                and not (
                    s.row.startswith("cheroot")
                    and s.answer in ("empty list", "list of empty", "write big")
                )
            ),
        ),
    ],
}

# Of every so many combinations one is served on trio, too.
TRIO_STEP = 7


def test_each_combination_under_asgi_is_as_recorded():
    got = asgi.all_that_happens(asgi.scenarios())

    assert "" == differences(TABLES["asgi"], got, CHANGED["asgi"])


def test_a_small_error_in_pieces_is_what_was_recorded_of_a_whole_one():
    """Or, where it grows too big for that, only its first pieces are joined."""
    why = CHANGED["asgi"][0]
    changed = [scenario for scenario in asgi.scenarios() if why.matches(scenario)]
    recorded = TABLES["asgi"]

    assert 1000 < len(changed)
    for scenario in changed:
        if scenario.answer in PIECES:
            expected = recorded[replace(scenario, answer="whole").key]
        else:
            four = "body 16384 more; " * 4
            expected = recorded[scenario.key].replace(four, "body 65536 more; ", 1)

        assert expected == NOW["asgi"][scenario.key]


def test_each_combination_under_wsgi_is_as_recorded():
    got = wsgi.all_that_happens(wsgi.scenarios())

    assert "" == differences(TABLES["wsgi"], got, CHANGED["wsgi"])


def test_trio_does_the_same():
    """As asyncio in this very run: so nothing here has to do with what has changed."""
    some = [
        scenario
        for scenario in asgi.scenarios()[::TRIO_STEP]
        # Where a held piece waits for the body, the scheduler says who receives it.
        if not (scenario.key in NOW["asgi"] and scenario.use in RECEIVES_BETWEEN)
        and not is_received_behind(scenario)
    ]
    expected = {scenario.key: told for scenario, told in asgi.all_that_happens(some).items()}

    assert "" == differences(expected, asgi.all_that_happens(some, backend_name="trio"))


@pytest.mark.parametrize("world", ["asgi", "wsgi"])
def test_what_the_table_tells_of_is_no_accident_of_the_harness(world):
    """An Error stands where drainkit mistreats the server, or two wait for each other."""
    told = table.load(world).values()

    assert [] == [one for one in told if "Error: " in one or "WRONG" in one or "OTHERWISE" in one]


# --- the table can fail ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "other"),
    [("uvicorn", "granian"), ("granian", "unknown"), ("hypercorn", "uvicorn")],
)
def test_a_server_that_is_taken_for_another_is_found_out_under_asgi(row, other):
    wrong = replace(
        asgi.ROWS[row],
        http_1=replace(asgi.ROWS[row].http_1, module=asgi.ROWS[other].http_1.module),
        later=replace(asgi.ROWS[row].later, module=asgi.ROWS[other].later.module),
    )
    chosen = [scenario for scenario in asgi.scenarios() if scenario.row == row][::5]
    recorded = table.load("asgi")

    summary = differences(
        {scenario.key: recorded[scenario.key] for scenario in chosen},
        asgi.all_that_happens(chosen, row=wrong),
    )

    assert f"of {len(chosen)} combinations differ" in summary


@pytest.mark.parametrize(
    ("row", "other"),
    [("cheroot", "granian"), ("werkzeug", "wsgiref"), ("unknown", "gunicorn")],
)
def test_a_server_that_is_taken_for_another_is_found_out_under_wsgi(row, other):
    chosen = [scenario for scenario in wsgi.scenarios() if scenario.row == row][::5]
    recorded = table.load("wsgi")

    summary = differences(
        {scenario.key: recorded[scenario.key] for scenario in chosen},
        wsgi.all_that_happens(chosen, row=wsgi.ROWS[other]),
    )

    assert f"of {len(chosen)} combinations differ" in summary


@dataclass(frozen=True)
class Letter:
    key: str


A, B = Letter("a"), Letter("b")
RECORDED = {"a": "start; body", "b": "body; start"}
SAME = {A: "start; body", B: "body; start"}


def test_nothing_to_tell_where_all_is_as_recorded():
    assert "" == differences(RECORDED, SAME)


def test_a_difference_is_told_with_what_was_expected_and_where():
    summary = differences(RECORDED, {**SAME, B: "start"})

    assert summary.splitlines() == [
        "1 of 2 combinations differ, in 1 ways",
        "",
        "1 times",
        "  expected  body; start",
        "  got       start",
        "    b",
    ]


def test_the_summary_ends():
    got = {Letter(f"{at}"): f"got {at}" for at in range(30)}
    summary = differences(dict.fromkeys(map(str, range(30)), "recorded"), got)

    assert table.MOST_GROUPS == summary.count("  expected  ")
    assert "... and 10 other ways" in summary


def test_a_combination_that_is_not_served_any_more_or_not_recorded_is_told():
    assert "1 recorded but not served, such as b" in differences(RECORDED, {A: RECORDED["a"]})
    assert "1 served but not recorded, such as b" in differences({"a": RECORDED["a"]}, SAME)


@pytest.mark.parametrize(
    "right", ["start", lambda scenario, recorded: recorded.replace("body; ", "")], ids=type
)
def test_a_change_that_is_meant_is_no_difference(right):
    change = Change("b ends early.", lambda scenario: scenario is B, right)

    assert "" == differences(RECORDED, {**SAME, B: "start"}, [change])


def test_a_change_that_matches_nothing_fails():
    change = Change("Nothing is c.", lambda scenario: scenario.key == "c", "start")

    assert "matches nothing: Nothing is c." == differences(RECORDED, SAME, [change])


def test_a_change_that_asks_for_what_was_recorded_fails():
    change = Change("b.", lambda scenario: scenario is B, lambda scenario, recorded: recorded)

    assert "matches what has not changed, b: b." == differences(RECORDED, SAME, [change])


def test_a_change_that_has_not_come_fails():
    change = Change("b ends early.", lambda scenario: scenario is B, "start")

    assert "  expected  start\n  got       body; start" in differences(RECORDED, SAME, [change])


def test_two_changes_that_match_one_combination_fail():
    change = Change("b.", lambda scenario: scenario is B, "start")

    assert "two changes match b: b. / b." in differences(
        RECORDED, {**SAME, B: "start"}, [change, change]
    )
