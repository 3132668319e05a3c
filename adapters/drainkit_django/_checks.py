"""The system checks: a wrong setting, and a place where the middleware does no good."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from ._settings import read

MIDDLEWARE_PATH = "drainkit_django.DrainMiddleware"


def check_drainkit(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Check ``settings.DRAINKIT`` and ``settings.MIDDLEWARE``."""
    _, problems = read()
    errors = [
        Error(problem.message, hint=problem.hint, id=problem.check_id) for problem in problems
    ]
    return [*errors, *_placement()]


def _placement() -> Iterator[Error | Warning]:
    if isinstance(settings.MIDDLEWARE, str) or not isinstance(settings.MIDDLEWARE, Iterable):
        yield Error(
            f"settings.MIDDLEWARE must be a list of dotted paths; got {settings.MIDDLEWARE!r}.",
            hint=f"Write a list, with {MIDDLEWARE_PATH!r} as its first entry.",
            id="drainkit.E006",
        )
        return
    middleware = list(settings.MIDDLEWARE)
    foreign = [entry for entry in middleware if _is_foreign(entry)]
    for entry in foreign:
        yield Error(
            f"{entry!r} in settings.MIDDLEWARE is {_what(entry)}.",
            hint=f"Write {MIDDLEWARE_PATH!r} instead.",
            id="drainkit.E006",
        )
    if MIDDLEWARE_PATH not in middleware:
        if not foreign and not _wsgi_module_names_drainkit():
            yield Warning(
                f"drainkit does nothing: {MIDDLEWARE_PATH!r} is not in settings.MIDDLEWARE.",
                hint="Make it the first entry, or use drainkit_django.get_wsgi_application() in "
                "wsgi.py.",
                id="drainkit.W003",
            )
        return
    if middleware[0] != MIDDLEWARE_PATH:
        yield Warning(
            f"{MIDDLEWARE_PATH!r} is entry {middleware.index(MIDDLEWARE_PATH) + 1} of "
            f"settings.MIDDLEWARE; answers of {middleware[0]!r} may be lost.",
            hint="Make it the first entry.",
            id="drainkit.W001",
        )
    if getattr(settings, "ASGI_APPLICATION", None):
        yield Warning(
            f"{MIDDLEWARE_PATH!r} does nothing under ASGI (settings.ASGI_APPLICATION is "
            f"{settings.ASGI_APPLICATION!r}): Django reads the whole body before any middleware.",
            hint="Remove it. If this site is served by WSGI, too, add 'drainkit.W002' to "
            "SILENCED_SYSTEM_CHECKS.",
            id="drainkit.W002",
        )


def _is_foreign(entry: object) -> bool:
    """Tell whether an entry is of drainkit, and not the one that is right."""
    if isinstance(entry, str):
        return entry.startswith("drainkit") and entry != MIDDLEWARE_PATH
    # A class or an instance of one; another one is Django's to refuse.
    kind = entry if isinstance(entry, type) else type(entry)
    return entry is None or kind.__module__.startswith("drainkit")


def _what(entry: object) -> str:
    if not isinstance(entry, str):
        return "no dotted path"
    package, _, name = entry.partition(".")
    if package == "drainkit_django" and name.endswith(".DrainMiddleware"):
        return "drainkit's middleware by a name that may change"
    return "no middleware for Django"


def _wsgi_module_names_drainkit() -> bool:
    """Tell whether the site's ``wsgi.py`` seems to wrap, without running it."""
    path = getattr(settings, "WSGI_APPLICATION", None)
    if not isinstance(path, str):
        return False
    try:
        spec = importlib.util.find_spec(path.rpartition(".")[0])
        source = spec.loader.get_source(spec.name) if spec and spec.loader else None  # type: ignore[attr-defined]
    except (ImportError, AttributeError, ValueError, SyntaxError, OSError):
        return False  # what is wrong with it, Django will say when it serves
    return source is not None and "drainkit" in source
