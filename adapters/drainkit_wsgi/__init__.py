"""drainkit for any WSGI application: Flask, Django, Falcon, Bottle, or a plain function.

Wrap it around everything else::

    from drainkit_wsgi import DrainMiddleware

    application = DrainMiddleware(application)

`DrainMiddleware` is what a site needs. `Exchange` is what an adapter for a framework needs that
cannot stand outside its application: one request, its body and its response.
"""

from ._exchange import Exchange
from ._middleware import INTERFACE, DrainMiddleware, wrap

__all__ = ["INTERFACE", "DrainMiddleware", "Exchange", "wrap"]
