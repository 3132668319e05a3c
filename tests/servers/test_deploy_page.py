"""The files of the page about deployment are understood by the programs that they are for."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from drainkit import DEFAULTS, Resource
from tests.servers.harness import find_program

pytestmark = pytest.mark.server

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "deploy.md"
TEXT = PAGE.read_text(encoding="utf-8")
FILES = dict(
    re.findall(r"^```\{code-block\} \w+\n:caption: ([\w.]+)\n\n(.*?)^```$", TEXT, re.M | re.S)
)


def test_systemd_takes_the_unit(tmp_path):
    program = find_program("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd-analyze")
    unit = tmp_path / "shop.service"
    # systemd looks whether the program is there, and on the page it is not this one.
    here = FILES["shop.service"].replace("/srv/shop/.venv/bin/gunicorn", sys.executable)
    unit.write_text(here.replace("WorkingDirectory=/srv/shop", f"WorkingDirectory={tmp_path}"))
    ran = subprocess.run(
        [program, "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (0, "") == (ran.returncode, "\n".join(x for x in ran.stderr.splitlines() if "shop" in x))


def test_kubernetes_takes_the_ingress(tmp_path):
    program = find_program("kubectl")
    if program is None:
        pytest.skip("needs kubectl")
    (tmp_path / "ingress.yaml").write_text(FILES["ingress.yaml"], encoding="utf-8")
    ran = subprocess.run(
        [program, "annotate", "--local", "-f", "ingress.yaml", "checked=yes", "-o", "name"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (0, "ingress.networking.k8s.io/shop\n") == (ran.returncode, ran.stdout), ran.stderr


def test_gunicorn_takes_the_command_of_the_image(tmp_path):
    pytest.importorskip("gunicorn", reason="needs gunicorn")
    (line,) = re.findall(r"^CMD (.*)$", FILES["Dockerfile"], re.M)
    program, *words = ast.literal_eval(line)
    (tmp_path / "app.py").write_text("def app(environ, start_response): ...\n", encoding="utf-8")
    for named in (words, [*words[:-1], "drainkit_wsgi:wrap('app:app')"]):
        ran = subprocess.run(
            [sys.executable, "-m", program, "--check-config", *named],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

        assert 0 == ran.returncode, ran.stderr


def test_the_numbers_of_drainkit_are_its_defaults():
    of_a_thread, of_a_task = DEFAULTS[Resource.THREAD], DEFAULTS[Resource.TASK]
    seconds = f"{of_a_thread.max_seconds:.0f} or {of_a_task.max_seconds:.0f}"

    assert f"| `max_seconds`, {seconds} |" in TEXT
    idle = f"{of_a_thread.idle_seconds:.0f} or {of_a_task.idle_seconds:.0f}"
    assert f"| `idle_seconds`, {idle} |" in TEXT
