"""Random scenarios for WSGI servers, as those of ``test_random`` for ASGI servers.

Reads before, between and behind the pieces of the answer, in lists, generators and ``write()``.
"""

import random

import pytest

from tests.parity.harness import TIMES, USUAL_WSGI, WSGI, Seen, scenario
from tests.parity.test_random import RIGHT, Plan, play
from tests.servers.harness import Running

pytestmark = pytest.mark.server

SEEDS = range(2_000, 2_000 + 16 * max(1, TIMES))
SEEDS_OF_OTHERS = range(3_000, 3_000 + 2 * max(1, TIMES))

# Less than late_read_bytes: a late read gets all of it.
_BODY_BYTES = (1, 20, 1_000, 20_000, 100_000, 400_000, 900_000)
_PIECE_BYTES = (0, 1, 10, 1_000, 20_000, 70_000, 200_000)
_PAUSES_SECONDS = (0.0, 0.0, 0.0, 0.005, 0.03)
_READS = ("", "", "", "r1", "r5000", "n", "R")
_PAUSES = ("", "", "p1", "p30")


def plan_of(seed: int) -> Plan:
    """Return the plan that a seed stands for."""
    dice = random.Random(seed)
    how = dice.choice(("list", "generator", "generator", "lazy"))
    pieces = [dice.choice(_PIECE_BYTES) for _ in range(dice.randint(1, 4))]
    status = dice.choice((200, 200, 401, 413))
    with_length = status == 200 and dice.random() < 0.5
    # The first may go through write().
    kinds = [dice.choice("bbbw"), *"bbb"]
    steps = [dice.choice(_READS), dice.choice(_PAUSES)]
    steps.append(f"l{sum(pieces)}" if with_length else f"s{status}")
    for kind, nbytes in zip(kinds, pieces, strict=False):
        steps += [f"{kind}{nbytes}", dice.choice(_READS), dice.choice(_PAUSES)]
    return Plan(
        target=f"/scripted/{how}?run=",
        steps=" ".join(" ".join(steps).split()),
        status=status,
        answer_bytes=sum(pieces),
        body_bytes=dice.choice(_BODY_BYTES),
        chunked=dice.random() < 0.2,
        pieces=dice.randint(1, 6),
        pause_seconds=dice.choice(_PAUSES_SECONDS),
        reads=dice.random() < 0.6,
        leaves=dice.choice((None, None, None, None, "within the upload", "within the answer")),
    )


def _play(server: Running, seed: int) -> Seen:
    plan = plan_of(seed)
    seen = play(server, plan)
    if plan.leaves is None:
        return seen
    # To a server, or to its application, a client that leaves is often the end of the body.
    return Seen({**seen.facts, "hole": False}, seen.seconds)


@scenario(
    "parity_wsgi",
    right=RIGHT,
    better=("error", "hole"),
    causes=("LateReadError", "Traceback"),
    margin_seconds=0.7,
    servers=USUAL_WSGI,
    is_repeated=False,
)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_client_sees_what_it_sees_bare(server: Running, seed: int) -> Seen:
    return _play(server, seed)


@scenario(
    "parity_wsgi",
    right=RIGHT,
    better=("error", "hole"),
    causes=("LateReadError", "Traceback"),
    margin_seconds=0.7,
    servers=[name for name in WSGI if name not in USUAL_WSGI],
    takes_turns=False,
    is_repeated=False,
)
@pytest.mark.parametrize("seed", SEEDS_OF_OTHERS)
def test_a_random_client_of_other_servers_sees_what_it_sees_bare(
    server: Running, seed: int
) -> Seen:
    return _play(server, seed)
