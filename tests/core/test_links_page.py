"""The page of the links and its pictures say what their JSON says."""

import copy
import re
import xml.etree.ElementTree as ElementTree

import pytest

from tests.link import __main__ as links_main
from tests.link import answers, page, picture, reasons, record
from tests.link.links import LINKS
from tests.matrix import __main__, plan, results
from tests.matrix.deployments import DEPLOYMENTS, OVER_UNIX

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def measured():
    """Return the record that is committed."""
    return record.load()


@pytest.fixture(scope="module")
def matrices():
    """Return the matrices that are committed, by link."""
    return page.load_matrices()


def test_page_and_pictures_are_what_the_json_makes(measured, matrices):
    """Whoever changes one of them runs ``python -m tests.link --page``."""
    for path, content in page.made(measured, matrices).items():
        assert content == path.read_text(encoding="utf-8"), path


def test_the_json_is_as_the_program_writes_it(measured, matrices):
    assert record.text(measured) == record.RECORD.read_text(encoding="utf-8")
    for name, matrix in matrices.items():
        assert results.text(matrix) == results.link_path(name).read_text(encoding="utf-8")


def test_every_link_has_been_measured(measured, matrices):
    assert list(LINKS) == page.measured(measured) == list(matrices)


def test_the_links_are_still_those_that_were_measured(measured, matrices):
    for name, link in LINKS.items():
        now = {"name": link.name, "loss": link.loss, "round_trip_seconds": link.round_trip_seconds}

        for then in (measured["links"][name], matrices[name]["link"]):
            assert now == {key: then[key] for key in now}


def test_another_time_makes_another_page_and_another_picture(measured, matrices):
    before = page.made(measured, matrices)
    changed = copy.deepcopy(measured)
    for row in changed["rows"]:
        row["seconds"] += 1000
    after = page.made(changed, matrices)

    assert {"links.md", "links.svg"} == {
        path.name for path, content in before.items() if after[path] != content
    }


def test_the_picture_can_be_read_without_seeing_it(measured):
    names = page.measured(measured)
    drawn = ElementTree.fromstring(picture.drawn(measured, names))

    assert picture.description(measured, names) == drawn.find(f"{SVG}desc").text
    shown = " ".join("".join(text.itertext()) for text in drawn.iter(f"{SVG}text"))
    for row in measured["rows"]:
        if row["client"] == picture.CLIENT:
            words = picture.outcome(row, measured["size_bytes"], measured["limit_seconds"])
            assert words in shown


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            {"status": 413, "error": None, "seconds": 0.44, "sent_bytes": 150_000},
            "0.4 s, 150 kB sent",
        ),
        (
            {"status": 502, "error": None, "seconds": 541, "sent_bytes": 207_000_000},
            "a 502 after 9 min, 207 MB sent",
        ),
        (
            {"status": None, "error": "reset", "seconds": 2.0, "sent_bytes": 12_000_000},
            "lost after 2.0 s, 12 MB sent",
        ),
        (
            {"status": None, "error": "timed out", "seconds": 600.2, "sent_bytes": 20_000_000},
            "some 100 min, 200 MB",
        ),
    ],
)
def test_an_outcome_is_told_in_few_words(row, words):
    assert words == picture.outcome(row, 200_000_000, 600.0)


def test_every_link_says_how_much_is_uploaded_over_it():
    assert set(LINKS) == set(plan.EXTENTS)


@pytest.mark.parametrize("link", LINKS)
def test_the_plan_over_a_link_has_a_422_and_the_link_s_size(link):
    cells = plan.cells(DEPLOYMENTS["gunicorn-sync"], [], [], 1, link)

    assert set(plan.LINK_ANSWERS) == {cell.case.name for cell in cells}
    assert {plan.EXTENTS[link].upload_bytes} == {cell.case.upload.size_bytes for cell in cells}
    assert {"chromium-form"} <= {cell.client.name for cell in cells}


def test_over_a_link_nginx_stands_in_front_in_three_ways():
    fronts = {row.proxy for row in plan.deployments([], "hotel")}

    assert {None, "nginx", "nginx-buffered", OVER_UNIX} == fronts


def test_an_unknown_link_lists_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        __main__.main(["--link", "pigeon"])

    assert "satellite" in capsys.readouterr().err


def test_the_page_says_what_was_planned_and_not_measured(matrices):
    matrix = copy.deepcopy(matrices["hotel"])
    before = page.text({}, {"hotel": matrix})
    del matrix["deployments"]["wsgiref"]
    del matrix["deployments"]["cheroot"]["with"]["clients"]["httpx"]["302"]
    after = page.text({}, {"hotel": matrix})

    for words in ("`wsgiref`", "1 cells of `httpx` with drainkit"):
        assert words not in before
        assert words in after.partition("Not measured: ")[2].partition("\n")[0]


def test_the_page_says_how_often_what_was_lost_was_tried(matrices):
    (name, client, case), *_ = sorted(results.lost(matrices["hotel"]))
    matrix = copy.deepcopy(matrices["hotel"])
    matrix["tries"] = 8
    once = page.text({}, {"hotel": matrix})
    matrix["deployments"][name]["with"]["clients"][client][case]["tries"] = 9
    again = page.text({}, {"hotel": matrix})

    assert "in all (`--again`)" not in once
    assert "up to 9 times in all (`--again`)" in again


ROW = answers.Row("hotel", "drainkit", "eager", 413, None, 0.25, 22_000)


def test_a_run_changes_no_other_row_s_date_and_command(measured):
    merged = answers.merged(measured, [ROW], command="a later run", size_bytes=1)
    (new,) = (row for row in merged["rows"] if row["command"] == "a later run")

    assert len(measured["rows"]) == len(merged["rows"])
    assert 22_000 == new["sent_bytes"]
    assert [row for row in measured["rows"] if row in merged["rows"]] == [
        row for row in merged["rows"] if row is not new
    ]


def test_the_page_says_when_and_with_what_command_each_upload_was_measured(measured):
    changed = copy.deepcopy(measured)
    changed["rows"][0] |= {"date": "2031-01-02", "command": "another run", "commit": "1a2b3c4"}
    changed["rows"][1] |= {"date": "2031-01-03", "command": None}
    shown = page.text(changed, {})
    name = changed["rows"][0]["link"]

    assert f"| 2031-01-02 | `another run` | `1a2b3c4` | 1 over {name} |" in shown
    assert "| 2031-01-03 | an earlier run, whose command was not kept | - |" in shown
    assert "to 2031-01-03" in shown
    assert len(measured["rows"]) == sum(
        int(count)
        for line in shown.partition("They were made by these runs:")[2].splitlines()
        if line.startswith("| 20")
        for count in re.findall(r"(\d+) over", line)
    )


def test_what_cannot_be_measured_is_named(monkeypatch):
    class Kit:
        def file(self, upload):
            pass

    def fails(self, link, contender, client):
        raise OSError("no browser")

    monkeypatch.setattr(answers.Measuring, "row", fails)
    said = []
    measuring = answers.Measuring(Kit(), size_bytes=1, limit_seconds=1.0, say=said.append)

    assert [] == list(measuring.rows(["fibre"], ["drainkit"], ["eager"], at_once=1))
    assert ["fibre, drainkit, eager"] == measuring.missing
    assert ["once more", "once more", "given up"] == [words.split("; ")[-1] for words in said]


def test_a_run_that_has_not_measured_everything_fails(monkeypatch, capsys):
    monkeypatch.setattr(links_main, "unavailable", lambda: None)
    monkeypatch.setattr(answers, "missing", lambda: None)
    monkeypatch.setattr(answers, "different", lambda record, said: [])
    monkeypatch.setattr(links_main, "_measure", lambda options: ["fibre, drainkit, eager"])
    monkeypatch.setattr(page, "write", list)

    assert 1 == links_main.main([])
    assert "not measured: fibre, drainkit, eager" in capsys.readouterr().err


def test_rows_of_another_size_are_not_mixed(measured):
    said = {"size_bytes": measured["size_bytes"], "limit_seconds": 1 + measured["limit_seconds"]}

    assert ["limit_seconds"] == answers.different(measured, said)
    assert [] == answers.different({}, said)


def test_a_link_s_page_says_when_it_was_measured_and_of_which_commit(matrices):
    matrix = copy.deepcopy(matrices["fibre"])
    half = next(iter(matrix["deployments"].values()))["with"]
    half |= {"date": "2031-01-02T03:04+00:00", "commit": "1a2b3c4"}

    assert "to 2031-01-02 (in part at `1a2b3c4`)" in page.text({}, {"fibre": matrix})


def lost_cells(matrices):
    """Return each cell that is not whole with drainkit: deployment, client, case, and the cell."""
    return [
        (name, client, case, matrix["deployments"][name]["with"]["clients"][client][case])
        for matrix in matrices.values()
        for name, client, case in sorted(results.lost(matrix))
    ]


def test_a_reason_fits_its_cell_s_error_and_time(matrices):
    """Each that is given goes when the error is another one, or the time is shorter."""
    explained = [cell for cell in lost_cells(matrices) if reasons.why_not(*cell)]
    another_error = [
        (*place, {**cell, "instead": {"lost: status 500": cell["tries"]}})
        for *place, cell in explained
    ]
    too_soon = [
        (*place, {**cell, "seconds": [0.5, 0.5, 0.5]})
        for *place, cell in explained
        if place[2] == page.PAGE
    ]

    assert explained
    assert too_soon
    assert [] == [cell for cell in another_error + too_soon if reasons.why_not(*cell)]


@pytest.mark.parametrize(
    ("deployment", "client", "case", "error", "seconds", "why"),
    [
        ("granian-asgi", "strict", "page", "connection closed after ... bytes of the ", 39, None),
        (
            "granian-asgi:tls",
            "strict",
            "page",
            "connection closed after ... bytes of the response's body",
            39,
            "--http1-header-read-timeout",
        ),
        ("granian-asgi:tls", "curl", "page", "curl: (18) transfer closed", 29, None),
        ("granian-asgi:h2c", "curl", "page", "curl: (18) transfer closed", 39, None),
        (
            "granian-asgi:h2c",
            "curl",
            "page",
            "curl: (92) HTTP/2 stream 1 was not closed cleanly: PROTOCOL_ERROR (err 1)",
            39,
            "48 KiB of the body twice",
        ),
        (
            "granian-asgi:h2c",
            "curl",
            "413",
            "curl: (92) HTTP/2 stream 1 was not closed cleanly: PROTOCOL_ERROR (err 1)",
            6,
            "48 KiB of the body twice",
        ),
        ("granian-asgi:h2c", "curl", "413", "curl: (52) Empty reply from server", 6, None),
        ("gunicorn-sync", "curl", "413", "curl: (56) Recv failure", 39, None),
        ("wsgiref", "curl", "page", "curl: (56) Recv failure", 39, None),
    ],
)
def test_a_cell_that_no_reason_fits_has_none(deployment, client, case, error, seconds, why):
    cell = {"tries": 1, "delivered": 0, "instead": {f"lost: {error}": 1}, "seconds": [seconds] * 3}
    found = reasons.why_not(deployment, client, case, cell)

    assert (why is None) == (found is None)
    assert (why or "") in (found or "")


def test_where_no_reason_is_known_the_page_says_what_the_client_saw(matrices):
    unknown = [cell for cell in lost_cells(matrices) if reasons.why_not(*cell) is None]
    shown = page.text({}, matrices)

    for _, client, _, cell in unknown:
        for error in cell["instead"]:
            assert f"not known; {client} saw: {error.removeprefix('lost: ')}" in shown


def test_a_cell_that_was_not_measured_without_drainkit_does_not_count_as_lost(matrices):
    matrix = copy.deepcopy(matrices["hotel"])
    halves = matrix["deployments"]["hypercorn-asyncio:h2"]

    def row():
        words = page.text({}, {"hotel": matrix})
        return next(line for line in words.splitlines() if line.startswith("| `hypercorn-asyncio:"))

    before = row()
    del halves["without"]["clients"]["chromium-form"]["page"]

    assert "| 0 of 1 measured |" in before
    assert "| not measured |" in row()
