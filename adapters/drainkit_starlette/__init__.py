"""drainkit for Starlette and FastAPI.

Call `init_app` where the application is made::

    from drainkit_starlette import init_app

    init_app(app)

`init_app` wraps outermost and so sees every answer, those of ``max_body_size`` and of
``ServerErrorMiddleware`` included. `DrainMiddleware` is for ``app.add_middleware``; a
`PlacementWarning` tells when that is not enough.
"""

from drainkit import needs_extra

with needs_extra(__name__, "starlette"):
    from ._install import init_app
    from ._middleware import DrainMiddleware, PlacementWarning

__all__ = ["DrainMiddleware", "PlacementWarning", "init_app"]
