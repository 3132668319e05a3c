"""What a verdict says: what was seen, and no more than the number of tries allows."""

import itertools

import pytest

from drainkit_clients import Answer
from drainkit_probe import CLIENTS, Attempt, Kind, Plan, Reuse, Run, Target, conclude
from drainkit_probe._chance import tells, unseen_percent
from tests.adapters.probed import KIB, MIB

STRICT, EAGER = CLIENTS["strict"], CLIENTS["eager"]
BROWSERS = "clients like browsers and Python's http.client"
CURL = "clients like curl"
CHANCE = " With so few tries the difference may be chance; more --tries tell."


def made(
    client="strict", way="keep-alive", size=8 * MIB, *, lost=False, early=True, status=413, body=b""
):
    """Return an upload and what became of it."""
    sent = size // 2 if lost else size
    cell = next(cell for cell in ALL.cells if spot(cell) == (client, way, size))
    answer = Answer(
        status=None if lost else status, headers=(), body=body, complete=not lost,
        sent_bytes=sent, error="ConnectionResetError while sending after 7 bytes" if lost else None,
        first_byte_seconds=None if lost else 1.0, sent_at_first_byte_bytes=None if lost else sent,
        seconds=1.0, ended="reset" if lost else "fin", noticed_seconds=0.5,
        sent_at_noticed_bytes=size // 4 if early else size,
    )  # fmt: skip
    return Attempt(cell, 1, answer, "reset" if lost else "fin", Reuse.UNTRIED)


def spot(cell):
    return (cell.client.name, cell.way.name, cell.size_bytes)


ALL = Plan(sizes=(64 * KIB, 8 * MIB, 32 * MIB))


def verdict(*attempts, url="http://a.test/"):
    """Return what these uploads come to."""
    run = Run(Target.parse(url), ALL)
    run.attempts += attempts
    return conclude(run).verdict


def several(number, *arguments, losses=0, **more):
    return [made(*arguments, lost=index < losses, **more) for index in range(number)]


@pytest.mark.parametrize(
    ("tries", "claims"), [(1, False), (2, False), (3, True), (10, True)]
)  # fmt: skip
def test_a_difference_between_clients_is_claimed_when_chance_is_unlikely(tries, claims):
    """One try each says nothing: 1 of 1 against 0 of 1 comes by chance half of the time."""
    sentence = verdict(*several(tries, "strict", losses=tries), *several(tries, "eager")).sentence

    were = "was" if tries == 1 else "were"
    assert sentence == (
        f"{tries} of {2 * tries} answers {were} lost: at 8 MiB, for {BROWSERS} ({tries} of "
        f"{tries}), not for {CURL} (0 of {tries})." + ("" if claims else CHANCE)
    )


def test_one_answer_of_twelve_says_nothing_about_clients():
    """Behind a proxy that stores uploads the client cannot matter, and either may be the one."""
    replaced = made("eager", status=502, body=b"<center>nginx")
    sentence = verdict(replaced, *several(5, "eager"), *several(6, "strict")).sentence

    assert sentence == (
        "1 of 12 answers was replaced by a 502 in the words of nginx: at 8 MiB, "
        f"for {CURL} (1 of 6), not for {BROWSERS} (0 of 6)." + CHANCE
    )


def test_uploads_that_cannot_be_compared_are_not_counted():
    """Small uploads of a client prove nothing about large ones."""
    sentence = verdict(
        *several(2, "strict", losses=2), *several(9, "eager", "keep-alive", 64 * KIB)
    ).sentence

    assert f"at 8 MiB, for {BROWSERS}." in sentence


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ((0, 0, 3), "from about 16 MiB on"),
        ((0, 3, 3), "from about 4 MiB on"),
        ((3, 3, 3), "already at 64 KiB"),
        ((3, 0, 0), "at 64 KiB"),
        ((0, 3, 0), "at 8 MiB"),
        ((3, 0, 3), "at 64 KiB and 32 MiB"),
        ((0, 0, 1), "at 32 MiB"),
        ((1, 1, 1), "already at 64 KiB"),
    ],
)
def test_from_a_size_on_is_said_of_a_ladder_that_tells_it(losses, said):
    """Neither when a larger size was spared nor when one try of three makes the difference."""
    strict = [
        several(3, "strict", "keep-alive", size, losses=number)
        for size, number in zip(ALL.sizes, losses, strict=True)
    ]
    eager = [several(3, "eager", "keep-alive", size) for size in ALL.sizes]
    sentence = verdict(*itertools.chain(*strict, *eager)).sentence

    assert f"lost: {said}, for {BROWSERS} (" in sentence


@pytest.mark.parametrize(("tries", "claims"), [(1, False), (3, True)])
def test_a_difference_between_ways_is_claimed_when_chance_is_unlikely(tries, claims):
    """Uvicorn loses answers with "Connection: close" only; one try cannot tell."""
    sentence = verdict(
        *several(tries, "strict", "keep-alive"),
        *several(tries, "strict", "close", losses=tries),
        *several(tries, "eager", "close", losses=tries),
        *several(tries, "eager", "keep-alive"),
    ).sentence

    assert 'lost: with "Connection: close" at 8 MiB, for every kind of client.' in sentence
    assert claims is not sentence.endswith(CHANCE)


@pytest.mark.parametrize(("early", "percent"), [(2, 77), (4, 52), (12, 22), (36, 7)])
def test_a_run_without_a_loss_says_what_it_leaves_open(early, percent):
    """Were that many lost, so many in a row would still arrive in one run of twenty."""
    result = verdict(*several(early), made(early=False))

    assert Kind.DELIVERED is result.kind
    assert (
        f"All {early + 1} answers arrived, {early} of them early: nothing was lost."
        == result.sentence
    )
    assert (
        f"A loss is a race. If {percent} % of early answers were lost, {early} in a row would "
        "still arrive in one run of twenty; more --tries tell more." == result.notes[0]
    )
    assert (1 - percent / 100) ** early >= 0.05


def test_what_cannot_be_seen_is_not_denied():
    """Over TLS an answer is seen when it is read, and these clients send first."""
    attempt = made(early=False)
    hidden = verdict(attempt, url="https://a.test/").sentence
    seen = verdict(attempt, made("eager", early=False), url="https://a.test/").sentence

    assert (
        "The answer arrived, but whether it was early cannot be seen over TLS by this client."
        == hidden
    )
    assert (
        "All 2 answers arrived, but none was early: each came after its whole upload was sent."
        == seen
    )


def test_one_answer_is_spoken_of_as_one():
    result = verdict(made())

    assert "The answer arrived, and it was early: nothing was lost." == result.sentence
    assert "If 95 % of early answers were lost, one would still arrive" in result.notes[0]
    assert (
        "The answer arrived, but not early: it came after the whole upload was sent."
        == verdict(made(early=False)).sentence
    )


def test_when_none_arrived_nothing_is_said_about_sizes_and_clients():
    assert "No answer arrived: 1 upload, and it was lost." == verdict(made(lost=True)).sentence
    assert (
        "No answer arrived: 2 uploads, and all were lost."
        == verdict(*several(2, losses=2)).sentence
    )


def test_the_rule_is_fishers():
    """Checked by counting: of all ways in which losses can fall, how many spare the others?"""
    for tried, other in itertools.product(range(1, 7), range(1, 7)):
        for lost in range(1, tried + 1):
            falls = list(itertools.combinations(range(tried + other), lost))
            spare = sum(all(place < tried for place in fall) for fall in falls)

            assert tells(lost, tried, other) is (spare / len(falls) <= 0.05 + 1e-12)


def test_enough_tries_leave_nothing_worth_a_word():
    assert 0 == unseen_percent(300)
