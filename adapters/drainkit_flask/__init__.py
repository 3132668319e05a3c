"""drainkit for Flask: `init_app` wraps an application and reads its configuration.

Call it behind the configuration::

    from drainkit_flask import init_app

    app.config["DRAINKIT_MAX_SECONDS"] = 10.0
    init_app(app)

Without configuration keys, ``app.wsgi_app = drainkit_wsgi.DrainMiddleware(app.wsgi_app)`` is
equally good.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from flask import Flask

from drainkit import DrainPolicy, OnReport
from drainkit_wsgi import DrainMiddleware

__all__ = ["init_app"]

App = TypeVar("App", bound=Flask)

_PREFIX = "DRAINKIT_"
_FIELDS = {_PREFIX + field.name.upper(): field.name for field in dataclasses.fields(DrainPolicy)}


def init_app(
    app: App, policy: DrainPolicy | None = None, *, on_report: OnReport | None = None
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

    Returns:
        The same application.

    Raises:
        ValueError: A key in ``app.config`` that begins with ``DRAINKIT_`` is unknown, or its
            value is not allowed; the message names the key.
        TypeError: *app* is no Flask application, *policy* no DrainPolicy, or *on_report* cannot
            be called.
        RuntimeError: drainkit is around this application already, with another policy or another
            *on_report*.
    """
    if not isinstance(app, Flask):
        raise TypeError(f"app must be a Flask application, not its wsgi_app; got {app!r}")
    if policy is not None and not isinstance(policy, DrainPolicy):
        raise TypeError(f"policy must be a DrainPolicy or None; got {policy!r}")
    configured = _configured(app.config, policy)
    present = app.extensions.get("drainkit", app.wsgi_app)
    if isinstance(present, DrainMiddleware):
        if (present.policy, present.on_report) != (configured, on_report):
            raise RuntimeError(
                f"drainkit is around this application already, with {present.policy} and "
                f"on_report={present.on_report!r}; it cannot be changed to {configured} and "
                f"on_report={on_report!r}: call init_app once, after app.config is complete"
            )
        app.extensions["drainkit"] = present
        return app
    middleware = DrainMiddleware(app.wsgi_app, configured, on_report=on_report)
    app.wsgi_app = middleware  # type: ignore[method-assign]  # as Flask's own documentation does
    app.extensions["drainkit"] = middleware
    return app


def _configured(config: Mapping[str, Any], base: DrainPolicy | None) -> DrainPolicy:
    policy = base if base is not None else DrainPolicy()
    for key, value in config.items():
        if not key.startswith(_PREFIX):
            continue
        if key not in _FIELDS:
            raise ValueError(
                f"app.config[{key!r}] is not known to drainkit; remove it or use one of: "
                f"{', '.join(_FIELDS)}"
            )
        try:
            policy = DrainPolicy.from_settings({_FIELDS[key]: value}, base=policy)
        except ValueError as exc:
            raise ValueError(f"app.config[{key!r}]: {exc}") from exc
    return policy
