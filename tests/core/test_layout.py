"""The house stays as README describes it: what import-linter cannot express."""

import ast
import importlib.util
import re
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = {
    Path(path).name: ROOT / path
    for path in PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
}


def private_imports(source: str, package: str) -> Iterator[str]:
    """Yield each import of a private module or name of one of our packages other than `package`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            owner, *inner = name.split(".")
            private = any(part.startswith("_") and not part.endswith("__") for part in inner)
            if private and owner in PACKAGES and owner != package:
                yield f"line {node.lineno}: {name}"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from drainkit._drain import Drain", ["line 1: drainkit._drain.Drain"]),
        ("from drainkit import _drain", ["line 1: drainkit._drain"]),
        ("import drainkit._drain", ["line 1: drainkit._drain"]),
        ("from drainkit_wsgi._upload import Upload", []),
        ("from drainkit import Drain, __version__", []),
        ("from . import _servers", []),
        ("from werkzeug._internal import _log", []),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_search_finds_private_imports_and_nothing_else(source, found):
    """A search that finds nothing must not pass for a clean house."""
    assert found == list(private_imports(source, "drainkit_wsgi"))


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_imports_a_private_name_of_another(package):
    """An adapter has the same rights as an adapter that somebody else writes: public names only."""
    modules = sorted(PACKAGES[package].rglob("*.py"))
    found = [
        f"{module.relative_to(ROOT)}, {hit}"
        for module in modules
        for hit in private_imports(module.read_text(encoding="utf-8"), package)
    ]

    assert modules, f"{package} has no modules"
    assert [] == found


def named_modules(text: str, shell: str) -> set[str]:
    """Return the modules that a column of CONTRIBUTING.md's table of rooms names."""
    rows = [line.split("|") for line in text.splitlines() if line.startswith("|")]
    (column,) = {row.index(cell) for row in rows for cell in row if f"`{shell}`" in cell}
    named = " ".join(row[column] for row in rows if len(row) > column)
    return set(re.findall(r"`(_?[a-z]+)/?`", named))


@pytest.mark.parametrize("shell", ["drainkit_asgi", "drainkit_wsgi"])
def test_who_looks_for_a_room_finds_it_in_the_table_for_contributors(shell):
    """A room that nobody tells of is found last."""
    modules = {module.stem for module in PACKAGES[shell].glob("*.py")} - {"__init__"}
    rooms = modules | {folder.parent.name for folder in PACKAGES[shell].glob("*/__init__.py")}
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

    assert rooms == named_modules(text, shell)


SERVERS = (
    "aiohttp", "bjoern", "cheroot", "daphne", "gevent", "granian", "gunicorn", "hypercorn",
    "mod_wsgi", "paste", "uvicorn", "uwsgi", "waitress", "werkzeug", "wsgiref",
)  # fmt: skip


def named_servers(source: str) -> Iterator[str]:
    """Yield each server that code names; docstrings and comments may give one as a reason."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    code = ast.unparse(tree).lower()
    return (server for server in SERVERS if server in code)


def test_the_search_finds_servers_in_code_only():
    source = 'def f(server):\n    """As daphne."""\n    return server.is_uvicorn or \'gunicorn\''

    assert ["gunicorn", "uvicorn"] == list(named_servers(source))


@pytest.mark.parametrize("shell", ["drainkit_asgi", "drainkit_wsgi"])
def test_what_only_concerns_one_server_is_in_the_room_of_the_servers(shell):
    """A server that behaves otherwise is another row, and a condition nowhere."""
    found = {
        (module.name, server)
        for module in PACKAGES[shell].glob("*.py")
        for server in named_servers(module.read_text(encoding="utf-8"))
    }

    assert set() == found


def test_each_folder_in_adapters_is_in_the_wheel():
    """The build leaves out what pyproject.toml does not name, without a word."""
    folders = {file.parent.name for file in (ROOT / "adapters").glob("*/__init__.py")}

    assert folders | {"drainkit"} == set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_says_that_it_is_typed(package):
    """Without py.typed a type checker treats every name of the package as Any."""
    assert (PACKAGES[package] / "py.typed").is_file()


def test_import_linter_knows_every_package():
    """A package that import-linter does not know may import what it likes."""
    assert set(PYPROJECT["tool"]["importlinter"]["root_packages"]) == set(PACKAGES)


def test_importing_the_engine_imports_the_standard_library_and_itself_only():
    """Whoever imports drainkit pays for no adapter and no framework, installed or not."""
    program = (
        "import sys; before = set(sys.modules); import drainkit;"
        "print(*sorted({m.partition('.')[0] for m in set(sys.modules) - before}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    # Python 3.15 imports a module of its own that its list of them lacks.
    foreign = {name for name in result.stdout.split() if not is_of_python(name)}

    assert foreign == {"drainkit"}


def is_of_python(name):
    """Return whether a module is the standard library's, by its list or by where it lies."""
    if name in sys.stdlib_module_names:
        return True
    spec = importlib.util.find_spec(name)
    return spec is not None and Path(spec.origin).parent == Path(sysconfig.get_path("stdlib"))


def test_what_pip_installs_is_not_taken_for_the_standard_library():
    assert [True, False, False] == [is_of_python(name) for name in ("json", "pytest", "drainkit")]
