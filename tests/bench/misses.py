"""Why figures miss their target: the words stand here, and each number in them is a figure's.

Rule: a number that was tried by hand, and is in no figure, has its date.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.bench.alternatives import CONTROL, DRAINKIT, LEAST, NONE
from tests.bench.names import CPU, CPU_RATIO, EARLY, EARLY_LONG, GET, INSTRUCTIONS_RATIO, READ
from tests.bench.results import Figure, Results
from tests.bench.table import number
from tests.bench.targets import judged

_SERVERS = "servers"
_INSTRUCTIONS = "server instructions"
_DISCARDING = "discarding"
_KEPT = "discard, heap kept"
_OWN_LOOP = "speed / own loop's"
_CHUNK = f"{EARLY}; the body is one chunk"
_LATE = f"{EARLY}; half of the body comes 2 ms late"
_PIECES = f"{EARLY} in two pieces"
# A loop that is slower than so much of the other is not the same loop.
_SAME_LOOP = 0.9


def misses(results: Results) -> str:
    """Return the reasons as a list."""
    return "".join(f"- **{name}:** {' '.join(words)}\n" for name, words in _reasons(results))


def _reasons(results: Results) -> Iterator[tuple[str, list[str]]]:
    yield (
        "In process",
        [
            "*Floors and parts* has the least that a middleware in Python can cost, and of what",
            "drainkit's objects are made. What a body costs beyond that is its framing, its drain,",
            "the handle for the application and the state of the response, each made once for a",
            "request that has one. A request without a body costs a test of its headers.",
        ],
    )
    yield (
        "Import",
        ["most of it is the standard library's, which every framework imports anyway."],
    )
    yield "Discarding", list(_discarding(results))
    yield (
        "Memory",
        [
            "gunicorn's own reader would hold up to a MiB and copy it; during a drain it receives",
            "128 KiB at once. It varies on gthread because glibc gives each of its threads a heap",
            "of its own: the first drain in a thread makes one grow, and nobody can tell which",
            "thread is next.",
        ],
    )
    yield "Whole servers", list(_whole_servers(results))
    if found := _missing(results, _INSTRUCTIONS, GET, INSTRUCTIONS_RATIO):
        yield (
            "A GET on whole servers",
            [
                "drainkit looks for a body in the header fields, and that is all. So does the",
                "least middleware, which stands in brackets:",
                f"{_beside_least(results, _INSTRUCTIONS, found, digits=3)}.",
            ],
        )
    if found := _missing(results, _SERVERS, READ, CPU_RATIO):
        yield (
            "A POST that is read",
            [
                "its framing, its handle and the count of each read or message, as in process; the",
                "less a server needs itself, the larger a part they are. The least middleware,",
                "which counts too and has neither, stands in brackets:",
                f"{_beside_least(results, _SERVERS, found)}.",
            ],
        )
    if found := _missing(results, _SERVERS, EARLY, CPU_RATIO):
        yield (
            "A plain early answer",
            [
                "the body is framed, what has come of it is taken, and the answer has a state, as",
                "more of it may come. The least middleware, which leaves the body where it is,",
                "stands in brackets:",
                f"{_beside_least(results, _SERVERS, found)}.",
            ],
        )
    yield "granian WSGI", list(_granian_wsgi(results))
    yield "granian ASGI", list(_granian_asgi(results))
    yield "hypercorn on trio", list(_trio(results))
    yield "A body that comes late", list(_late(results))


def _discarding(results: Results) -> Iterator[str]:
    loops = {
        figure.where: figure.median
        for figure in _figures(results, _DISCARDING, case=_KEPT, measure=_OWN_LOOP)
    }
    slower = {name: ratio for name, ratio in loops.items() if ratio < _SAME_LOOP}
    same = {name: ratio for name, ratio in loops.items() if ratio >= _SAME_LOOP}
    if same:
        yield (
            f"with the heap kept for both, drainkit's loop is the server's own with one or two "
            f"looks at the clock and the bounds on {', '.join(same)}: "
            f"{number(min(same.values()))} to {number(max(same.values()))} of its speed."
        )
    if slower:
        listed = ", ".join(f"{name} ({number(ratio)})" for name, ratio in slower.items())
        yield (
            f"It is slower than that on {listed}. *The server's own loop* has the size of read "
            f"that is fastest there, and on gunicorn drainkit has it receive less at once, for the "
            f"sake of memory."
        )
    yield "On granian hardly a page is made anew in either, so there is nothing to gain."


def _whole_servers(results: Results) -> Iterator[str]:
    yield "what drainkit adds is more there than in process, where everything stays in the"
    yield "processor's caches. The least middleware is the floor, and *Profile* has what drainkit"
    yield "does beyond it. Where *without, again* differs from 1 by more than drainkit does, this"
    yield "machine cannot tell. Requests a second and the slowest of them are noisier than CPU"
    yield "time."
    met = {
        contender: [
            target.verdict(figure).startswith("met")
            for target, figure in judged(results, contender)
            if target.section == _SERVERS
        ]
        for contender in (CONTROL, LEAST, DRAINKIT)
    }
    if all(met.values()):
        yield (
            f"Of the {len(met[CONTROL])} ratios, no middleware beside itself meets the target in "
            f"{sum(met[CONTROL])}, the least middleware in {sum(met[LEAST])}, and drainkit in "
            f"{sum(met[DRAINKIT])}."
        )


def _granian_wsgi(results: Results) -> Iterator[str]:
    yield "nothing tells whether a body has come, so that each is read, behind its answer. And"
    yield "granian closes no list, so that an early answer is given to it as something else, which"
    yield "it streams. The rest is as many steps of Python as on every server."
    costs = {
        figure.where: figure.median
        for figure in _figures(results, _SERVERS, case=EARLY, measure=CPU, contender=NONE)
        if figure.where.startswith(("granian-wsgi", "gunicorn-", "cheroot", "waitress"))
        and figure.where != "gunicorn-asgi"
    }
    own = costs.pop("granian-wsgi", None)
    if own is not None and costs:
        yield (
            f"A POST that is answered early costs it {number(own)} µs without drainkit, and "
            f"{number(min(costs.values()))} to {number(max(costs.values()))} µs the other servers "
            f"for WSGI."
        )


def _granian_asgi(results: Results) -> Iterator[str]:
    yield "its `receive()` goes through two other threads, also for a body that came with its"
    yield "header fields. A middleware that does nothing but receive once behind the answer cost"
    yield "1.22 to 1.24 there (tried by hand, 2026-11-26), which leaves next to nothing of the"
    yield "target for bounds, counts and reports. Nothing more is done for an answer of one piece"
    yield "to a body with a Content-Length. Behind another answer, and for a chunked body, a drain"
    yield "with its bounds is made, and a task receives."
    yield from _dear(results, "granian-asgi", (_PIECES, _CHUNK))


def _trio(results: Results) -> Iterator[str]:
    yield "a small body with a Content-Length that has come is taken off the server's channel"
    yield "before the application is called, and that is all. How long a chunked body is nobody"
    yield "knows then, and 64 KiB rarely have come. For both a nursery is opened around the"
    yield "application, and the drain gets a task with a cancel scope of its own:"
    yield "under trio a `receive()` that was begun cannot be left for later, as under asyncio."
    yield from _dear(results, "hypercorn-trio", (_CHUNK, EARLY_LONG))
    yield "Half of a body that comes late needs the same. It shows less, because without drainkit"
    yield "hypercorn closes that connection, and the next request pays for a new one."


def _late(results: Results) -> Iterator[str]:
    yield "half of a body makes a drain with its bounds and a task of its own."
    worst = max(
        _figures(results, _SERVERS, case=_LATE, measure=CPU_RATIO),
        key=lambda figure: figure.median,
        default=None,
    )
    if worst is not None:
        yield from _dear(results, worst.where, (_LATE,))


def _dear(results: Results, where: str, cases: Iterable[str]) -> Iterator[str]:
    """Tell what requests cost on a server, beside those without drainkit."""
    told = []
    for case in cases:
        ratio, own, bare = (
            next(iter(_figures(results, _SERVERS, where=where, case=case, **which)), None)
            for which in (
                {"measure": CPU_RATIO},
                {"measure": CPU},
                {"measure": CPU, "contender": NONE},
            )
        )
        if ratio and own and bare:
            told.append(f"{number(ratio.median)} for *{case}* ({_more(own.median - bare.median)})")
    if told:
        yield f"On {where} that is {' and '.join(told)}."


def _more(microseconds: float) -> str:
    return f"{number(abs(microseconds))} µs {'more' if microseconds >= 0 else 'less'}"


def _missing(results: Results, section: str, case: str, measure: str) -> list[Figure]:
    """Return drainkit's figures of one kind of request that miss their target."""
    return [
        figure
        for target, figure in judged(results)
        if (target.section, figure.case, figure.measure) == (section, case, measure)
        and not target.verdict(figure).startswith("met")
    ]


def _beside_least(
    results: Results, section: str, figures: Iterable[Figure], *, digits: int = 2
) -> str:
    """Return the ratio on each server, with that of the least middleware in brackets."""
    least = {
        (figure.where, figure.case, figure.measure): figure.median
        for figure in _figures(results, section, contender=LEAST)
    }
    return ", ".join(
        f"{figure.where} {figure.median:.{digits}f} "
        f"({least[figure.where, figure.case, figure.measure]:.{digits}f})"
        for figure in sorted(figures, key=lambda figure: -figure.median)
    )


def _figures(
    results: Results,
    section: str,
    *,
    where: str | None = None,
    case: str | None = None,
    measure: str | None = None,
    contender: str = DRAINKIT,
) -> list[Figure]:
    """Return a contender's figures of a section; None stands for any."""
    found = results.sections.get(section)
    return [
        figure
        for figure in (found.figures if found else ())
        if figure.contender == contender
        and where in (None, figure.where)
        and case in (None, figure.case)
        and measure in (None, figure.measure)
    ]
