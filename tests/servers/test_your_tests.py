"""The how-to for other people's tests holds: each project needs drainkit to pass its tests."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.harness import find_program

pytestmark = pytest.mark.server

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "your-tests.md"
_BLOCK = re.compile(r"^```\{code-block\} python\n:caption: (\S+)\n\n(.*?)^```$", re.M | re.S)


def files_of(section):
    """Return the files of a section of the page, by name."""
    sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.M)
    (text,) = (text for text in sections if text.startswith(f"{section}\n"))
    return dict(_BLOCK.findall(text))


def run(folder):
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


@pytest.mark.parametrize(
    ("section", "modules", "programs", "lines"),
    [
        ("Flask", ["flask", "gunicorn"], ["gunicorn"], ["drainkit_flask.init_app(app)\n"]),
        (
            "Django",
            ["django", "gunicorn"],
            ["gunicorn"],
            ['    "drainkit_django.DrainMiddleware",\n'],
        ),
        ("FastAPI", ["fastapi", "uvicorn"], ["uvicorn"], ["drainkit_starlette.init_app(app)\n"]),
    ],
)
def test_a_project_of_the_page_fails_without_drainkit_and_passes_with_it(
    tmp_path, section, modules, programs, lines
):
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    missing += [name for name in programs if find_program(name) is None]
    if missing:
        pytest.skip(f"needs {missing[0]}")
    if section == "Django":
        command = [sys.executable, "-m", "django", "startproject", "mysite", "."]
        subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    files = files_of(section)

    for is_bare in (True, False):
        for name, text in files.items():
            for line in lines if is_bare else ():
                text = text.replace(line, "")  # noqa: PLW2901  # each line of a file in turn
            path = tmp_path / name
            kept = path.read_text(encoding="utf-8") if name == "mysite/settings.py" else ""
            path.write_text(kept + text, encoding="utf-8")
        got = run(tmp_path)

        assert int(is_bare) == got.returncode, got.stdout
        assert is_bare == ("not every answer arrived whole" in got.stdout)
        assert is_bare == ("lost: " in got.stdout)
