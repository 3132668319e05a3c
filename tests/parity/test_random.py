"""Random scenarios: a client and an application that nobody thought of, from fixed seeds.

Sizes, pieces and pauses; reads before, between and behind the pieces of the answer; a client that
reads at once or only behind its upload, and one that leaves. What the client sees is what it sees
bare, byte for byte and as early; what the application reads has no hole and no end before its end.
"""

import random
import time
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

import pytest

from tests.parity.harness import OTHERS, TIMES, USUAL, Seen, new_run, notes_once, scenario
from tests.parity.peer import Peer, chunk
from tests.servers.harness import Running

pytestmark = pytest.mark.server

SEEDS = range(32 * max(1, TIMES))
SEEDS_OF_OTHERS = range(1_000, 1_000 + 12 * max(1, TIMES))

# Less than late_read_bytes: a late read gets all of it.
_BODY_BYTES = (1, 20, 1_000, 20_000, 100_000, 400_000, 900_000)
# The last fits no buffer: the server waits for the client to read.
_PIECE_BYTES = (0, 1, 10, 1_000, 20_000, 70_000, 6_000_000)
_PAUSES_SECONDS = (0.0, 0.0, 0.0, 0.005, 0.03)
_READS = ("", "", "r1", "r2", "R")
_PAUSES = ("", "", "p1", "p30")
_ALPHABET = b"abcdefghijklmnopqrstuvwxyz"
# How long a server may take, by itself, to let an application go that waits for a client which has
# left. gunicorn's flow control does not wake at the end of a connection: whether the application
# waits there falls as the loop's turns do, and if it does, it is cancelled after
# asgi_disconnect_grace_period (gunicorn/asgi/protocol.py, connection_lost).
_LETS_GO_SECONDS = {"gunicorn-asgi": 3.0}
_DONE_WAIT_SECONDS = 6.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What one random client and application do.

    Attributes:
        target: The path and the query's beginning, up to the run.
        steps: What the application does (its ``scripted``).
        status: The answer's status.
        answer_bytes: The length of its body.
        body_bytes: The length of the request's body.
        chunked: Whether that has chunks instead of a length.
        pieces: In how many pieces it is sent; the first along with the headers.
        pause_seconds: The wait behind each piece.
        reads: Whether the client reads while it sends.
        leaves: When the client leaves; None if it has the answer first.
    """

    target: str
    steps: str
    status: int
    answer_bytes: int
    body_bytes: int
    chunked: bool
    pieces: int
    pause_seconds: float
    reads: bool
    leaves: Literal["within the upload", "within the answer"] | None


def plan_of(seed: int) -> Plan:
    """Return the plan that a seed stands for."""
    dice = random.Random(seed)
    pieces = [dice.choice(_PIECE_BYTES) for _ in range(dice.randint(1, 4))]
    # What is read behind a piece that waits for the client was read ahead.
    is_late = dice.random() < 0.3
    if is_late:
        pieces = [_PIECE_BYTES[-1], *pieces]
    status = dice.choice((200, 200, 401, 413))
    with_length = status == 200 and dice.random() < 0.5
    steps = ["" if is_late else dice.choice(_READS), dice.choice(_PAUSES)]
    steps.append(f"l{sum(pieces)}" if with_length else f"s{status}")
    for place, nbytes in enumerate(pieces[:-1]):
        reads = "" if is_late and place == 0 else dice.choice(_READS)
        steps += [reads, dice.choice(_PAUSES), f"b{nbytes}"]
    steps += [dice.choice(_READS), dice.choice(_PAUSES), f"e{pieces[-1]}"]
    steps += [dice.choice(("", "", "r1", "p30", "p30 r1"))]
    return Plan(
        target="/scripted?run=",
        steps=" ".join(" ".join(steps).split()),
        status=status,
        answer_bytes=sum(pieces),
        body_bytes=dice.choice(_BODY_BYTES[4:] if is_late else _BODY_BYTES),
        chunked=dice.random() < 0.4,
        pieces=dice.randint(1, 6),
        pause_seconds=dice.choice(_PAUSES_SECONDS),
        reads=not is_late and dice.random() < 0.6,
        leaves=dice.choice((None, None, None, None, "within the upload", "within the answer")),
    )


def _repeated(nbytes: int) -> bytes:
    return (_ALPHABET * (nbytes // 26 + 1))[:nbytes]


def _send(peer: Peer, plan: Plan, run: str) -> None:
    body = _repeated(plan.body_bytes)
    step = -(-len(body) // plan.pieces)
    pieces = [body[start : start + step] for start in range(0, len(body), step)]
    kept = len(pieces) // 2 if plan.leaves == "within the upload" else len(pieces)
    wire = [chunk(piece) if plan.chunked else piece for piece in pieces]
    if plan.chunked:
        wire[-1] += chunk(b"")
    peer.request(
        f"{plan.target}{run}&steps={quote(plan.steps)}",
        length=None if plan.chunked else len(body),
        headers=["Transfer-Encoding: chunked"] if plan.chunked else [],
        body=wire[0] if kept else b"",
    )
    for piece in wire[1:kept]:
        if plan.reads:
            peer.wait(lambda: False, plan.pause_seconds)
        else:
            time.sleep(plan.pause_seconds)
        if not peer.write(piece, 3.0):
            return


def play(server: Running, plan: Plan) -> Seen:
    """Play a plan, and see what the client and the application see."""
    run = new_run()
    with Peer(server.address) as peer:
        _send(peer, plan, run)
        if plan.leaves == "within the answer":
            peer.wait_for_body(max(1, plan.answer_bytes // 2), 3.0)
        elif plan.leaves is None:
            peer.wait_for_end(3.0)
    seen = notes_once(server, run, lambda seen: "done" in seen, _DONE_WAIT_SECONDS)
    done = seen.get("done")
    if plan.leaves is not None and done is not None:
        done = max(done, _LETS_GO_SECONDS.get(server.server.name, 0.0))
    read = seen.get("read", {"bytes": 0, "in_order": True, "ended": False})
    is_whole = peer.is_whole and plan.leaves is None
    answer = (peer.status, len(peer.body)) if is_whole else None
    expected = (plan.status, plan.answer_bytes)
    return Seen(
        {
            "false": not _repeated(plan.answer_bytes).startswith(peer.body)
            or answer not in (None, expected),
            "in_order": read["in_order"],
            "hole": read["ended"] and read["bytes"] != plan.body_bytes,
            # Who leaves, or has no answer, makes errors by chance.
            "error": seen.get("error") if is_whole else None,
        },
        {
            "head": peer.head_seconds if is_whole else None,
            "body": peer.body_seconds if is_whole else None,
            "whole": peer.whole_seconds if is_whole else None,
            "done": done,
        },
    )


# Whatever the seed.
RIGHT = {"false": False, "in_order": True, "hole": False}


@scenario("parity_plain", right=RIGHT, margin_seconds=0.5, servers=USUAL, is_repeated=False)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_client_sees_what_it_sees_bare(server: Running, seed: int) -> Seen:
    return play(server, plan_of(seed))


@scenario(
    "parity_plain",
    right=RIGHT,
    margin_seconds=0.5,
    servers=OTHERS,
    takes_turns=False,
    is_repeated=False,
)
@pytest.mark.parametrize("seed", SEEDS_OF_OTHERS)
def test_a_random_client_of_other_servers_sees_what_it_sees_bare(
    server: Running, seed: int
) -> Seen:
    return play(server, plan_of(seed))
