"""The page of the matrix and its picture say what its JSON says."""

import copy
import json
import xml.etree.ElementTree as ElementTree

import pytest

from tests.clients.clients import CLIENTS
from tests.matrix import __main__, page, picture, plan, questions, results
from tests.matrix.deployments import DEPLOYMENTS, REASONS

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def measured():
    """Return the matrix that is committed."""
    return results.load(results.JSON_PATH)


def first_cell(matrix):
    """Return a cell that is whole with drainkit, and where it stands."""
    return next(
        (name, client, case, cell)
        for name, row in matrix["deployments"].items()
        for client, cells in row["with"]["clients"].items()
        for case, cell in cells.items()
        if picture.is_whole(cell)
    )


def test_page_and_picture_are_what_the_json_makes(measured):
    """Whoever changes one of them runs ``python -m tests.matrix --page``."""
    for path, content in page.made(measured, results.JSON_PATH).items():
        assert content == path.read_text(encoding="utf-8"), path


def test_the_json_is_as_the_program_writes_it(measured):
    assert results.text(measured) == results.JSON_PATH.read_text(encoding="utf-8")


def test_a_loss_more_makes_another_page_and_another_picture(measured):
    before = page.made(measured, results.JSON_PATH)
    changed = copy.deepcopy(measured)
    name, client, case, cell = first_cell(changed)
    cell["delivered"] -= 1
    cell["instead"] = {"lost: a meteorite": 1}
    after = page.made(changed, results.JSON_PATH)

    changed_ones = {path.name for path, content in before.items() if after[path] != content}
    assert {"matrix.md", "matrix.svg", "matrix-alone.svg", "matrix-clients.svg"} <= changed_ones
    text = next(iter(after.values()))
    assert f"| `{name}` | {client}, {case} |" in text
    assert "a meteorite" in text


def test_the_picture_can_be_read_without_seeing_it_and_without_colour(measured):
    drawn = ElementTree.fromstring(picture.drawn(measured))
    rows = [group.find(f"{SVG}title").text for group in drawn.iter(f"{SVG}g")]

    assert picture.description(measured) == drawn.find(f"{SVG}desc").text
    assert list(measured["deployments"]) == [row.partition(";")[0] for row in rows]
    # A symbol for each box, a box for each cell.
    boxes = sum(path.get("d").count("z") for path in drawn.iter(f"{SVG}path"))
    symbols = [
        text.text
        for group in drawn.iter(f"{SVG}g")
        for text in group.iter(f"{SVG}text")
        if text.get("fill")
    ]
    cells = sum(picture.total(measured, half)[1] for half in ("with", "without"))
    assert cells == boxes == sum(map(len, symbols))


def test_every_cell_is_in_one_picture_of_deployments_and_in_that_of_the_clients(measured):
    asked = {question.name: question for question in questions.questions(measured)}
    clients = asked.pop("clients")
    rows = [row for question in asked.values() for row in question.rows]

    assert list(measured["deployments"]) == [row.label for row in rows]
    for half, at in (("without", 1), ("with", 2)):
        whole = picture.total(measured, half)
        for some in (rows, clients.rows):
            assert whole == tuple(map(sum, zip(*(row[at] for row in some), strict=True)))


def test_a_picture_of_a_question_says_its_numbers_in_words(measured):
    for question in questions.questions(measured):
        drawn = ElementTree.fromstring(questions.drawn(question))
        words = {text.text for text in drawn.iter(f"{SVG}text")}

        assert questions.described(question) == drawn.find(f"{SVG}desc").text
        for row in question.rows:
            assert {"{} of {}".format(*row.without), "{} of {}".format(*row.drained)} <= words


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ({"tries": 5, "delivered": 5}, ("whole", picture.WHOLE)),
        ({"tries": 5, "delivered": 3}, ("some", "3")),
        ({"tries": 5, "delivered": 0}, ("none", picture.NONE)),
        ({"tries": 0, "delivered": 0}, ("failed", picture.FAILED)),
        (None, None),
    ],
)
def test_each_state_has_a_symbol_of_its_own(cell, kind):
    half = {"clients": {"curl": {"413": cell} if cell else {}}}

    assert kind == picture.state(half, "curl", "413")


def test_a_run_of_a_part_leaves_the_other_cells_alone(measured):
    name, client, case, cell = first_cell(measured)
    unit = __main__.Unit(DEPLOYMENTS[name], True, [])
    told = {"date": "2030-01-01T00:00+00:00", "error": None, "clients": {client: {case: {}}}}
    after = results.merged(measured, [(unit, told)], command="mine", tries=1)
    half = after["deployments"][name]["with"]

    assert {} == half["clients"][client][case] != cell
    assert "2030-01-01T00:00+00:00" == half["date"]
    others = copy.deepcopy(measured["deployments"][name]["with"]["clients"])
    del others[client][case], half["clients"][client][case]
    assert others == half["clients"]
    assert measured["deployments"][name]["without"] == after["deployments"][name]["without"]


@pytest.mark.parametrize(
    ("option", "known"),
    [("--servers", "gunicorn-sync"), ("--clients", "chromium-form"), ("--cases", "page")],
)
def test_an_unknown_name_lists_the_known_ones(capsys, tmp_path, option, known):
    status = __main__.main([option, "nobody", "--json", str(tmp_path / "matrix.json")])
    told = capsys.readouterr().err

    assert 2 == status
    assert "'nobody'" in told
    assert known in told


@pytest.mark.parametrize("bad", [["--tries", "0"], ["--tries", "many"], ["--only", "both"]])
def test_a_bad_argument_is_refused(capsys, bad):
    with pytest.raises(SystemExit) as refused:
        __main__.main(bad)

    assert 2 == refused.value.code
    assert bad[0] in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_told_before_anything_is_measured(capsys, tmp_path):
    status = __main__.main(["--json", str(tmp_path / "nowhere" / "matrix.json")])

    assert 2 == status
    assert "nowhere" in capsys.readouterr().err


def test_the_name_of_a_server_means_the_server_alone():
    assert ["gunicorn-sync"] == [row.name for row in plan.deployments(["gunicorn-sync"])]


def test_the_plan_has_every_client_and_every_answer_somewhere():
    cells = [cell for row in DEPLOYMENTS.values() for cell in plan.cells(row, [], [], 5)]

    assert set(CLIENTS) == {cell.client.name for cell in cells}
    assert set(plan.ANSWERS) == {cell.case.name for cell in cells}


def test_reasons_are_for_cells_that_are(measured):
    known = ({*DEPLOYMENTS, "*"}, {*CLIENTS, "*"}, {*plan.CASE_NAMES, "*"})

    assert [] == [
        key
        for key in REASONS
        if not all(part in names for part, names in zip(key, known, strict=True))
    ]


def test_a_cell_is_one_line_of_the_json(measured):
    lines = results.text(measured).splitlines()
    cells = [line for line in lines if '{"tries":' in line]

    assert len(cells) == sum(picture.total(measured, half)[1] for half in ("with", "without"))
    assert measured == json.loads("\n".join(lines))


def test_what_was_lost_is_tried_again_and_its_tries_are_added():
    lost = {
        **{"tries": 1, "delivered": 0, "instead": {"lost: reset": 1}},
        **{"first_byte_seconds": None, "seconds": [2.0, 2.0, 2.0]},
        **{"uploaded_bytes": [9, 9, 9], "taken_bytes": None},
    }
    later = {
        **{"tries": 2, "delivered": 1, "instead": {"lost: reset": 1}},
        **{"first_byte_seconds": [0.5, 0.5, 0.5], "seconds": [1.0, 1.5, 1.5]},
        **{"uploaded_bytes": [7, 8, 8], "taken_bytes": None},
    }
    whole = {**later, "tries": 1, "delivered": 1, "instead": {}}
    halves = {
        half: {"clients": {"curl": {"413": lost, "302": whole}}} for half in ("with", "without")
    }
    before = {"command": "first", "tries": 1, "deployments": {"wsgiref": halves}}
    unit = __main__.Unit(DEPLOYMENTS["wsgiref"], True, [])
    told = {"date": "2030-01-01T00:00+00:00", "error": None, "clients": {"curl": {"413": later}}}
    after = results.merged(before, [(unit, told)], command="mine", tries=2, again=True)
    cells = after["deployments"]["wsgiref"]["with"]["clients"]["curl"]

    assert {("wsgiref", "curl", "413")} == results.lost(before)
    assert {
        **{"tries": 3, "delivered": 1, "instead": {"lost: reset": 2}},
        **{"first_byte_seconds": [0.5, 0.5, 0.5], "seconds": [1.0, 1.5, 2.0]},
        **{"uploaded_bytes": [7, 8, 9], "taken_bytes": None},
    } == cells["413"]
    assert whole == cells["302"]
    assert ("first", 1) == (after["command"], after["tries"])


def test_where_nothing_is_lost_nothing_is_tried_again(capsys, tmp_path):
    out = tmp_path / "matrix.json"

    assert 0 == __main__.main(["--again", "--json", str(out), "--servers", "wsgiref"])
    assert "nothing to measure" in capsys.readouterr().out
    assert not out.exists()
