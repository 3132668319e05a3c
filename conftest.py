"""Run the Python code blocks of README.md and of the documentation.

A block that needs a framework which is not installed is skipped and names it, and so is the rest of
its page. Comments ``% invisible-code-block: python`` (``<!--- ... -->`` in README.md) hold what a
reader need not see: the upload to the application that the page has built.
"""

import importlib.util
from pathlib import Path
from typing import Any
from unittest import SkipTest

FOLDER = Path(__file__).parent
OURS = {path.name for path in (FOLDER / "adapters").iterdir()} | {"drainkit"}
MIB = 1024 * 1024


def upload_to_wsgi(application: Any, path: str = "/", **headers: str) -> tuple[int, int]:
    """Upload 1 MiB to a WSGI application as a server does; return status and bytes taken."""
    from drainkit.testing import ScriptedBody

    body = ScriptedBody([b"x" * 65536] * 16)
    environ = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": str(MIB),
        "CONTENT_TYPE": "application/octet-stream",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": body,
        "wsgi.errors": None,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **headers,
    }
    started: list[str] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        started.append(status)

    result = application(environ, start_response)
    try:
        b"".join(result)
    finally:
        if hasattr(result, "close"):
            result.close()
    return int(started[-1][:3]), body.given_bytes


def upload_to_asgi(application: Any, path: str = "/", **headers: str) -> tuple[int, int]:
    """Upload 1 MiB to an ASGI application as a server does; return status and bytes taken."""
    import asyncio

    from drainkit.testing import ScriptedBody

    body = ScriptedBody([b"x" * 65536] * 16)
    fields = {"host": "testserver", "content-length": str(MIB), **headers}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(application(scope, body.receive, send))
    (status,) = (m["status"] for m in sent if m["type"] == "http.response.start")
    return status, body.given_bytes


if importlib.util.find_spec("sybil") is not None:  # only the session `docs` installs it
    from sybil import Example, Sybil
    from sybil.evaluators.python import PythonEvaluator
    from sybil.parsers.myst import CodeBlockParser

    class Blocks(PythonEvaluator):
        """Run Python blocks; a framework that is not there is a reason to skip its page."""

        def __call__(self, example: Example) -> None:
            """Run one block."""
            if missing := example.namespace.get("_missing"):
                raise SkipTest(f"needs {missing}")
            try:
                super().__call__(example)
            except ModuleNotFoundError as error:
                name = (error.name or "").partition(".")[0]
                if not name or name in OURS:
                    raise
                example.namespace["_missing"] = name
                raise SkipTest(f"needs {name}") from error

    def prepare(namespace: dict[str, Any]) -> None:
        """Give a page what its invisible blocks use."""
        # Frameworks look up the module that Flask(__name__) and the like name.
        namespace["__name__"] = "example"
        namespace["upload_to_wsgi"] = upload_to_wsgi
        namespace["upload_to_asgi"] = upload_to_asgi

    pytest_collect_file = Sybil(
        parsers=[CodeBlockParser("python", Blocks())],
        patterns=["README.md", "docs/**/*.md"],
        setup=prepare,
    ).pytest()
