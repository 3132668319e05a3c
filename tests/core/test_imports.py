"""Whoever imports the engine imports the engine."""

import subprocess
import sys

import pytest

ADAPTERS = {
    "drainkit_asgi",
    "drainkit_cli",
    "drainkit_clients",
    "drainkit_conformance",
    "drainkit_django",
    "drainkit_flask",
    "drainkit_opentelemetry",
    "drainkit_prometheus",
    "drainkit_pytest",
    "drainkit_probe",
    "drainkit_starlette",
    "drainkit_wsgi",
}
WORLDS = {
    "anyio",
    "click",
    "django",
    "fastapi",
    "flask",
    "gevent",
    "greenlet",
    "opentelemetry",
    "prometheus_client",
    "rich",
    "starlette",
    "trio",
    "werkzeug",
}
INPUT_AND_OUTPUT = {"_socket", "asyncio", "http", "select", "selectors", "socket", "ssl", "wsgiref"}


def modules_after(*imports):
    """Return what a new process has loaded after these imports and had not before."""
    program = (
        "import sys; before = set(sys.modules);"
        + "".join(f"import {module};" for module in imports)
        + "print(*(set(sys.modules) - before))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return set(result.stdout.split())


@pytest.mark.parametrize("module", ["drainkit", "drainkit.testing", "drainkit.telemetry"])
def test_the_engine_imports_no_adapter_no_framework_and_nothing_that_does_io(module):
    loaded = modules_after(module)

    assert module in loaded
    assert set() == loaded & (ADAPTERS | WORLDS | INPUT_AND_OUTPUT)


def test_the_engine_imports_only_what_every_drain_needs():
    assert set() == {"drainkit.testing", "drainkit.telemetry"} & modules_after("drainkit")


@pytest.mark.parametrize(
    ("package", "library"),
    [
        ("drainkit_prometheus", "prometheus_client"),
        ("drainkit_opentelemetry", "opentelemetry.metrics"),
    ],
)
def test_what_records_reports_imports_its_library_and_no_adapter(package, library):
    pytest.importorskip(library)
    loaded = modules_after(package)

    assert {package} == loaded & ADAPTERS
    assert {library.partition(".")[0]} == loaded & WORLDS


def test_the_wsgi_adapter_imports_no_event_loop_and_no_other_adapter():
    loaded = modules_after("drainkit_wsgi")

    assert {"drainkit_wsgi", "drainkit"} == loaded & (ADAPTERS | {"drainkit"})
    assert set() == loaded & (WORLDS | {"asyncio"})


def test_the_asgi_adapter_imports_anyio_and_no_other_adapter_or_framework():
    pytest.importorskip("anyio", reason="drainkit_asgi needs anyio (extra: asgi)")
    loaded = modules_after("drainkit_asgi")

    assert {"drainkit_asgi", "drainkit"} == loaded & (ADAPTERS | {"drainkit"})
    assert {"anyio"} == loaded & (WORLDS - {"trio"})


@pytest.mark.parametrize(
    "module",
    [
        "drainkit",
        "drainkit_wsgi",
        "drainkit_asgi",
        "drainkit_clients",
        "drainkit_conformance",
        "drainkit_probe",
    ],
)
def test_every_public_name_is_there(module):
    if module == "drainkit_asgi":
        pytest.importorskip("anyio", reason="drainkit_asgi needs anyio (extra: asgi)")
    __import__(module)
    names = sys.modules[module].__all__

    assert [] == [name for name in names if not hasattr(sys.modules[module], name)]
    assert sorted(names, key=lambda name: (not name.isupper(), name)) == list(names)
