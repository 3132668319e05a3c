"""Which cells are measured: a deployment, with drainkit and without, a client, a case."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from drainkit_conformance import CASES, Case
from tests.clients.clients import CLIENTS, RealClient, answers
from tests.matrix.deployments import DEPLOYMENTS, Deployment
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
CASE_NAMES = (*ANSWERS, *(name for name in CASES if name not in ANSWERS))

# Behind a proxy and over TLS all clients are like one of these.
_FEW = ("strict", "eager", "http.client", "httpx", "curl")
_BROWSER = ("chromium-form", "chromium-fetch")


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


def case_for(client: str, name: str) -> Case:
    """Return a case by name, as large as it is for a client."""
    return answers(upload_bytes(client))[name] if name in ANSWERS else CASES[name]


def deployments(names: Sequence[str]) -> list[Deployment]:
    """Return the deployments with these names, or of these servers; all when there are none.

    Raises:
        UnknownError: If a name is none.
    """
    if not names:
        return list(DEPLOYMENTS.values())
    servers = {row.server for row in DEPLOYMENTS.values()}
    _check("server or deployment", names, [*DEPLOYMENTS, *sorted(servers - set(DEPLOYMENTS))])
    return [
        row
        for row in DEPLOYMENTS.values()
        # A server's name means the server alone, where there is such a row.
        if row.name in names or (row.server in names and row.server not in DEPLOYMENTS)
    ]


def cells(
    deployment: Deployment, clients: Sequence[str], cases: Sequence[str], tries: int
) -> list[Cell]:
    """Return a deployment's cells.

    Args:
        deployment: Which one.
        clients: Who uploads, where they speak its protocol; the planned ones when empty.
        cases: The names of the cases; ``ANSWERS`` when empty.
        tries: How often, at most.

    Raises:
        UnknownError: If a name is none.
    """
    _check("client", clients, CLIENTS)
    _check("case", cases, CASE_NAMES)
    return [
        Cell(
            CLIENTS[name],
            case,
            min(tries, _FEWER_TRIES.get(name, tries)),
            _SECONDS_WITH,
            _CHROMIUM_SECONDS_WITHOUT if name in _BROWSER else _SECONDS_WITHOUT,
        )
        for name in clients or _planned(deployment)
        for case in (case_for(name, one) for one in cases or ANSWERS)
        if CLIENTS[name].maker(deployment.protocol) and CLIENTS[name].can_send(case.upload)
    ]


def _planned(deployment: Deployment) -> Iterable[str]:
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


def described() -> dict[str, dict[str, object]]:
    """Return what the page says of the clients, by name."""
    return {
        name: {"upload_bytes": upload_bytes(name), "reads_early": row.reads_early}
        for name, row in CLIENTS.items()
    }
