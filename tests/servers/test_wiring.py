"""The wiring of each framework that the how-to shows: lost without its line, delivered with it."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from drainkit_clients import Answer, Upload, strict
from tests.servers.as_on_a_page import served

pytestmark = pytest.mark.server

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "frameworks.md"
_BLOCK = re.compile(r"^```\{code-block\} py\n:caption: (\w+), (\w+)\n\n(.*?)^```$", re.M | re.S)
EXAMPLES = {
    f"{module}-{server}": (module, server, text)
    for module, server, text in _BLOCK.findall(PAGE.read_text(encoding="utf-8"))
}
COMMANDS = {
    "gunicorn": (
        *("-m", "gunicorn", "-b", "127.0.0.1:{port}", "--no-control-socket"),
        "example:app",
    ),
    "uvicorn": ("-m", "uvicorn", "--port", "{port}", "--log-level", "warning", "example:app"),
    "python": ("example.py", "{port}"),
}
# What the application answers where that is not 404.
STATUS = {"dash": 405, "ninja": 401, "channels": 401}
SIZE_BYTES = 8 * 1024 * 1024
TRIES = 3
TRIES_WITHOUT = 20
TIMEOUT_SECONDS = 20.0


def bare(text):
    """Return an example without drainkit: what it wraps stays, and so do the lines around it."""
    text = re.sub(r"DrainMiddleware\(([\w.]+(?:\(\))?)\)", r"\1", text)
    text = re.sub(r"^drainkit_\w+\.init_app\(.*\)$", "", text, flags=re.M)
    text = text.replace('MIDDLEWARE=["drainkit_django.DrainMiddleware"]', "MIDDLEWARE=[]")
    return re.sub(r"^(import|from) drainkit.*$", "", text, flags=re.M)


def uploads(folder, server, text, path, tries, *, until_lost):
    """Serve an example, upload to it, and return the answers."""
    folder.mkdir()
    (folder / "example.py").write_text(text, encoding="utf-8")
    answers: list[Answer] = []
    upload = Upload(path=path, size_bytes=SIZE_BYTES, connection="close")
    command = [sys.executable, *COMMANDS[server]]
    with served(folder, command, {"HOME": str(folder)}) as port:
        for _ in range(tries):
            answer = strict(("127.0.0.1", port), upload, timeout_seconds=TIMEOUT_SECONDS)
            answers.append(answer)
            if until_lost and not answer.delivered:
                break
    return answers, (folder / "log").read_text(encoding="utf-8", errors="replace")


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_of_the_page_loses_its_answer_without_drainkit_and_has_it_with_it(
    tmp_path, example
):
    module, server, text = EXAMPLES[example]
    for needed in (module, *((server,) if server != "python" else ())):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"needs {needed}")
    status = STATUS.get(module, 404)
    path = "/upload" if module == "ninja" else "/nowhere"
    without = bare(text)
    assert "drainkit" not in without

    lost, log = uploads(tmp_path / "bare", server, without, path, TRIES_WITHOUT, until_lost=True)
    assert not lost[-1].delivered, f"lost nothing: {[one.status for one in lost]}\n{log}"
    got, log = uploads(tmp_path / "drained", server, text, path, TRIES, until_lost=False)

    assert [(True, status)] * TRIES == [(one.delivered, one.status) for one in got], log


def test_the_page_has_an_example_for_each_framework():
    assert len(EXAMPLES) == PAGE.read_text(encoding="utf-8").count(":caption:") == 13
