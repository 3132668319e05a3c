"""Which stage of an answer leads to which, found by trying: no transition is written here.

A shell that does what the plans say goes every way that small answers offer it, with the moments of
every server.
"""

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from drainkit import (
    RESPONSE_BUFFER_BYTES,
    BodyKind,
    Capacity,
    Drain,
    DrainPolicy,
    Framing,
    Moments,
    Order,
    Plan,
    Stage,
)

_LENGTH = 5
_PIECES = (_LENGTH, RESPONSE_BUFFER_BYTES + 1)
_LAST = frozenset({Plan.DISCARD_FIRST, Plan.DISCARD_BETWEEN, Plan.DISCARD_BEHIND, Plan.END})
# Longer answers only repeat: with one call more nothing is found that was not.
MOST_CALLS = 6


@dataclass(frozen=True)
class Transition:
    """One stage leads to another.

    Attributes:
        before: The stage.
        after: The other.
        calls: The calls of `Order` that lead there.
        plans: What these answer.
    """

    before: Stage
    after: Stage
    calls: tuple[str, ...]
    plans: tuple[Plan, ...]


class _Shell:
    """One answer half-way."""

    def __init__(self, moments: Moments, *, sends_while_reading: bool, expects: bool) -> None:
        framing = Framing(BodyKind.CHUNKED, expects_continue=expects)
        self.drain = Drain(DrainPolicy(), framing, capacity=Capacity())
        self.order = Order(self.drain, moments, sends_while_reading=sends_while_reading)
        self.can_wait = sends_while_reading
        self.held_bytes = 0
        self.is_sent = False
        self.has_trailers = False
        self.is_at_end = False
        self.told: list[tuple[Stage, str, Plan | None, Stage]] = []

    def copied(self) -> "_Shell":
        shell = copy.copy(self)
        shell.drain = copy.copy(self.drain)
        shell.order = copy.copy(self.order)
        shell.order._drain = shell.drain
        shell.told = []
        return shell

    @property
    def key(self) -> tuple[object, ...]:
        order = self.order
        return (
            *(order.stage, order.status, order.length, order.passed_bytes, order.is_patient),
            *(self.drain.invited, self.drain.settled),
            *(self.held_bytes, self.is_sent, self.has_trailers, self.is_at_end),
        )

    def call(self, name: str, function: Callable[[], Plan | None]) -> Plan | None:
        """Call the order, and take note of where it led."""
        before = self.order.stage
        plan = function()
        self.told.append((before, name, plan, self.order.stage))
        return plan

    def do(self, plan: Plan | None, nbytes: int) -> None:
        """Do what a plan says with what was held and so many bytes more."""
        if plan is Plan.HOLD:
            self.held_bytes += nbytes
            return
        self.is_at_end = plan in _LAST
        self.release()
        nbytes, self.held_bytes = self.held_bytes + nbytes, 0
        self.call("passed", lambda: self.order.passed(nbytes))

    def release(self) -> None:
        if not self.is_sent:
            self.is_sent = True
            self.call("released", self.order.released)

    # --- what may happen next, each as a function of the shell ------------------------------------

    def start(self, status: int, length: int | None, has_trailers: bool) -> None:
        self.has_trailers = has_trailers
        plan = self.call(
            "start", lambda: self.order.start(status, length, has_trailers=has_trailers)
        )
        self.is_sent = plan is Plan.PASS

    def piece(self, nbytes: int, more: bool) -> None:
        told = self.held_bytes + nbytes
        plan = self.call("piece", lambda: self.order.piece(told, more=more))
        self.do(plan, nbytes)

    def wait_no_longer(self) -> None:
        self.order.is_patient = False
        self.piece(0, True)

    def end_with_trailers(self) -> None:
        self.release()
        self.call("end_with_trailers", self.order.end_with_trailers)
        self.is_at_end = True

    def end_with_file(self) -> None:
        self.call("end_with_file", self.order.end_with_file)
        self.is_at_end = True

    def settle(self) -> None:
        self.drain.app_read(0, more=False)

    def end(self) -> None:
        self.release()
        self.call("ended", self.order.ended)

    def cut(self) -> None:
        self.call("cut", self.order.cut)

    def moves(self) -> Iterator[Callable[["_Shell"], None]]:
        """Return what may happen next."""
        stage = self.order.stage
        if not self.drain.settled:
            yield _Shell.settle
        if stage is Stage.EXPECTED:
            trailers = (False, True) if self.can_wait else (False,)
            for start in itertools.product((200, 413), (None, _LENGTH), trailers):
                yield lambda shell, start=start: shell.start(*start)
            return
        if stage is not Stage.CUT:
            yield _Shell.cut
        if self.is_at_end and stage not in (Stage.ENDED, Stage.CUT):
            yield _Shell.end
        if self.is_at_end or self.order.is_over:
            return
        yield _Shell.wait_no_longer if self.held_bytes else _Shell.release
        mores = (True,) if self.has_trailers else (True, False)
        for piece in itertools.product(_PIECES, mores):
            yield lambda shell, piece=piece: shell.piece(*piece)
        if self.has_trailers and not self.held_bytes:
            yield _Shell.end_with_trailers
        if not self.order.passed_bytes and not self.held_bytes:
            yield _Shell.end_with_file


def _tried(moments: Moments, *, sends_while_reading: bool, most_calls: int) -> Iterator[_Shell]:
    shells = [
        _Shell(moments, sends_while_reading=sends_while_reading, expects=expects)
        for expects in (False, True)
    ]
    known = {shell.key for shell in shells}
    for _ in range(most_calls):
        following = []
        for shell in shells:
            for move in shell.moves():
                after = shell.copied()
                move(after)
                yield after
                if after.key not in known:
                    known.add(after.key)
                    following.append(after)
        shells = following


def transitions(
    rows: Iterable[tuple[Moments, bool]], *, most_calls: int = MOST_CALLS
) -> list[Transition]:
    """Return which stage leads to which.

    Args:
        rows: What servers allow, and whether their shell sends while it reads.
        most_calls: How long the answers are that are tried.
    """
    found: dict[tuple[Stage, Stage], tuple[set[str], set[Plan]]] = {}
    for moments, sends_while_reading in set(rows):
        for shell in _tried(
            moments, sends_while_reading=sends_while_reading, most_calls=most_calls
        ):
            for before, call, plan, after in shell.told:
                if before is not after:
                    calls, plans = found.setdefault((before, after), (set(), set()))
                    calls.add(call)
                    plans |= {plan} if plan is not None else set()
    stages, all_plans = list(Stage), list(Plan)
    return [
        Transition(before, after, tuple(sorted(calls)), tuple(sorted(plans, key=all_plans.index)))
        for (before, after), (calls, plans) in sorted(
            found.items(), key=lambda item: [stages.index(stage) for stage in item[0]]
        )
    ]
