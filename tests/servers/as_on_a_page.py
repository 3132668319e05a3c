"""Servers that are started with the command that a page of the docs gives."""

import contextlib
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from drainkit_clients import Upload, strict
from tests.servers.harness import reserved_port, start_logged, stop

READY_SECONDS = 60.0
_POLL_SECONDS = 0.1


@contextlib.contextmanager
def served(folder: Path, command: Sequence[str], env: Mapping[str, str]) -> Iterator[int]:
    """Serve until the block ends; yield the port. What the server prints is in ``folder/log``.

    Args:
        folder: Where it is started.
        command: The program and its arguments; ``{port}`` is replaced.
        env: More environment variables; ``{port}`` is replaced.
    """
    with reserved_port() as port:

        def at_port(text: str) -> str:
            return text.replace("{port}", str(port))

        log_path = folder / "log"
        process = start_logged(
            list(map(at_port, command)),
            folder,
            log_path,
            {name: at_port(value) for name, value in env.items()},
        )
        try:
            wait_until_ready(process, port, log_path)
            yield port
        finally:
            stop(process)


def wait_until_ready(
    process: "subprocess.Popen[bytes]", port: int, log_path: Path, *, tls: bool = False
) -> None:
    """Wait until a server answers."""
    context = None
    if tls:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # nobody has signed it
    deadline = time.monotonic() + READY_SECONDS
    get = Upload(path="/", method="GET", connection="close")
    while time.monotonic() < deadline:
        assert process.poll() is None, log_path.read_text(encoding="utf-8", errors="replace")
        answer = strict(("127.0.0.1", port), get, timeout_seconds=5.0, ssl_context=context)
        if answer.status is not None:
            return
        time.sleep(_POLL_SECONDS)
    raise AssertionError(log_path.read_text(encoding="utf-8", errors="replace"))
