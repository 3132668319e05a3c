"""What a middleware is told when it is made, and the checks of it, for every adapter.

Rule: an error says what to write instead.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypedDict, TypeVar

from ._policy import DrainPolicy
from ._report import OnReport

_FIELDS = tuple(field.name for field in fields(DrainPolicy))

Application = TypeVar("Application", bound=Callable[..., Any])


class PolicyFields(TypedDict, total=False):
    """The fields of `DrainPolicy` as keyword arguments, each optional: ``max_bytes=1024``."""

    max_bytes: int | None
    max_seconds: float | None
    idle_seconds: float | None
    min_bytes_per_second: float
    grace_seconds: float
    max_concurrent: int | None
    late_read_bytes: int


@dataclass(frozen=True, slots=True)
class Configuration:
    """What somebody chose for one application.

    Attributes:
        policy: The bounds of every drain.
        on_report: Told of every drain; ``None`` when nobody is.
    """

    policy: DrainPolicy
    on_report: OnReport | None

    @classmethod
    def of(
        cls,
        policy: DrainPolicy | None,
        on_report: OnReport | None,
        fields: Mapping[str, Any] | None = None,
    ) -> Configuration:
        """Check the arguments of a middleware or of an ``init_app``.

        Args:
            policy: The bounds to start from. ``None`` means the defaults.
            on_report: A plain callable, or ``None``.
            fields: Fields of `DrainPolicy` that replace those of *policy*. ``None`` means none.

        Raises:
            TypeError: *policy* is no DrainPolicy, *on_report* is not a plain callable, or a key of
                *fields* is no field of DrainPolicy.
            ValueError: The value of a field is not allowed.
        """
        _check_policy(policy)
        check_on_report(on_report)
        for key in fields or ():
            if key not in _FIELDS:
                raise TypeError(
                    f"{key!r} is no argument; the fields of DrainPolicy are: {', '.join(_FIELDS)}"
                )
        if policy is None or fields:
            policy = DrainPolicy.from_settings(fields or {}, base=policy)
        return cls(policy, on_report)

    def refuse_change(self, wanted: Configuration, instead: str) -> None:
        """Do nothing if *wanted* is what holds already.

        Args:
            wanted: What a second call asks for.
            instead: What the caller should do.

        Raises:
            RuntimeError: It would be a change.
        """
        if self != wanted:
            raise RuntimeError(
                f"drainkit is around this application already, with {self.policy} and "
                f"on_report={self.on_report!r}; it cannot be changed to {wanted.policy} and "
                f"on_report={wanted.on_report!r}: {instead}"
            )


def _check_policy(policy: object) -> None:
    if policy is not None and not isinstance(policy, DrainPolicy):
        instead = "; give its fields as keywords" if isinstance(policy, Mapping) else ""
        raise TypeError(f"policy must be a DrainPolicy or None; got {policy!r}{instead}")


def check_on_report(on_report: object) -> None:
    """Refuse what cannot be told of a report.

    What cannot be asked for its arguments is believed.

    Raises:
        TypeError: It is not ``None``, and cannot be called with a report, is asynchronous, or is a
            class whose objects are what reports are for.
    """
    if on_report is None:
        return
    if not callable(on_report):
        raise TypeError(f"on_report must be a callable or None; got {on_report!r}")
    if _is_async(on_report):
        raise TypeError(
            f"on_report must be a plain callable, since nobody would await it; got the "
            f"asynchronous {on_report!r}"
        )
    if _objects_take(on_report, 1):
        raise TypeError(
            f"on_report must be a callable that takes a report, not the class of one; got "
            f"{on_report!r}: write {_made(on_report)}"
        )
    if not _takes(on_report, 1):
        raise TypeError(
            f"on_report must be a callable that takes one argument, the report; got {on_report!r}, "
            f"which is called otherwise: write a function such as lambda report: ..."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """How servers call the applications of one world, to tell a wrong application from a right one.

    Attributes:
        name: What such an application is called, with its article: ``"a WSGI application"``.
        arguments: The names of the positional arguments that it is called with.
        is_async: Whether the call may return an awaitable.
        attribute: Where frameworks keep the application inside of theirs: ``"wsgi_app"``.
        instead: What to write around things that are called with another number of arguments.
        instead_of: What to write instead of a thing that cannot be called and has this attribute.
    """

    name: str
    arguments: tuple[str, ...]
    is_async: bool
    attribute: str
    instead: Mapping[int, str]
    instead_of: Mapping[str, str] = field(default_factory=dict)

    def check(self, app: object) -> None:
        """Refuse what is certainly no application of this world.

        What cannot be asked for its arguments is believed.

        Raises:
            TypeError: It cannot be called, or not with these arguments; or it is a class whose
                objects are the applications.
        """
        must = f"app must be {self.name}, called with ({', '.join(self.arguments)})"
        if not callable(app):
            held = [told for name, told in self.instead_of.items() if hasattr(app, name)]
            raise TypeError(f"{must}; got {app!r}" + (f". {held[0]}" if held else ""))
        count = len(self.arguments)
        # An object that a call of the application may return is no application itself.
        returned = "__await__" if self.is_async else "__iter__"
        if not hasattr(app, returned):
            if _objects_take(app, count):
                raise TypeError(f"{must}; got the class {app!r}: make one of it, {_made(app)}")
            if _takes(app, count):
                for other, told in self.instead.items():
                    if other and _objects_take(app, other):
                        raise TypeError(f"{must}; got the class {app!r}. {told}")
        is_wrong = not _takes(app, count)
        if not is_wrong and (self.is_async or not _is_async(app)):
            return
        others = [told for other, told in self.instead.items() if is_wrong and _takes(app, other)]
        instead = f". {others[0]}" if others else ""
        kind = "which is called otherwise" if is_wrong else "which is asynchronous"
        raise TypeError(f"{must}; got {app!r}, {kind}{instead}")

    def inside(self, middleware: Any, app: Application) -> Application:
        """Return what *middleware* should keep as its ``app``: *app*, or once a check before it.

        A framework's application that calls a middleware around itself would call it for ever.
        Who takes the place of ``app.wsgi_app`` is known with the first call.

        Args:
            middleware: What is made around the application; it keeps it in its attribute ``app``.
            app: The application.
        """
        attribute = self.attribute
        if getattr(app, attribute, None) is None:
            return app

        def first_call(*arguments: Any) -> Any:
            if getattr(app, attribute, None) is middleware:
                name = type(middleware).__name__
                raise RuntimeError(
                    f"the application calls itself: write app.{attribute} = "
                    f"{name}(app.{attribute}), not app.{attribute} = {name}(app)"
                )
            middleware.app = app
            return app(*arguments)

        return first_call  # type: ignore[return-value]  # it is called as the application is


def _is_async(thing: object) -> bool:
    while isinstance(thing, functools.partial):
        thing = thing.func
    call = getattr(type(thing), "__call__", None)  # noqa: B004  # not whether, but what
    return any(
        inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one) for one in (thing, call)
    )


def _takes(app: Callable[..., Any], count: int) -> bool:
    try:
        # A wrapper's own arguments count, not those of what it wraps (werkzeug's
        # Request.application wraps a function of one argument).
        signature = inspect.signature(app, follow_wrapped=False)
    except Exception:  # nothing can be known of it
        return True
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def _objects_take(kind: Any, count: int) -> bool:
    """Tell whether it is a class, and its objects are called with so many arguments."""
    if not isinstance(kind, type) or type(kind).__call__ is not type.__call__:
        return False
    # Whoever makes its objects in its own way may return something else.
    make: Any = kind.__new__
    if make is not object.__new__:
        return False
    call = next((vars(base)["__call__"] for base in kind.__mro__ if "__call__" in vars(base)), None)
    return inspect.isfunction(call) and _takes(call, count + 1)


def _made(kind: Any) -> str:
    """Return how an object of a class is written."""
    return f"{kind.__name__}()" if _takes(kind, 0) else f"{kind.__name__}(...)"
