"""The process that the clients run in, so that one which hangs can be killed.

A line of JSON in is one try; a line of JSON out is what came of it. ``python -m
tests.matrix.worker`` ends with its standard input.
"""

import json
import sys
from dataclasses import asdict
from typing import Any

from drainkit_conformance import Client, judge
from tests.clients.clients import CLIENTS, Kit, insecure_context
from tests.matrix import plan


def _attempt(kit: Kit, made: dict[tuple[str, bool], Client], asked: dict[str, Any]) -> Any:
    name, protocol = asked["client"], asked["protocol"]
    key = name, protocol in ("h2", "h2c")
    if key not in made:
        make = CLIENTS[name].maker(protocol)
        assert make is not None, f"{name} does not speak {protocol}"
        made[key] = make(kit)
    host, port = asked["address"]
    verdict = judge(
        plan.case_for(name, asked["case"], asked.get("link")),
        (host, port),
        client=made[key],
        tries=1,
        timeout_seconds=asked["timeout_seconds"],
        ssl_context=insecure_context() if protocol in ("tls", "h2") else None,
    )
    return asdict(verdict.tries[0])


def _main() -> None:
    made: dict[tuple[str, bool], Client] = {}
    with Kit() as kit:
        for line in sys.stdin:
            try:
                told = _attempt(kit, made, json.loads(line))
            except Exception as error:
                # The client itself does not work; the cell says so.
                told = {"failed": f"{type(error).__name__}: {error}"}
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    _main()
