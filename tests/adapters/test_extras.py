"""Without the extra of its world, an adapter says in one line which one to install."""

import subprocess
import sys

import pytest

# A module that is not installed, whatever is.
WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""
IMPORT = """
try:
    __import__(sys.argv[2])
except ImportError as error:
    print(f"{error} <- {error.__cause__}")
"""
COMMAND = """
from drainkit_cli import main
main()
"""


def run(program, *arguments):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("package", "missing", "extra"),
    [
        ("drainkit_asgi", "anyio", "asgi"),
        ("drainkit_django", "django", "django"),
        ("drainkit_django", "asgiref", "django"),
        ("drainkit_flask", "flask", "flask"),
        ("drainkit_flask", "werkzeug", "flask"),
        ("drainkit_opentelemetry", "opentelemetry", "opentelemetry"),
        ("drainkit_prometheus", "prometheus_client", "prometheus"),
        ("drainkit_starlette", "starlette", "starlette"),
        ("drainkit_starlette", "anyio", "starlette"),
        ("drainkit_clients.http2", "h2", "http2"),
    ],
)
def test_an_adapter_without_its_framework_names_the_extra(package, missing, extra):
    got = run(IMPORT, missing, package)
    told, _, cause = got.stdout.partition(" <- ")

    assert told.endswith(
        f'needs {missing}, which is not installed: pip install "drainkit[{extra}]"'
    )
    assert cause.startswith("No module named ")


def test_django_is_named_where_it_is_missing_with_all_that_it_brings():
    got = run(IMPORT, "django,asgiref", "drainkit_django")

    assert got.stdout.startswith("drainkit_django needs django, which is not installed: ")


def test_the_plugin_without_pytest_names_it():
    got = run(IMPORT, "pytest", "drainkit_pytest")

    assert got.stdout.startswith(
        "drainkit_pytest needs pytest, which is not installed: pip install pytest <- No module"
    )


@pytest.mark.parametrize("package", ["drainkit", "drainkit_wsgi", "drainkit_conformance"])
def test_what_needs_nothing_is_imported_without(package):
    for missing in ("anyio", "click", "pytest"):
        got = run(IMPORT, missing, package)

        assert ("", "", 0) == (got.stdout, got.stderr, got.returncode)


@pytest.mark.parametrize("missing", ["click", "rich"])
@pytest.mark.parametrize("arguments", [(), ("demo",), ("probe", "http://127.0.0.1:1/")])
def test_the_command_without_its_extra_says_so_in_one_line(missing, arguments):
    got = run(COMMAND, missing, *arguments)
    line = (
        f"The command drainkit needs {missing}, which is not installed: "
        f'pip install "drainkit[cli]"\n'
    )

    assert (2, "", line) == (got.returncode, got.stdout, got.stderr)
