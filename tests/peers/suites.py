"""The suites, a row each: where its tests are, what they need, and the places for drainkit.

Rule: no code of theirs is here; the tests come from the project's source distribution.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from tests.peers.inside.peers_inside.setting import Place


class Runner(Enum):
    """What runs a suite."""

    PYTEST = "pytest"
    DJANGO = "Django's runtests.py"


@dataclass(frozen=True, slots=True)
class Run:
    """One way to run a suite with drainkit.

    Attributes:
        place: Where drainkit stands.
        with_body: Whether each request without a body is given one.
    """

    place: Place
    with_body: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """One project's test suite.

    Attributes:
        name: What it is called on the command line and on the page.
        package: Its distribution on the package index.
        framework: The module ``around_...`` that wraps it.
        places: Where drainkit can stand.
        quick: The runs for a short check.
        extras: Extras of the distribution.
        requirements: What else the tests need.
        version: The version whose tests are run; ``None`` means the newest.
        version_reason: Why it is not the newest.
        runner: What runs it.
        tests: Arguments that choose the tests.
        deselected: Tests that are not run: what pytest's ``-m`` or ``--deselect`` is told, and why.
        python_path: Folders of the source distribution that its tests import from.
        variables: Environment variables that its tests want.
        is_short: Whether the suite is over before test processes beside it would have begun.
    """

    name: str
    package: str
    framework: str
    places: tuple[Place, ...]
    quick: tuple[Run, ...] = ()
    extras: str = ""
    requirements: tuple[str, ...] = ()
    version: str | None = None
    version_reason: str = ""
    runner: Runner = Runner.PYTEST
    tests: tuple[str, ...] = ("tests",)
    deselected: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    python_path: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    is_short: bool = False

    def runs(self, *, quick: bool) -> tuple[Run, ...]:
        """Return the runs with drainkit."""
        if quick:
            return self.quick
        return tuple(Run(place, body) for body in (False, True) for place in self.places)


_STARLETTE_PLACES = (
    Place.OUTERMOST,
    Place.OUTERMOST_BETWEEN,
    Place.OUTERMOST_BEHIND,
    Place.INIT_APP,
    Place.ADD_MIDDLEWARE,
)
_ASGI_PLACES = (Place.OUTERMOST, Place.OUTERMOST_BETWEEN, Place.OUTERMOST_BEHIND)

# Django's folders of tests that make requests, or that are about what requests pass.
_DJANGO_APPS = (
    "asgi",
    "auth_tests",
    "builtin_server",
    "conditional_processing",
    "csrf_tests",
    "decorators",
    "file_uploads",
    "flatpages_tests",
    "generic_views",
    "handlers",
    "httpwrappers",
    "messages_tests",
    "middleware",
    "middleware_exceptions",
    "redirects_tests",
    "requests_tests",
    "responses",
    "servers",
    "sessions_tests",
    "shortcuts",
    "signed_cookies_tests",
    "sitemaps_tests",
    "sites_tests",
    "staticfiles_tests",
    "syndication_tests",
    "test_client",
    "test_client_regress",
    "urlpatterns",
    "urlpatterns_reverse",
    "view_tests",
    "wsgi",
)

ROWS = (
    Suite(
        name="starlette",
        package="starlette",
        framework="starlette",
        places=_STARLETTE_PLACES,
        quick=(Run(Place.INIT_APP, with_body=True),),
        extras="[full]",
        requirements=(
            "pytest>=9",
            "httpx2[zstd]",
            "opentelemetry-sdk",
            "blockbuster",
            "trio",
            "importlib-metadata",
            "pytest-codspeed",
        ),
    ),
    Suite(
        name="flask",
        package="flask",
        framework="flask",
        places=(Place.OUTERMOST, Place.INIT_APP),
        is_short=True,
        quick=(Run(Place.INIT_APP), Run(Place.INIT_APP, with_body=True)),
        # Its conftest.py uses a name of pytest's own that 9.1 has no more.
        requirements=("pytest<9.1", "asgiref", "greenlet", "python-dotenv"),
    ),
    Suite(
        name="werkzeug",
        package="werkzeug",
        framework="werkzeug",
        places=(Place.OUTERMOST,),
        quick=(Run(Place.OUTERMOST, with_body=True),),
        requirements=(
            "pytest",
            "cffi",
            "cryptography",
            "ephemeral-port-reserve",
            "watchdog",
        ),
        deselected=MappingProxyType(
            {"-m=not dev_server": "they start a server in another process, without drainkit"}
        ),
    ),
    Suite(
        name="django",
        package="django",
        framework="django",
        places=(Place.OUTERMOST, Place.MIDDLEWARE),
        requirements=("jinja2", "docutils", "tblib", "pyyaml", "pillow", "anyio"),
        runner=Runner.DJANGO,
        tests=_DJANGO_APPS,
    ),
    Suite(
        name="drf",
        package="djangorestframework",
        framework="django",
        places=(Place.OUTERMOST, Place.MIDDLEWARE),
        quick=(Run(Place.MIDDLEWARE, with_body=True),),
        requirements=(
            "pytest==9.*",
            "pytest-django<5",
            "pytest-cov",
            "anyio",
            "dj-database-url",
            "importlib-metadata<10",
            "django-filter",
            "django-guardian<3.6",
            "inflection",
            "legacy-cgi; python_version>='3.13'",
            "markdown",
            "psycopg[binary]",
            "pygments==2.21.*",
            "pyyaml",
            "requests",
            "uritemplate",
        ),
    ),
    Suite(
        name="falcon",
        package="falcon",
        framework="falcon",
        places=_ASGI_PLACES,
        requirements=(
            "pytest",
            "anyio",
            "pyyaml",
            "requests",
            "aiofiles",
            "httpx",
            "uvicorn",
            "websockets",
            "cbor2",
            "msgpack",
            "mujson",
            "ujson",
            "python-rapidjson",
            "orjson",
            "msgspec",
        ),
        deselected=MappingProxyType(
            {
                "--ignore=tests/asgi/test_asgi_servers.py": "real servers in other processes",
                "--ignore=tests/test_wsgi_servers.py": "real servers in other processes",
                "--deselect=tests/test_testing.py::test_content_type[asgi-stream]": "given a body, "
                "its client waits for ever, also plain",
            }
        ),
    ),
    Suite(
        name="quart",
        package="quart",
        framework="quart",
        places=_ASGI_PLACES,
        requirements=("pytest", "pytest-asyncio", "pytest-cov", "hypothesis", "python-dotenv"),
    ),
    Suite(
        name="litestar",
        package="litestar",
        framework="litestar",
        places=_ASGI_PLACES,
        extras="[full]",
        version="2.13.0",
        version_reason="the source distributions of later ones have no tests",
        requirements=(
            "pytest==8.3.4",
            "pytest-asyncio",
            "pytest-lazy-fixtures",
            "pytest-mock",
            "pytest-rerunfailures",
            "aiosqlite",
            "asyncpg",
            "beautifulsoup4",
            "fsspec",
            "greenlet",
            "httpx-sse",
            "hypothesis",
            "psutil",
            "psycopg[binary,pool]",
            "sqlalchemy<2.1",
            "starlette",
            "time-machine<3",
            "trio",
        ),
        tests=("tests/unit",),
    ),
    Suite(
        name="fastapi",
        package="fastapi",
        framework="starlette",
        places=_STARLETTE_PLACES,
        extras="[all,opentelemetry]",
        requirements=(
            "pytest<9.2",
            "anyio[trio]",
            "a2wsgi<=2.0.0",
            "coverage",
            "dirty-equals",
            "flask",
            "inline-snapshot",
            "logfire",
            "mypy",
            "opentelemetry-instrumentation-fastapi",
            "pwdlib[argon2]",
            "pyjwt",
            "pytest-codspeed",
            "python-slugify",
            "sentry-sdk",
            "sqlmodel",
            "strawberry-graphql",
            "ruff",
            "typer",
        ),
        python_path=("docs_src",),
    ),
)
SUITES = MappingProxyType({suite.name: suite for suite in ROWS})
