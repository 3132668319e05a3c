"""The table of orders and the picture of the stages say what the rows and the engine do."""

import dataclasses
import itertools
import xml.etree.ElementTree as ElementTree

import pytest

from drainkit import DISCARD_FIRST, Moment, Moments, Order, Plan, Stage
from drainkit_asgi._proxies import moments_behind
from drainkit_asgi.servers import SERVERS, UNKNOWN
from drainkit_wsgi.servers._rows import SERVERS as WSGI_SERVERS
from tests.orders import page, picture, rows, stages

SVG = "{http://www.w3.org/2000/svg}"
BETWEEN = Moments(whole=Moment.BETWEEN, pieces=Moment.BETWEEN)


@pytest.fixture(scope="module")
def found():
    """Return which stage leads to which, as the page has it."""
    return stages.transitions(
        (subject.moments, subject.sends_while_reading)
        for world in rows.WORLDS.values()
        for subject in world()
        if not subject.is_stored
    )


@pytest.fixture(scope="module")
def made():
    """Return the page and its picture, as they should be."""
    return page.made()


def test_page_and_picture_are_what_rows_and_engine_make(made):
    """Whoever changes one of them runs ``python -m tests.orders``."""
    for path, content in made.items():
        assert content == path.read_text(encoding="utf-8"), path


def changed(name, **moments):
    """Return a world where one server's moments over HTTP/1 are others."""

    def world():
        for subject in rows.asgi():
            is_meant = (subject.server, subject.version) == (name, "1")
            other = dataclasses.replace(subject.moments, **moments) if is_meant else subject.moments
            yield dataclasses.replace(subject, moments=other)

    return {**rows.WORLDS, "ASGI": world}


@pytest.mark.parametrize(
    ("name", "moments"),
    [
        ("uvicorn", {"whole": Moment.BEHIND}),
        ("hypercorn", {"pieces": Moment.FIRST}),
        ("gunicorn", {"small_error": Moment.FIRST}),
        ("granian", {"big": Moment.FIRST}),
        ("granian", {"holds_full": False}),
        ("unknown", {"uninvited": None, "whole": Moment.BETWEEN}),
        ("aiohttp-asgi", {"uninvited": Moment.NEVER}),
    ],
    ids=str,
)
def test_a_row_that_is_changed_makes_another_page(made, name, moments):
    assert made[page.PAGE_PATH] != page.made(changed(name, **moments))[page.PAGE_PATH]


def test_a_server_that_is_not_there_any_more_makes_another_page(made):
    world = {"ASGI": lambda: (s for s in rows.asgi() if s.server != "hypercorn")}

    assert made[page.PAGE_PATH] != page.made(world)[page.PAGE_PATH]


def test_a_call_that_leads_elsewhere_makes_another_page_and_another_picture(made, monkeypatch):
    monkeypatch.setattr(Order, "cut", Order.ended)
    other = page.made()

    assert all(content != other[path] for path, content in made.items())


@pytest.mark.parametrize(
    ("world", "servers"), [(rows.asgi, SERVERS), (rows.wsgi, WSGI_SERVERS)], ids=["ASGI", "WSGI"]
)
def test_every_server_has_a_line(world, servers):
    alone = rows.tables(list(world()))[rows.ALONE]
    told = {name for line in alone for name in line.servers.split(", ")}

    assert {"unknown", *(server.name for server in servers)} <= told


def test_what_differs_by_framing_or_status_has_a_line_of_its_own():
    """Cheroot reads away a body of known length before its headers, but not with a 413."""
    lines = {
        name: line.cells
        for line in rows.tables(list(rows.wsgi()))[rows.ALONE]
        for name in line.servers.split(", ")
        if line.versions == "1"
    }

    assert lines["cheroot"] != lines["cheroot (413)"] == lines["cheroot (chunked)"]


def test_http_1_0_is_as_good_a_sign_of_nginx_as_connection_close():
    close = {"http_version": "1.1", "headers": [(b"connection", b"close")]}
    old = {"http_version": "1.0", "headers": []}

    assert moments_behind(close, BETWEEN) == moments_behind(old, BETWEEN) != BETWEEN


# --- the rows themselves: what was measured, once more by hand ------------------------------------

F, B, E, N = (Plan.DISCARD_FIRST, Plan.DISCARD_BETWEEN, Plan.DISCARD_BEHIND, Plan.END)
# A whole answer, the last of several pieces, a small error; uninvited before and behind a piece.
MEASURED = {
    ("uvicorn", "1"): (B, B, B, B, B),
    ("hypercorn", "1"): (B, B, B, B, B),
    ("gunicorn", "1"): (B, B, B, B, B),
    ("granian", "1"): (E, F, E, E, F),
    ("aiohttp-asgi", "1"): (E, F, E, E, F),
    ("unknown", "1"): (F, F, F, N, N),
    ("unknown", "2"): (F, F, F, N, N),
    **dict.fromkeys(itertools.product(("uvicorn", "hypercorn", "granian"), "23"), (F, F, B, B, B)),
}


@pytest.mark.parametrize(("name", "version"), MEASURED)
def test_each_row_is_what_was_measured(name, version):
    server = next(row for row in (*SERVERS, UNKNOWN) if row.name == name)
    subject = rows.Subject(name, version, rows.ALONE, server.moments[version], True)
    told = []
    for status, passed_bytes, expects in (
        *((200, 0, False), (200, 7, False), (401, 0, False)),
        *((401, 0, True), (401, 7, True)),
    ):
        order = rows.order_of(subject, status, expects=expects)
        order.passed(passed_bytes)
        told.append(order.end(5))

    assert MEASURED[name, version] == tuple(told)


def test_behind_middleware_what_must_come_behind_the_end_comes_first():
    granian = next(row for row in SERVERS if row.name == "granian")
    wrapped = {s.version: s.moments for s in rows.asgi() if s.server == "granian" if
               s.behind == rows.WRAPPED}  # fmt: skip

    assert DISCARD_FIRST == wrapped["1"]
    assert granian.moments["2"] == wrapped["2"]


# --- the picture ----------------------------------------------------------------------------------


def test_every_stage_has_a_place_and_every_one_is_reached(found):
    reached = {one.after for one in found}

    assert set(Stage) == set(picture.PLACES)
    assert set(Stage) - {Stage.EXPECTED} == reached


def test_nothing_is_found_with_longer_answers(found):
    moments = [(subject.moments, True) for subject in rows.asgi() if not subject.is_stored]

    assert found == stages.transitions(moments, most_calls=stages.MOST_CALLS + 2)


def test_what_is_over_leads_to_nothing_but_its_end(found):
    leads = {(one.before, one.after) for one in found}

    assert {(Stage.ENDING, Stage.ENDED), (Stage.ENDING, Stage.CUT), (Stage.ENDED, Stage.CUT)} == {
        pair for pair in leads if pair[0] in (Stage.ENDING, Stage.ENDED, Stage.CUT)
    }


def test_the_picture_can_be_read_without_seeing_it(found):
    drawn = ElementTree.fromstring(picture.drawn(found))
    titles = {group.find(f"{SVG}title").text for group in drawn.iter(f"{SVG}g")}
    texts = [text.text for text in drawn.iter(f"{SVG}text")]

    assert picture.description(found) == drawn.find(f"{SVG}desc").text
    assert {f"{number}: {picture.words(one)}" for number, one in enumerate(found, 1)} == titles
    assert {stage.name for stage in Stage} | {str(at + 1) for at in range(len(found))} == set(texts)


def test_the_picture_fits_a_narrow_screen_and_brings_its_own_paper(found):
    """390 px are what a phone has; on a dark page ink alone could not be seen."""
    drawn = ElementTree.fromstring(picture.drawn(found))
    width, height = (int(drawn.get(side)) for side in ("width", "height"))
    paper = drawn.find(f"{SVG}rect")

    assert width <= 390
    assert (str(width), str(height), "#ffffff") == tuple(
        paper.get(name) for name in ("width", "height", "fill")
    )
    for x, y in picture.PLACES.values():
        assert 50 <= x <= width - 50
        assert 20 <= y <= height - 20


def test_two_rows_of_one_name_are_one_line():
    lines = [line for lines in rows.tables(list(rows.wsgi())).values() for line in lines]
    memory = [line for line in lines if "memory" in line.servers]

    assert 1 < sum(row.name == "memory" for row in WSGI_SERVERS)
    assert ["any"] == [line.versions for line in memory]


def test_two_rows_of_one_name_that_do_different_things_are_refused():
    first, *_ = rows.asgi()
    other = dataclasses.replace(first, moments=DISCARD_FIRST, is_stored=not first.is_stored)

    with pytest.raises(ValueError, match="do different things"):
        rows.tables([first, other])
