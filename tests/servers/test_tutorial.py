"""The tutorial works as it is written: lost, one line, delivered, and a test that keeps it so."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.as_on_a_page import served
from tests.servers.harness import find_program

pytestmark = pytest.mark.server

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
BLOCKS = dict(
    re.findall(
        r"^```\{code-block\} \w+\n:caption: ([^\n]+)\n\n(.*?)^```$",
        PAGE.read_text(encoding="utf-8"),
        re.M | re.S,
    )
)
# What `drainkit probe` says by its exit status.
ARRIVED, LOST = 0, 1


def command(name, port):
    """Return the one command of a block, as words, with its program and its port found."""
    (line,) = re.findall(r"^\$ (.*)$", BLOCKS[name], re.M)
    program, *words = line.replace("8000", str(port)).split()
    found = sys.executable if program == "python" else find_program(program)
    return [found, *words]


def ask_while_it_is_served(folder):
    """Serve the application and probe it, as the page says; return what the probe did."""
    # gunicorn's own port is 8000, which may be taken here.
    env = {"GUNICORN_CMD_ARGS": "--bind 127.0.0.1:{port}"}
    with served(folder, command("serve", "{port}"), env) as port:
        return run(folder, "ask", port)


def run(folder, name, port=0):
    return subprocess.run(
        command(name, port),
        cwd=folder,
        env={**os.environ, "PYTEST_ADDOPTS": "-p no:cacheprovider"},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


def test_the_tutorial_works_as_it_is_written(tmp_path):
    for name in ("flask", "gunicorn", "click", "rich"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}")
    app = tmp_path / "app.py"
    app.write_text(BLOCKS["app.py"], encoding="utf-8")
    (tmp_path / "test_upload.py").write_text(BLOCKS["test_upload.py"], encoding="utf-8")
    asked = ask_while_it_is_served(tmp_path)
    tested = run(tmp_path, "test")

    assert LOST == asked.returncode, asked.stdout + asked.stderr
    assert "drainkit_flask.init_app(app)" in asked.stdout
    assert 1 == tested.returncode
    assert "not every answer arrived whole" in tested.stdout

    app.write_text(BLOCKS["app.py"] + BLOCKS["app.py, at its end"], encoding="utf-8")
    asked = ask_while_it_is_served(tmp_path)
    tested = run(tmp_path, "test")

    assert ARRIVED == asked.returncode, asked.stdout + asked.stderr
    assert 0 == tested.returncode, tested.stdout
