"""The ASGI application of the conformance kit for real servers: ``application``, bare or wrapped.

See ``served_wsgi`` for the environment variables.
"""

import os
from typing import Any

import served_parts as parts

from drainkit_conformance import asgi_application

bare = asgi_application(ready=parts.READY)


def _application() -> Any:
    if os.environ.get("DRAINKIT_TEST_WRAP") != "1":
        return bare
    from drainkit import DrainPolicy
    from drainkit_asgi import DrainMiddleware
    from drainkit_asgi.servers import _table

    if os.environ.get("DRAINKIT_TEST_UNKNOWN") == "1":
        _table.SERVERS = ()  # as if this server were of tomorrow
    return DrainMiddleware(
        bare, policy=DrainPolicy(**parts.policy_fields()), on_report=parts.keep_report
    )


application = _application()
