"""What the package index shows and what an installer gets: links, pictures, files, versions."""

import email
import html.parser
import importlib.util
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
REPOSITORY = PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"]
VERSION = PYPROJECT["project"]["version"]
PACKAGES = [
    Path(path).name for path in PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
]


@pytest.fixture(scope="module")
def wheel(dist):
    """Return the files of the wheel, by name."""
    (path,) = dist.glob("*.whl")
    with zipfile.ZipFile(path) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


@pytest.fixture(scope="module")
def metadata(wheel):
    (name,) = (name for name in wheel if name.endswith(".dist-info/METADATA"))
    return email.message_from_string(wheel[name].decode("utf-8"))


class Links(html.parser.HTMLParser):
    """Collects where a page leads, and the names that it can be entered by."""

    def __init__(self, text):
        super().__init__()
        self.targets, self.names = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("href", "src"):
                self.targets.append(value)
            if name in ("id", "name"):
                self.names.add(value)


def anchors(path):
    """Return the anchors that a Markdown file has where it is shown, as its headings give them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead(target, names):
    """Return whether a link of the README leads nowhere, as far as this machine can tell."""
    if target.startswith("#"):
        return target[1:] not in {*names, *(f"user-content-{name}" for name in names)}
    ours = re.fullmatch(rf"{re.escape(REPOSITORY)}/(?:blob|raw)/v{VERSION}/([^#]+)#?(.*)", target)
    if ours is None:
        return not target.startswith("https://") or target.startswith(REPOSITORY)
    path = ROOT / ours[1]
    return not path.is_file() or bool(ours[2] and ours[2] not in anchors(path))


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("docs/index.md", True),
        ("#nowhere", True),
        ("#here", False),
        ("http://example.org/", True),
        ("https://example.org/", False),
        (f"{REPOSITORY}/blob/v{VERSION}/README.md", False),
        (f"{REPOSITORY}/blob/v{VERSION}/README.md#try-it", False),
        (f"{REPOSITORY}/blob/v{VERSION}/README.md#nowhere", True),
        (f"{REPOSITORY}/blob/v{VERSION}/docs/no-such-page.md", True),
        (f"{REPOSITORY}/blob/main/README.md", True),
        ("{repository}/blob/main/README.md", True),
    ],
)
def test_a_dead_link_is_found(target, expected):
    assert expected == dead(target, {"here"})


def test_the_readme_is_rendered_without_a_dead_link_or_picture(metadata):
    markdown = pytest.importorskip(
        "readme_renderer.markdown", reason="needs readme-renderer (dependency group: package)"
    )
    rendered = markdown.render(metadata.get_payload())
    assert rendered is not None, "the index could not render it"
    page = Links(rendered)
    source = (ROOT / "README.md").read_text(encoding="utf-8")
    own = re.findall(r"\]\((?!https?://|#)([^)]+)\)", source)

    assert [] == [target for target in page.targets if dead(target, page.names)]
    # As many as the README of the repository has.
    assert len(own) == sum(target.startswith(REPOSITORY) for target in page.targets) > 5


def test_the_readme_shows_nothing_that_only_tests_need(metadata):
    text = metadata.get_payload()

    assert "There is no release yet" not in text
    assert "assert" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert [] == [word for word in ("<!--", "-->", "assert ", "{repository}") if word in text]


def test_the_links_of_the_project_are_made_of_one_address(metadata):
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL"))

    assert REPOSITORY == urls["Source"]
    assert all(url.startswith(REPOSITORY) for url in urls.values())
    for url in urls.values():
        if "/blob/main/" in url:
            assert (ROOT / url.partition("/blob/main/")[2]).is_file()


def tracked():
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("needs a clone, and git")
    listed = subprocess.run(
        [git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, timeout=60
    )
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def test_the_address_stands_in_one_place():
    files = [path for path in tracked() if path.is_file()]
    found = [
        path.relative_to(ROOT).as_posix()
        for path in files
        for _ in range(path.read_bytes().count(REPOSITORY.encode()))
    ]

    assert ["pyproject.toml"] == found


def test_the_version_stands_in_one_place():
    """The citation, the documentation and the command ask for the installed one, or name none."""
    names = ("CITATION.cff", "README.md", "docs/conf.py", "noxfile.py", "SECURITY.md")
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in names}

    assert [] == [name for name, text in texts.items() if re.search(rf"\b{VERSION}\b", text)]
    assert "\nversion:" not in texts["CITATION.cff"]


def test_the_wheel_has_every_package_and_nothing_else(wheel):
    tops = {name.partition("/")[0] for name in wheel if ".dist-info/" not in name}
    (entry_points,) = (text for name, text in wheel.items() if name.endswith("entry_points.txt"))

    assert set(PACKAGES) == tops
    assert [] == [name for name in PACKAGES if f"{name}/py.typed" not in wheel]
    assert b"[console_scripts]\ndrainkit = drainkit_cli:main\n" in entry_points
    assert b"[pytest11]\ndrainkit = drainkit_pytest\n" in entry_points


def test_the_sdist_can_be_built_and_tested_again(dist):
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    expected = {"hatch_build.py", "noxfile.py", "conftest.py", "CHANGELOG.md", "tests/conftest.py"}

    assert expected <= names
    assert [] == [name for name in names if name.startswith(("docs/_build", ".github", ".ci"))]


def test_the_index_would_take_them(dist):
    if importlib.util.find_spec("twine") is None:
        pytest.skip("needs twine (dependency group: package)")
    files = [str(path) for path in sorted(dist.iterdir()) if path.name.startswith("drainkit-")]
    got = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *files],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert 0 == got.returncode, got.stdout
    assert 2 == got.stdout.count("PASSED")


def test_every_python_of_the_classifiers_is_tested_by_the_workflow():
    pythons = [
        line.rpartition(" ")[2]
        for line in PYPROJECT["project"]["classifiers"]
        if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", line)
    ]
    workflow = ROOT / ".github" / "workflows" / "tests.yml"
    if not workflow.exists():
        pytest.skip("needs a clone: the sdist has no workflows")
    (listed,) = re.findall(r"python: \[(.*)\]", workflow.read_text(encoding="utf-8"))

    assert pythons == re.findall(r'"([^"]+)"', listed)
