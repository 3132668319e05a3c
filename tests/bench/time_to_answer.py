"""Section "answer": when a client has its answer, over a link that takes its time."""

import functools
from collections.abc import Mapping

from drainkit_clients import Answer, Upload, eager, strict
from tests.bench.alternatives import DRAINKIT, HANDLER, NONE
from tests.bench.bench import Bench, BenchError, alternated, say
from tests.bench.relay import throttled
from tests.bench.served import MIB, available, contenders, early_path, rival
from tests.servers.harness import Running

_SERVERS = ("gunicorn-sync", "uvicorn-httptools")
_BYTES_PER_SECOND = 20e6
_TIMEOUT_SECONDS = 60.0
_TRIES = 2
_CLIENTS = {"eager": eager, "strict": strict}


def run(bench: Bench) -> None:
    """Upload 64 MiB at 20 MB/s to an application that refuses it at once."""
    size = bench.pick(64 * MIB, 8 * MIB)
    for name in available(bench, _SERVERS):
        which = (NONE, rival(name), HANDLER, DRAINKIT)
        with contenders(name, which) as servers:
            for client in _CLIENTS:
                say(f"answer: {name}, {client} client")
                _compare(bench, servers, name, client, size)


def _compare(
    bench: Bench, servers: Mapping[str, Running], name: str, client: str, size: int
) -> None:
    ask = functools.partial(_ask, servers, client, size)
    names = {"where": name, "case": f"{client} client"}
    delivering = [HANDLER, DRAINKIT]
    for contender in (NONE, rival(name)):
        # What loses answers, loses them early: that takes little time.
        lost = sum(not ask(contender).delivered for _ in range(_TRIES))
        bench.add([lost], contender=contender, measure=f"lost of {_TRIES}", unit="", **names)
        if not lost:
            delivering.append(contender)
    seconds = functools.partial(_seconds, ask)
    samples = alternated(delivering, bench.pick(3, 2), seconds)
    for contender, values in samples.items():
        bench.add(values, contender=contender, measure="time to the answer", unit="s", **names)
    other = rival(name) if rival(name) in samples else HANDLER
    bench.add_ratio(
        samples[DRAINKIT],
        samples[other],
        contender=DRAINKIT,
        measure="time / snippet's or handler's",
        **names,
    )


def _ask(servers: Mapping[str, Running], client: str, size: int, contender: str) -> Answer:
    upload = Upload(path=early_path(contender), size_bytes=size, connection="close")
    with throttled(servers[contender].address, _BYTES_PER_SECOND) as link:
        return _CLIENTS[client](link, upload, timeout_seconds=_TIMEOUT_SECONDS)


def _seconds(ask: functools.partial[Answer], contender: str) -> float:
    answer = ask(contender)
    if not answer.delivered:
        raise BenchError(f"{contender}: the answer was lost now and then: {answer.error}")
    return answer.seconds
