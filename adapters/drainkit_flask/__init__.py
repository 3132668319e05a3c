"""drainkit for Flask: `init_app` wraps an application and reads its configuration.

Call it behind the configuration::

    from drainkit_flask import init_app

    app.config["DRAINKIT_MAX_SECONDS"] = 10.0
    init_app(app)

Without configuration keys, ``app.wsgi_app = drainkit_wsgi.DrainMiddleware(app.wsgi_app)`` is
equally good.
"""

from drainkit import needs_extra

with needs_extra(__name__, "flask"):
    from ._install import init_app

__all__ = ["init_app"]
