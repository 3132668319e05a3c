"""An application that a word names: ``"package.module:app"``, as a server's command line does.

Rule: an error says what to write instead, and an error of the application's own passes unchanged.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
from typing import Any

APPLICATION_VARIABLE = "DRAINKIT_APP"
"""The environment variable that names an application where no argument does."""

_SUCH_AS = "write 'package.module:app', or 'package.module:make_app()' for a function that makes it"


def load_application(name: str | None) -> Any:
    """Import the application that a word names.

    Args:
        name: ``"package.module:app"``, or ``"package.module:make_app(...)"`` with literals as its
            arguments, as gunicorn takes it. ``None`` means what the environment variable
            ``DRAINKIT_APP`` says.

    Raises:
        ValueError: It is no such word, or there is none.
        TypeError: It is no word, or what it names cannot be called with these arguments.
        ImportError: There is no such module, or it has no such name. What the module itself raises
            while it is imported passes unchanged.
    """
    if name is None:
        name = os.environ.get(APPLICATION_VARIABLE, "").strip()
        if not name:
            raise ValueError(
                f"no application is named: {_SUCH_AS}, as the argument of wrap or in the "
                f"environment variable {APPLICATION_VARIABLE}"
            )
    if not isinstance(name, str):
        raise TypeError(
            f"wrap takes a word that names an application; got {name!r}. Around an application "
            f"write DrainMiddleware(app)"
        )
    module_name, colon, called = name.strip().partition(":")
    if not module_name or not colon or not called:
        raise ValueError(f"{name!r} names no application: {_SUCH_AS}")
    names, arguments = _parsed(name, called)
    thing = _imported(module_name)
    for attribute in names:
        try:
            thing = getattr(thing, attribute)
        except AttributeError as error:
            raise ImportError(f"{name!r}: {error}") from error
    if arguments is None:
        return thing
    _check_call(thing, name, arguments)
    return thing(*arguments[0], **arguments[1])


def _check_call(thing: Any, name: str, arguments: tuple[list[Any], dict[str, Any]]) -> None:
    """Refuse a call that cannot be made; what cannot be asked for its arguments is called."""
    found = name.partition(":")[2].partition("(")[0].strip()
    bare = name.strip().partition("(")[0]
    cure = (
        f"if {found} is the application itself, write {bare!r}; if it makes the application, give "
        f"the arguments that it takes"
    )
    if not callable(thing):
        raise TypeError(f"{name!r}: {found} is no function, but {thing!r}; write {bare!r}")
    try:
        signature = inspect.signature(thing)
    except Exception:  # nothing can be known of it
        return
    try:
        signature.bind(*arguments[0], **arguments[1])
    except TypeError as error:
        raise TypeError(
            f"{name!r}: {found} cannot be called so ({error}); it takes {signature}: {cure}"
        ) from None


def _parsed(name: str, called: str) -> tuple[list[str], tuple[list[Any], dict[str, Any]] | None]:
    try:
        expression = ast.parse(called.strip(), mode="eval").body
        arguments = None
        if isinstance(expression, ast.Call):
            positional = [ast.literal_eval(one) for one in expression.args]
            keywords: dict[str, Any] = {}
            for one in expression.keywords:
                if one.arg is None:  # **{...}
                    raise ValueError
                keywords[one.arg] = ast.literal_eval(one.value)
            arguments = (positional, keywords)
            expression = expression.func
        names: list[str] = []
        while isinstance(expression, ast.Attribute):
            names.insert(0, expression.attr)
            expression = expression.value
        if isinstance(expression, ast.Name):
            return [expression.id, *names], arguments
    except (SyntaxError, ValueError):
        pass
    raise ValueError(f"{name!r} names no application: {_SUCH_AS}; arguments must be literals")


def _imported(module_name: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # Of the application's own imports nothing is to be said here.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ModuleNotFoundError(
            f"no module {error.name!r} for the application {module_name!r}: start the server where "
            f"Python finds it (its folder, or PYTHONPATH)",
            name=error.name,
        ) from None
