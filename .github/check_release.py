"""Refuses to publish what is not ready: ``check_release.py FOLDER TAG``, before each release.

Standard library only. Every problem is named, and the exit status is then 1.
"""

from __future__ import annotations

import email
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What stands in pyproject.toml until somebody owns an address.
PLACEHOLDER = "/OWNER/"


def problems(folder: Path, tag: str, changelog: str) -> Iterator[str]:
    """Yield what stands in the way of publishing the distributions in a folder.

    Args:
        folder: Where the one wheel and the one sdist are.
        tag: The tag that is released.
        changelog: The text of the changelog.
    """
    wheels, sdists = sorted(folder.glob("*.whl")), sorted(folder.glob("*.tar.gz"))
    if (len(wheels), len(sdists)) != (1, 1):
        yield f"{folder} has {len(wheels)} wheels and {len(sdists)} sdists, not one of each"
        return
    with zipfile.ZipFile(wheels[0]) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        text = wheel.read(name).decode("utf-8")
    version = email.message_from_string(text)["Version"]
    if PLACEHOLDER in text:
        yield (
            "the repository's address is the placeholder; set it in pyproject.toml, "
            "[tool.hatch.metadata.hooks.custom]"
        )
    if tag != f"v{version}":
        yield f"the tag is {tag!r}, the version is {version}: the tag must be 'v{version}'"
    if not re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.M):
        yield f"CHANGELOG.md has no line '## [{version}] - YYYY-MM-DD'"


def main() -> int:
    """Print the problems; return the exit status."""
    folder, tag = sys.argv[1:]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = list(problems(Path(folder), tag, changelog))
    for problem in found:
        sys.stderr.write(f"not published: {problem}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
