"""The reference has every public name, and whoever builds the documentation has what it needs."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from drainkit import Outcome, publish
from tests.reports import changed

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
GROUPS = PYPROJECT["dependency-groups"]
PACKAGES = {
    Path(path).name: ROOT / path
    for path in PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
}
READ_THE_DOCS = ROOT / ".readthedocs.yaml"
REFERENCE = {
    path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs/reference").glob("*.md")
}
# The command, which has a page of its own.
ELSEWHERE = {"drainkit_cli.main"}


def assigned(path, name):
    """Return what a module assigns to a name, which is literal."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [name] == [ast.unparse(one) for one in node.targets]:
            return ast.literal_eval(node.value)
    raise AssertionError(f"{path} assigns nothing to {name}")


def documented():
    """Return the names that the reference describes: of directives, modules' members apart."""
    pattern = r"^\.\. (?:auto\w+|py:\w+):: ([\w.]+)"
    return {name for text in REFERENCE.values() for name in re.findall(pattern, text, re.M)}


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_every_public_name_of_a_package_is_in_the_reference(package):
    names = {f"{package}.{name}" for name in assigned(PACKAGES[package] / "__init__.py", "__all__")}
    if package == "drainkit_pytest":  # a fixture is asked for by its bare name
        names = names - {"drainkit_pytest.drainkit_server"} | {"drainkit_server"}

    assert [] == sorted(names - documented() - ELSEWHERE)


def extra_of(module):
    """Return the extra that a module of ours is imported with; None without one."""
    extra = module.removeprefix("drainkit_").rpartition(".")[2]
    return extra if extra in EXTRAS else None


@pytest.mark.skipif(not READ_THE_DOCS.exists(), reason="needs a clone: the sdist has no such file")
def test_read_the_docs_installs_all_that_the_documentation_is_made_of():
    """The site is built there and nowhere else, so that nobody would see it fail before."""
    told = READ_THE_DOCS.read_text(encoding="utf-8")
    (chosen,) = re.findall(r'"\.\[([\w,]+)\]"', told)
    groups = set(re.findall(r"--group (\w+)", told))
    conf = ROOT / "docs/conf.py"
    packages = assigned(conf, "PACKAGES")
    modules = {
        name
        for text in REFERENCE.values()
        for name in re.findall(r"^\.\. automodule:: ([\w.]+)", text, re.M)
    }
    wanted = {extra_of(module) for module in {*packages, *modules}} - {None}

    assert set(PACKAGES) == set(packages)
    assert {"asgi", "opentelemetry", "prometheus", "http2"} <= wanted
    assert [] == sorted(wanted - set(chosen.split(",")))

    extensions = [name for name in assigned(conf, "extensions") if not name.startswith("sphinx.")]
    themes = [assigned(conf, "html_theme")]
    needed = {re.sub(r"[._]", "-", name) for name in ("sphinx", "pytest", *extensions, *themes)}
    installed = {re.split(r"[<>=\[]", one)[0] for group in groups for one in GROUPS[group]}

    assert {"docs", "test"} <= groups
    assert [] == sorted(needed - installed)


def test_the_attributes_of_a_log_record_are_those_of_the_reference(caplog):
    """One list, in one place: of a record as it is."""
    report = changed(outcome=Outcome.AT_CAPACITY)
    with caplog.at_level("WARNING", "drainkit"):
        publish(report, None, now=-1.0)
    (record,) = caplog.records
    listed = re.findall(r"^\| `(drainkit_\w+)` \|", REFERENCE["policy.md"], re.M)

    assert [name for name in vars(record) if name.startswith("drainkit_")] == listed
    assert Outcome.AT_CAPACITY.label == record.drainkit_outcome
