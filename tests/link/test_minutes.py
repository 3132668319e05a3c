"""Uploads whose link is disturbed in the middle; `tests.link.minutes` puts every server to it."""

import dataclasses

import pytest

from tests.link import minutes
from tests.link.minutes import SCENARIOS

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("link_allowed")]

# The first two go on by themselves, however long their client is silent; the third does not.
PATIENT = ["uvicorn-httptools", "gevent-pywsgi", "hypercorn-asyncio"]
LOSES = "hypercorn-asyncio"

# How long a client may be silent where a drain holds next to nothing, and where it holds a thread.
IDLE_SECONDS = {**dict.fromkeys(PATIENT, 10.0), "gunicorn-gthread": 5.0}


def test_an_answer_arrives_over_a_link_that_stops_for_four_seconds_and_goes_on() -> None:
    """TCP backs off meanwhile: with this round trip the server hears nothing for 6 to 7."""
    far = dataclasses.replace(minutes.FAR, round_trip_seconds=0.6)
    rows = minutes.measured(dataclasses.replace(SCENARIOS["stop"], link=far), PATIENT)
    if not rows:
        pytest.skip("needs one of " + ", ".join(PATIENT))

    assert [] == [
        row.server for row in rows if row.server == LOSES and not row.wrapped and row.status
    ]
    assert [] == [row for row in rows if row.wrapped and row.status != 413]
    assert [] == minutes.worse_than_bare(rows)


def test_a_connection_whose_client_has_changed_networks_is_let_go() -> None:
    """Nobody tells the server that an address will not send any more."""
    scenario = SCENARIOS["gone"]
    rows = minutes.measured(scenario, list(IDLE_SECONDS), wraps=[True])
    if not rows:
        pytest.skip("needs one of " + ", ".join(IDLE_SECONDS))
    (gone,) = scenario.disturbances

    assert {"IDLE"} == {row.outcome for row in rows}
    # What was under way still arrives when the link falls silent; a busy machine is later.
    assert [] == [
        row
        for row in rows
        if row.held_seconds is None
        or not 0.9 <= (row.held_seconds - gone.at_seconds) / IDLE_SECONDS[row.server] < 2
    ]
