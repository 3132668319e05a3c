"""The servers under load: rows of the server tests, with what load needs of them."""

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from drainkit_clients import Upload, strict
from tests.servers import harness
from tests.servers.harness import Running, Server

_APPS = Path(__file__).resolve().parent / "apps"
_POLL_SECONDS = 0.1
# With thousands of uploads, on a busy machine, the answer is late and nothing is wrong.
_ANSWER_SECONDS = 30.0

# Idle clients must stay connected for as long as a round lasts.
_KEEP_IDLE = {
    "gunicorn-gthread": ("--keep-alive", "120"),
    "uvicorn-h11": ("--timeout-keep-alive", "120"),
    "uvicorn-httptools": ("--timeout-keep-alive", "120"),
    "hypercorn-asyncio": ("--keep-alive", "120"),
}


def row(name: str, *options: str, keep_idle: bool = False) -> Server:
    """Return a row of the server tests that serves the application for load.

    Args:
        name: The row.
        options: More arguments for the server; one that the row has too replaces its value.
        keep_idle: Keep idle connections for two minutes.
    """
    server = harness.SERVERS[name]
    *before, app = server.arguments
    added = (*options, *(_KEEP_IDLE.get(name, ()) if keep_idle else ()))
    return dataclasses.replace(
        server, app=f"served_load_{server.interface}", arguments=(*before, *added, app)
    )


@contextlib.contextmanager
def started(
    server: Server, *, wrap: bool = True, policy: dict[str, Any] | None = None
) -> Iterator[Running]:
    """Run a row of this module; see `harness.running`."""
    inherited = os.environ.get("PYTHONPATH")
    if inherited is None or str(_APPS) not in inherited.split(os.pathsep):
        # The harness hands on to its servers what this process has.
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_APPS), inherited]))
    with harness.running(server, wrap=wrap, policy=policy) as running:
        yield running


def state(server: Running, *, collect: bool = False) -> dict[str, Any]:
    """Return what the server's process tells of itself.

    Args:
        server: The server.
        collect: Collect garbage before.

    Raises:
        harness.ServerError: It does not answer.
    """
    path = "/state?collect" if collect else "/state"
    get = Upload(path=path, method="GET", connection="close")
    answer = strict(server.address, get, timeout_seconds=_ANSWER_SECONDS)
    if answer.status != 200:
        raise harness.ServerError(
            f"{server.server.name} does not tell its state: {answer.error}\n{server.log()}"
        )
    told: dict[str, Any] = json.loads(answer.body)
    return told


def wait_until(
    server: Running, holds: Callable[[dict[str, Any]], bool], what: str, *, seconds: float = 15.0
) -> dict[str, Any]:
    """Return the server's state as soon as it is as wanted.

    Raises:
        harness.ServerError: It is not so in time.
    """
    deadline = time.monotonic() + seconds
    while not holds(told := state(server)):
        if time.monotonic() > deadline:
            raise harness.ServerError(f"{server.server.name}: not {what} in {seconds} s: {told}")
        time.sleep(_POLL_SECONDS)
    return told


def packages(names: Iterable[str]) -> set[str]:
    """Return the distributions that these servers are made of, drainkit included."""
    found = {"drainkit"}
    for name in names:
        known = harness.SERVERS.get(name)
        found.update(("gunicorn",) if known is None else known.requires)
    return found - {"asyncio"}
