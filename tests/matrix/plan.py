"""Which cells are measured: a deployment, with drainkit and without, a client, a case."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from drainkit_conformance import CASES, Case
from tests.clients.clients import CLIENTS, RealClient, answers
from tests.matrix.deployments import DEPLOYMENTS, OVER_UNIX, Deployment
from tests.servers.harness import SERVERS

TRIES = 5
# Chromium takes a second for each upload.
_FEWER_TRIES = {"chromium-form": 2, "chromium-fetch": 2}

_USUAL_BYTES = 20_000_000
# What the issue was first seen with; and an eager client must have time to stop.
_MORE_BYTES = 50_000_000
_LARGER = {"chromium-form", "chromium-fetch", "eager", "eager-close"}

# With drainkit nothing should ever wait so long; without it a deadlock need not be watched.
_SECONDS_WITH = 20.0
_SECONDS_WITHOUT = 3.0
_CHROMIUM_SECONDS_WITHOUT = 8.0

ANSWERS = tuple(answers(0))
# Over a link one is asked, too, that comes when some of the body has been read.
LINK_ANSWERS = (*ANSWERS, "422")
CASE_NAMES = (*ANSWERS, *(name for name in CASES if name not in ANSWERS))

# Behind a proxy and over TLS all clients are like one of these.
_FEW = ("strict", "eager", "http.client", "httpx", "curl")
_BROWSER = ("chromium-form", "chromium-fetch")

# Over a link most of the time is waiting, so few stand for all.
_OVER_LINK = ("strict", "eager", "requests", "httpx", "aiohttp", "curl", "node-http")
_FEW_OVER_LINK = ("strict", "eager", "curl")
_BROWSED_OVER_LINK = ("gunicorn-sync", "gunicorn-gthread", "uvicorn-h11", "hypercorn-asyncio")
_FRONT_OVER_LINK = (None, "nginx", "nginx-buffered", OVER_UNIX)


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is uploaded over a link, and how long a try may take there.

    Attributes:
        upload_bytes: What a client uploads for one of ``LINK_ANSWERS``: what TCP brings over the
            link in about ten seconds, half of what a drain has on a server with threads.
        seconds: The longest that a try may take, with drainkit and without: all of the upload,
            and then the page of 4 MB, and as much again.
    """

    upload_bytes: int
    seconds: float


EXTENTS: dict[str, Extent] = {
    "fibre": Extent(10_000_000, 30.0),
    "4g": Extent(2_000_000, 60.0),
    "hotel": Extent(500_000, 200.0),
    "satellite": Extent(250_000, 360.0),
}


class UnknownError(ValueError):
    """A name that is none; the text lists those that are."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One client and one case on one deployment.

    Attributes:
        client: Who uploads.
        case: What is uploaded, and its right answer.
        tries: How often.
        seconds_with: The longest that a try may take with drainkit.
        seconds_without: The longest without it.
    """

    client: RealClient
    case: Case
    tries: int
    seconds_with: float
    seconds_without: float


def upload_bytes(client: str) -> int:
    """Return how much a client uploads for one of ``ANSWERS``."""
    return _MORE_BYTES if client in _LARGER else _USUAL_BYTES


def case_for(client: str, name: str, link: str | None = None) -> Case:
    """Return a case by name, as large as it is for a client, or over a link."""
    if link is not None:
        size = EXTENTS[link].upload_bytes
        if name in ANSWERS:
            return answers(size)[name]
        case = CASES[name]
        return dataclasses.replace(case, upload=dataclasses.replace(case.upload, size_bytes=size))
    return answers(upload_bytes(client))[name] if name in ANSWERS else CASES[name]


def deployments(names: Sequence[str], link: str | None = None) -> list[Deployment]:
    """Return the deployments with these names, or of these servers; all when there are none.

    Args:
        names: Which ones.
        link: The link that lies between; None without one.

    Raises:
        UnknownError: If a name is none.
    """
    if not names:
        rows = DEPLOYMENTS.values()
        return [row for row in rows if link is None or row.proxy in _FRONT_OVER_LINK]
    servers = {row.server for row in DEPLOYMENTS.values()}
    _check("server or deployment", names, [*DEPLOYMENTS, *sorted(servers - set(DEPLOYMENTS))])
    return [
        row
        for row in DEPLOYMENTS.values()
        # A server's name means the server alone, where there is such a row.
        if row.name in names or (row.server in names and row.server not in DEPLOYMENTS)
    ]


def cells(
    deployment: Deployment,
    clients: Sequence[str],
    cases: Sequence[str],
    tries: int,
    link: str | None = None,
) -> list[Cell]:
    """Return a deployment's cells.

    Args:
        deployment: Which one.
        clients: Who uploads, where they speak its protocol; the planned ones when empty.
        cases: The names of the cases; ``ANSWERS`` when empty, or ``LINK_ANSWERS`` over a link.
        tries: How often, at most.
        link: The link that lies between; None without one.

    Raises:
        UnknownError: If a name is none.
    """
    _check("client", clients, CLIENTS)
    _check("case", cases, CASE_NAMES)
    usual = ANSWERS if link is None else LINK_ANSWERS
    return [
        Cell(
            CLIENTS[name],
            case,
            min(tries, _FEWER_TRIES.get(name, tries)),
            _SECONDS_WITH if link is None else EXTENTS[link].seconds,
            _seconds_without(name) if link is None else EXTENTS[link].seconds,
        )
        for name in clients or _planned(deployment, link)
        for case in (case_for(name, one, link) for one in cases or usual)
        if CLIENTS[name].maker(deployment.protocol) and CLIENTS[name].can_send(case.upload)
    ]


def _seconds_without(client: str) -> float:
    return _CHROMIUM_SECONDS_WITHOUT if client in _BROWSER else _SECONDS_WITHOUT


def _planned(deployment: Deployment, link: str | None) -> Iterable[str]:
    if link is not None:
        alone = deployment.protocol == "h1" and deployment.proxy is None
        # Chromium has no prior knowledge of HTTP/2.
        browsed = deployment.server in _BROWSED_OVER_LINK and deployment.protocol != "h2c"
        browser = ("chromium-form",) if browsed else ()
        many = alone and deployment.server in SERVERS
        return (*(_OVER_LINK if many else _FEW_OVER_LINK), *browser)
    if deployment.protocol in ("h2", "h2c"):
        # Chromium has no prior knowledge.
        return (*_FEW, *(_BROWSER if deployment.protocol == "h2" else ()))
    if deployment.proxy is not None:
        return (*_FEW, *(_BROWSER if deployment.server == "gunicorn-sync" else ()))
    if deployment.protocol == "tls":
        return _FEW
    return [name for name in CLIENTS if name not in _BROWSER or deployment.server in SERVERS]


def _check(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    known = list(known)
    for name in names:
        if name not in known:
            raise UnknownError(f"no {what} {name!r}; known: {', '.join(known)}")


def described(link: str | None = None) -> dict[str, dict[str, object]]:
    """Return what the page says of the clients, by name."""
    size = None if link is None else EXTENTS[link].upload_bytes
    return {
        name: {"upload_bytes": size or upload_bytes(name), "reads_early": row.reads_early}
        for name, row in CLIENTS.items()
    }
