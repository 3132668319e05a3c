"""A pytest plugin: your application on your own server, and whether its early answers arrive.

pytest finds it where drainkit is installed. It brings one fixture, `drainkit_server`, and loads the
rest with the first test that asks for that::

    def test_a_stranger_is_told_so(drainkit_server):
        site = drainkit_server("gunicorn", "--bind", "{address}", "mysite.wsgi")
        site.assert_arrives("/upload", status=403)

It uploads with the clients of `drainkit_clients` and judges as `drainkit_conformance` does. Nothing
of drainkit's middleware is imported: a test can first see what is lost without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

try:
    import pytest
except ModuleNotFoundError as error:
    if error.name != "pytest":
        raise
    raise ModuleNotFoundError(
        f"{__name__} needs pytest, which is not installed: pip install pytest",
        name=error.name,
        path=error.path,
    ) from error

if TYPE_CHECKING:
    from ._servers import Start
    from ._site import ServerError, Site

__all__ = ["ServerError", "Site", "Start", "drainkit_server"]


@pytest.fixture(scope="session")
def drainkit_server(pytestconfig: pytest.Config) -> Iterator[Start]:
    """Start servers of yours, each once in a session, and stop them at its end.

    The value is a function, `drainkit_pytest.Start`: it takes the command and returns a
    `drainkit_pytest.Site`.
    """
    from ._servers import Servers

    with Servers(pytestconfig.rootpath) as servers:
        yield servers


def __getattr__(name: str) -> object:
    # PEP 562: what only some tests need is imported with its first use.
    if name == "Start":
        from ._servers import Start

        return Start
    if name in ("ServerError", "Site"):
        from . import _site

        return getattr(_site, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
