"""`init_app`: drainkit_wsgi's middleware around ``app.wsgi_app``, as ``app.config`` says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, Unpack

from flask import Flask

from drainkit import Configuration, DrainPolicy, OnReport, PolicyFields
from drainkit_wsgi import DrainMiddleware

App = TypeVar("App", bound=Flask)

_NAMESPACE = "DRAINKIT"
_KEYS = {
    f"{_NAMESPACE}_{field.name.upper()}": field.name for field in dataclasses.fields(DrainPolicy)
}


def init_app(
    app: App,
    policy: DrainPolicy | None = None,
    *,
    on_report: OnReport | None = None,
    **fields: Unpack[PolicyFields],
) -> App:
    """Wrap an application, so that its answers arrive although it leaves bodies unread.

    The middleware stands around ``app.wsgi_app`` as it is at this moment, and in
    ``app.extensions["drainkit"]``. Call it last, so that it stands around other middleware, too.
    Calling it again is allowed when that would change nothing.

    Args:
        app: The Flask application. Keys of ``app.config`` such as ``DRAINKIT_MAX_BYTES`` (the
            upper-cased fields of `DrainPolicy`) are read now; later changes have no effect.
        policy: The bounds where the configuration says nothing. ``None`` means the defaults.
        on_report: Called with the `drainkit.DrainReport` of each body that was left unread.
            ``None`` calls nobody.
        **fields: Fields of `DrainPolicy`, such as ``max_bytes=1024``; they replace those of
            *policy*, and ``app.config`` replaces them.

    Returns:
        The same application.

    Raises:
        ValueError: A key in ``app.config`` that begins with ``DRAINKIT`` is unknown, or a value is
            not allowed; the message names the key.
        TypeError: *app* is no Flask application, *policy* no DrainPolicy, *on_report* no plain
            callable, or a keyword no field of DrainPolicy.
        RuntimeError: drainkit is around this application already, with another policy or another
            *on_report*.
    """
    if not isinstance(app, Flask):
        raise TypeError(
            f"app must be a Flask application{_instead_of(app)}; got {app!r}. Around any other "
            f"application write DrainMiddleware, of drainkit_wsgi or of drainkit_asgi"
        )
    given = Configuration.of(policy, on_report, fields)
    wanted = Configuration(_configured(app.config, given.policy), given.on_report)
    present = app.extensions.get("drainkit", app.wsgi_app)
    if isinstance(present, DrainMiddleware):
        Configuration(present.policy, present.on_report).refuse_change(
            wanted, "call init_app once, after app.config is complete"
        )
        app.extensions["drainkit"] = present
        return app
    middleware = DrainMiddleware(app.wsgi_app, wanted.policy, on_report=wanted.on_report)
    app.wsgi_app = middleware  # type: ignore[method-assign]  # as Flask's own documentation does
    app.extensions["drainkit"] = middleware
    return app


def _instead_of(wrong: object) -> str:
    if isinstance(wrong, type):
        return ", not its class"
    return ", not its wsgi_app" if callable(wrong) else ""


def _configured(config: Mapping[str, Any], policy: DrainPolicy) -> DrainPolicy:
    for key, value in config.items():
        if not key.startswith(_NAMESPACE):
            continue
        if key not in _KEYS:
            raise ValueError(
                f"app.config[{key!r}] is not known to drainkit; write each field of DrainPolicy "
                f"as a key of its own, and pass on_report to init_app. The keys are: "
                f"{', '.join(_KEYS)}"
            )
        try:
            policy = DrainPolicy.from_settings({_KEYS[key]: value}, base=policy)
        except ValueError as exc:
            raise ValueError(f"app.config[{key!r}]: {exc}") from exc
    return policy
