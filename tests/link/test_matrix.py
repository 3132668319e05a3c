"""The delivery matrix can be measured over a link."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.matrix import results

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("link_allowed")]

LIMIT_SECONDS = 120.0


def test_a_loss_over_a_link_and_its_cure_are_measured(tmp_path: Path) -> None:
    out, traces = tmp_path / "matrix.json", tmp_path / "traces"
    subprocess.run(
        [
            *(sys.executable, "-m", "tests.matrix", "--link", "4g", "--tries", "1"),
            *("--servers", "wsgiref", "--clients", "strict", "--cases", "413"),
            *("--json", str(out), "--traces", str(traces)),
        ],
        cwd=results.ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LIMIT_SECONDS,
        check=True,
    )
    matrix = json.loads(out.read_text())
    halves = matrix["deployments"]["wsgiref"]

    assert (0, 1) == tuple(
        halves[half]["clients"]["strict"]["413"]["delivered"] for half in ("without", "with")
    )
    assert "4g" == matrix["link"]["name"]
    assert str(tmp_path) not in matrix["command"].replace(str(out), "")
    # Nothing was lost with drainkit, and so no packets are kept.
    assert [] == list(traces.iterdir())
