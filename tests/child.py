"""A Python process of the tests' own that does what it is told: each order and answer is a line.

What a client or a link costs must not be measured with the process that measures.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_ROOT = Path(__file__).resolve().parents[1]
_STOP_SECONDS = 5.0
_RECV_BYTES = 65_536


class ChildError(RuntimeError):
    """The process has ended, does not answer, or could not do what it was told."""


class Child:
    """The process, as seen from outside; a context manager that ends it.

    Attributes:
        pid: Which process it is.
    """

    pid: int

    def __init__(
        self,
        module: str,
        *arguments: str,
        answer_seconds: float,
        env: Mapping[str, str] | None = None,
        descriptors: Collection[int] = (),
    ) -> None:
        """Take what `__enter__` starts.

        Args:
            module: It reads orders from its standard input until that ends, and writes an answer
                to each: JSON objects, or null for an answer without anything in it. An answer with
                the key ``error`` says what went wrong.
            arguments: Its arguments.
            answer_seconds: How long an answer may take.
            env: Its environment; None for that of this process.
            descriptors: The file descriptors that it has, too.
        """
        self._module = module
        self._arguments = arguments
        self._answer_seconds = answer_seconds
        self._env = env
        self._descriptors = descriptors

    def __enter__(self) -> Self:
        """Start it."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module, *self._arguments],
            cwd=_ROOT,
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=self._descriptors,
            # Ctrl-C is for whoever started it, who then ends it in order.
            start_new_session=True,
        )
        self.pid = self._process.pid
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it; what it has opened is closed with it."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_SECONDS)
        process.stdout.close()

    def tell(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Give an order; return the answer to it.

        Raises:
            ChildError: See there.
        """
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()
        except OSError as error:
            raise ChildError(f"{self._module} has ended: {error}") from error
        line = b""
        while not line.endswith(b"\n"):
            if not select.select([process.stdout], [], [], self._answer_seconds)[0]:
                raise ChildError(f"{self._module} did not answer in {self._answer_seconds} s")
            data = os.read(process.stdout.fileno(), _RECV_BYTES)
            if not data:
                raise ChildError(f"{self._module} has ended")
            line += data
        answer: dict[str, Any] = json.loads(line) or {}
        if "error" in answer:
            raise ChildError(f"{self._module}: {answer['error']}")
        return answer
