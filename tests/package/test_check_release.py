"""Nothing is published that is not ready, and above all not under the placeholder's address."""

import importlib.util
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / ".github" / "check_release.py"
if not SCRIPT.exists():
    pytest.skip("needs a clone: the sdist has no workflows", allow_module_level=True)

METADATA = """\
Metadata-Version: 2.4
Name: drainkit
Version: 1.2.0
Project-URL: Source, {address}

# drainkit
"""
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2027-01-31\n\n## [1.1.0] - 2026-12-24\n"
ADDRESS = "https://example.org/somebody/drainkit"


@pytest.fixture
def check_release():
    spec = importlib.util.spec_from_file_location("check_release", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make(folder, address=ADDRESS):
    (folder / "drainkit-1.2.0.tar.gz").touch()
    with zipfile.ZipFile(folder / "drainkit-1.2.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("drainkit-1.2.0.dist-info/METADATA", METADATA.format(address=address))
    return folder


def test_what_is_ready_passes(check_release, tmp_path):
    assert [] == list(check_release.problems(make(tmp_path), "v1.2.0", CHANGELOG))


@pytest.mark.parametrize(
    ("address", "tag", "changelog", "told"),
    [
        ("https://example.org/OWNER/drainkit", "v1.2.0", CHANGELOG, "address is the placeholder"),
        (ADDRESS, "v1.2.1", CHANGELOG, "the tag must be 'v1.2.0'"),
        (ADDRESS, "1.2.0", CHANGELOG, "the tag must be 'v1.2.0'"),
        (ADDRESS, "v1.2.0", "## [Unreleased]\n", "no line '## [1.2.0] - YYYY-MM-DD'"),
        (ADDRESS, "v1.2.0", "## [1.2.0] - soon\n", "no line '## [1.2.0] - YYYY-MM-DD'"),
    ],
)
def test_what_is_not_ready_is_told(check_release, tmp_path, address, tag, changelog, told):
    (problem,) = check_release.problems(make(tmp_path, address), tag, changelog)

    assert told in problem


def test_one_of_each_is_published(check_release, tmp_path):
    (problem,) = check_release.problems(tmp_path, "v1.2.0", CHANGELOG)

    assert "0 wheels and 0 sdists" in problem


def test_todays_distributions_are_not_published(dist):
    """Nobody has set the address, and the changelog has no release yet."""
    got = subprocess.run(
        [sys.executable, str(SCRIPT), str(dist), "v9.9.9"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    lines = got.stderr.splitlines()

    assert 1 == got.returncode
    assert "the tag is 'v9.9.9'" in got.stderr
    assert all(line.startswith("not published: ") for line in lines)


def test_what_publishes_is_pinned():
    """A release is made with programs that somebody has chosen, actions and packages alike."""
    text = SCRIPT.with_name("workflows").joinpath("publish.yml").read_text(encoding="utf-8")
    (installed,) = re.findall(r"pip install (.*)", text)
    actions = re.findall(r"uses: \S+@(\S+)", text)

    assert [] == [one for one in installed.split() if not re.fullmatch(r"[\w-]+==[\d.]+", one)]
    assert actions
    assert [] == [one for one in actions if not re.fullmatch("[0-9a-f]{40}", one)]


def test_a_list_of_the_changelog_is_one_list():
    """A blank line between two entries makes a reader's program show two lists."""
    text = (SCRIPT.parents[1] / "CHANGELOG.md").read_text(encoding="utf-8")

    assert [] == re.findall(r"^(?:- |  )\S.*\n\n+(- .*)", text, re.M)
