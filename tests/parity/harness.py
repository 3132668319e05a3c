"""One scenario, played bare and with drainkit on the same real server, and what was seen compared.

Adding a scenario is adding a function and its right value. The function is told a server that runs,
plays the client (and the neighbour), and returns what it saw::

    @scenario("parity_plain", right={"status": 413}, within={"answer": 0.3})
    def test_a_stranger_is_told_so(server: Running) -> Seen:
        ...
        return Seen({"status": peer.status}, {"answer": peer.whole_seconds})

The decorator makes a test of it, once for each server, that plays it bare and then with drainkit:

- A fact that ``right`` names has that value, with drainkit and bare; bare it may differ if
  ``better`` names it, where the bare server loses answers. Every other fact is the same as bare.
- A time is at most ``margin_seconds`` later than bare. It is within ``within`` too, unless the bare
  server itself is not. A time that is None did not come; where it did not come bare, nothing is
  too late, unless ``better`` says that the bare server may lose.
- The server's log has no trace of an error that the bare server's has not.

By default each scenario is played once on `USUAL` (`USUAL_WSGI` for WSGI applications) and on one
of the other servers, in turn.
``DRAINKIT_TEST_PARITY=5`` in the environment plays each five times on every server.
"""

import functools
import inspect
import itertools
import json
import math
import os
import secrets
import ssl
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.parity.peer import Patience, Peer
from tests.servers.harness import ALL_SERVERS, Running, Server, over_unix

APPLICATIONS = Path(__file__).resolve().parent / "applications"
_RUN = Path(__file__).resolve().parent.parent / "servers" / "run"

# How often each scenario is played, on every server, when the environment says so.
TIMES = int(os.environ.get("DRAINKIT_TEST_PARITY", "0"))

MARGIN_SECONDS = 0.2
# A machine that is busy with something else may be late by itself. Such a time is taken again, and
# the best of all counts. What never came has been looked for often enough (`Patience`).
_TRIES = 3
# A machine that does nothing for so long stood still, and with it whoever waits with a time limit:
# what was wrong then is played again.
_STANDSTILL_SECONDS = 1.0
_TICK_SECONDS = 0.05

# How much of a log a failure shows.
_LOG_CHARACTERS = 1500

# What a log must not tell with drainkit that it does not tell without.
_FAULTS = (
    "Traceback",
    "was never retrieved",
    "was never awaited",
    "Task was destroyed",
    "LateReadError",
)

# What a server does by itself now and then, so that its log says so with drainkit or bare, as it
# falls. hypercorn closes a connection whose client has left in the middle of its upload without the
# lock that its send() takes (trio/tcp_server.py): a send() that begins in the same turn of trio's
# loop raises. Bare, a plain application that sends every 20 ms met it with 5 of 100 such clients.
_BY_CHANCE = {"hypercorn-trio": "trio.BusyResourceError: another task is currently sending"}


def _row(name: str, of: str = "", *options: str, requires: tuple[str, ...] = ()) -> Server:
    row = ALL_SERVERS[of or name]
    return replace(
        row,
        name=name,
        # Where uvloop is installed some servers would choose it: each says its loop here.
        arguments=(*row.arguments, *options),
        requires=(*row.requires, *requires),
        folders=(APPLICATIONS,),
    )


def _tls_row(of: str) -> Server:
    """Return a row that speaks TLS, with a certificate that nobody has signed."""
    row = _row(f"{of}-tls", of, *ALL_SERVERS[of].tls_arguments)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return replace(row, ssl_context=context)


def _own_row(
    name: str,
    script: str,
    *arguments: str,
    requires: tuple[str, ...],
    env: tuple[tuple[str, str], ...] = (),
) -> Server:
    return Server(
        name,
        "wsgi",
        (sys.executable, str(_RUN / script), "{port}", *arguments),
        requires,
        env=env,
        folders=(APPLICATIONS,),
    )


_UVLOOP = ("--loop", "uvloop")
_ASYNCIO = ("--loop", "asyncio")

ASGI_SERVERS: dict[str, Server] = {
    server.name: server
    for server in (
        _row("uvicorn-httptools", "uvicorn-httptools", *_ASYNCIO),
        _row("hypercorn-asyncio", "hypercorn-asyncio"),
        _row("granian-asgi", "granian-asgi", *_ASYNCIO),
        _row("uvicorn-h11", "uvicorn-h11", *_ASYNCIO),
        _row("hypercorn-trio", "hypercorn-trio"),
        _row("gunicorn-asgi", "gunicorn-asgi", "--asgi-loop", "asyncio"),
        _row("uvicorn-httptools-uvloop", "uvicorn-httptools", *_UVLOOP, requires=("uvloop",)),
        _row("uvicorn-h11-uvloop", "uvicorn-h11", *_UVLOOP, requires=("uvloop",)),
    )
}
USUAL = ("uvicorn-httptools", "hypercorn-asyncio", "granian-asgi")
OTHERS = tuple(name for name in ASGI_SERVERS if name not in USUAL)
HTTP2 = ("hypercorn-asyncio", "granian-asgi", "hypercorn-trio")

# Neighbours differ in kind: those that take turns come one behind the other.
WSGI_SERVERS: dict[str, Server] = {
    server.name: server
    for server in (
        _row("gunicorn-gthread"),
        _row("gevent-pywsgi"),
        _row("werkzeug"),
        _row("gunicorn-sync"),
        _row("cheroot"),
        _row("gunicorn-gevent"),
        _row("granian-wsgi"),
        _row("wsgiref"),
        _own_row(
            "gevent-pywsgi-unpatched",
            "run_gevent.py",
            requires=("gevent",),
            env=(("DRAINKIT_TEST_UNPATCHED", "1"),),
        ),
        _row("waitress"),
        _row("uwsgi-http-socket"),
        _row("runserver"),
        _row("gunicorn-gevent_pywsgi"),
        _own_row("paste", "run_paste.py", requires=("paste",)),
        _row("uwsgi-http"),
    )
}
USUAL_WSGI = ("gunicorn-gthread", "gevent-pywsgi")
WSGI = tuple(WSGI_SERVERS)

# Where a scenario is about what stands between server and client.
BESIDE_SERVERS: dict[str, Server] = {
    server.name: server
    for server in (
        _tls_row("cheroot"),
        _tls_row("werkzeug"),
        over_unix(_row("gunicorn-gthread", "", "--threads", "24")),
    )
}
SERVERS = ASGI_SERVERS | WSGI_SERVERS | BESIDE_SERVERS


@dataclass(frozen=True, slots=True)
class Seen:
    """What one run of a scenario saw.

    Attributes:
        facts: What the client, the application and the neighbour saw, by name.
        seconds: When they saw it, by name; None for what did not come.
    """

    facts: Mapping[str, Any]
    seconds: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Right:
    """What is right with drainkit.

    Attributes:
        facts: The right values. A fact that is not here is right when it is as bare.
        better: The facts in which the bare server may be worse.
        within: The longest that each time may be, in seconds, where the bare server keeps it.
        margin_seconds: How much later than bare a time may be.
    """

    facts: Mapping[str, Any]
    better: Collection[str] = ()
    within: Mapping[str, float] = field(default_factory=dict)
    margin_seconds: float = MARGIN_SECONDS

    def wrong_facts(self, bare: Mapping[str, Any], drained: Mapping[str, Any]) -> Iterator[str]:
        """Yield a sentence for each fact that is wrong."""
        for name in sorted({*bare, *drained}):
            right = self.facts.get(name, bare.get(name))
            if name not in self.better and bare.get(name) != right:
                yield f"{name} bare: {bare.get(name)!r} instead of {right!r}"
            if drained.get(name) != right and not (name in self.better and name not in self.facts):
                yield f"{name} with drainkit: {drained.get(name)!r} instead of {right!r}"

    def late(self, bare: Mapping[str, float], drained: Mapping[str, float]) -> dict[str, float]:
        """Return how much too late each time is, in seconds, where one is."""
        found = {}
        for name, seconds in drained.items():
            without = bare.get(name, math.inf)
            latest = without + self.margin_seconds
            within = self.within.get(name, math.inf)
            if without <= within or (self.better and without == math.inf > seconds):
                latest = min(latest, within)
            if seconds > latest:
                found[name] = seconds - latest
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class _Case:
    app: str
    play: Callable[..., Seen]
    right: Right
    policy: dict[str, Any] | None
    causes: Collection[str]


class Stage:
    """Starts the servers that scenarios are played on, and keeps the latest few."""

    def __init__(self, start: Callable[..., Running]) -> None:
        self._start = start

    def compare(self, server: str, case: _Case, parameters: dict[str, Any]) -> list[str]:
        """Play a scenario bare and with drainkit; return what is wrong, a sentence each."""
        actors = [
            self._start(SERVERS[server], case.app, wrap=wrap, policy=case.policy)
            for wrap in (False, True)
        ]
        # The bare server's longest times: what it does now and then may be done with drainkit, too.
        longest: dict[str, float] = {}
        best: dict[str, float] = {}
        wrong: list[str] = []
        late: dict[str, float] = {}
        for _ in range(_TRIES):
            logs = [_log_size(actor) for actor in actors]
            with _Ticking() as ticking:
                seen = [case.play(actor, **parameters) for actor in actors]
            wrong = [*case.right.wrong_facts(seen[0].facts, seen[1].facts)]
            bare, drained = (
                _log_since(actor, size) for actor, size in zip(actors, logs, strict=True)
            )
            chance = _BY_CHANCE.get(server)
            causes = {*case.causes}
            if chance is not None and chance in drained:
                causes.add("Traceback")
            wrong += [
                f"the log says {fault!r} with drainkit"
                for fault in _FAULTS
                if fault in drained and fault not in bare and fault not in causes
            ]
            for name, value in seen[0].seconds.items():
                known = longest.get(name, math.inf)
                if value is not None:
                    longest[name] = value if known == math.inf else max(known, value)
            for name, value in seen[1].seconds.items():
                best[name] = min(math.inf if value is None else value, best.get(name, math.inf))
            late = case.right.late(longest, best)
            is_certain = bool(wrong) or math.inf in late.values()
            is_right = not (wrong or late)
            if is_right or (is_certain and not ticking.stood_still):
                break
        wrong += [
            f"{name}: {best[name]:.2f} s with drainkit, {longest.get(name, math.inf):.2f} s bare"
            for name in late
        ]
        if wrong:
            reports = actors[1].reports()[-3:]
            wrong += [
                f"seen {which}: {one}" for which, one in zip(("bare", "drained"), seen, strict=True)
            ]
            wrong += [f"report: {json.dumps(report)}" for report in reports]
            wrong.append(f"log with drainkit: {_log_since(actors[1], logs[1])[-_LOG_CHARACTERS:]}")
        return wrong


class _Ticking(threading.Thread):
    """Sees whether the machine stands still while something is played.

    Attributes:
        stood_still: Whether it did.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.stood_still = False
        self._ended = threading.Event()

    def __enter__(self) -> "_Ticking":
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        """Look at the clock again and again."""
        before = time.monotonic()
        while not self._ended.wait(_TICK_SECONDS):
            now = time.monotonic()
            self.stood_still |= now - before > _STANDSTILL_SECONDS
            before = now


def _log_size(actor: Running) -> int:
    return actor.log_path.stat().st_size


def _log_since(actor: Running, size: int) -> str:
    return actor.log_path.read_bytes()[size:].decode("utf-8", "replace")


_turns: dict[str, Iterator[int]] = defaultdict(itertools.count)


def _servers_for(
    module: str, able: Collection[str], unable: Mapping[str, str], *, takes_turns: bool
) -> list[Any]:
    able = [name for name in SERVERS if name in able]
    usual = (*USUAL, *USUAL_WSGI)
    others = [name for name in able if name not in usual and name not in unable]
    chosen = able
    if takes_turns and others and not TIMES:
        other = others[next(_turns[module]) % len(others)]
        chosen = [name for name in able if name in usual or name == other]
    return [
        pytest.param(name, marks=pytest.mark.skip(unable[name]) if name in unable else ())
        for name in chosen
    ]


def scenario(
    app: str,
    *,
    right: Mapping[str, Any],
    better: Collection[str] = (),
    within: Mapping[str, float] | None = None,
    margin_seconds: float = MARGIN_SECONDS,
    policy: dict[str, Any] | None = None,
    causes: Collection[str] = (),
    servers: Collection[str] = tuple(ASGI_SERVERS),
    takes_turns: bool = True,
    is_repeated: bool = True,
    unable: Mapping[str, str] | None = None,
    requires: tuple[str, ...] = (),
) -> Callable[[Callable[..., Seen]], Callable[..., None]]:
    """Make a test of a function that plays a scenario.

    Args:
        app: The module in ``applications`` that is served.
        right: The facts that are right.
        better: The facts in which the bare server may be worse.
        within: The longest that each time may be, where the bare server keeps it.
        margin_seconds: How much later than bare a time may be.
        policy: The fields of drainkit's policy that are not at their defaults.
        causes: What the log may say because the application does it on purpose.
        servers: The servers that it is for; those of ASGI unless told otherwise.
        takes_turns: Whether by default one of the servers that are not `USUAL` is enough.
        is_repeated: Whether to play it as often as the environment says. Not, where that makes
            more of them anyway.
        unable: The servers among those that cannot play it, and why.
        requires: The modules that it needs besides those of its server.
    """
    judged = Right(facts=right, better=better, within=within or {}, margin_seconds=margin_seconds)

    def decorate(play: Callable[..., Seen]) -> Callable[..., None]:
        case = _Case(app=app, play=play, right=judged, policy=policy, causes=causes)

        def test(stage: Stage, server: str, **parameters: Any) -> None:
            for module in requires:
                pytest.importorskip(module)
            for _ in range(max(TIMES, 1) if is_repeated else 1):
                wrong = stage.compare(server, case, parameters)

                assert [] == wrong, "\n".join(wrong)

        functools.update_wrapper(test, play)
        # pytest gives what the signature names: the scenario's own parameters, and the stage.
        own = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in inspect.signature(play).parameters.values()
        ]
        stage = inspect.Parameter("stage", inspect.Parameter.KEYWORD_ONLY)
        test.__signature__ = inspect.Signature([stage, *own])  # type: ignore[attr-defined]
        del test.__wrapped__  # type: ignore[attr-defined]
        names = _servers_for(play.__module__, servers, unable or {}, takes_turns=takes_turns)
        return pytest.mark.parametrize("server", names)(test)

    return decorate


def new_run() -> str:
    """Return a name for one run of a scenario; the application keeps its notes under it."""
    return secrets.token_hex(6)


def notes(server: Running, run: str, timeout_seconds: float = 5.0) -> dict[str, Any]:
    """Return what the application wrote down in a run."""
    with Peer(server.address) as peer:
        peer.request(f"/notes?run={run}", "GET", headers=["Connection: close"])
        if not peer.wait_for_end(timeout_seconds):
            return {}
        seen: dict[str, Any] = json.loads(peer.body)
        return seen


def notes_once(
    server: Running, run: str, ready: Callable[[dict[str, Any]], bool], timeout_seconds: float
) -> dict[str, Any]:
    """Return what the application wrote down, once it is enough or the time is up."""
    patience = Patience(timeout_seconds)
    while not ready(seen := notes(server, run)) and patience.lasts():
        time.sleep(0.02)
    return seen
