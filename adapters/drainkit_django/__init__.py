"""drainkit for Django under WSGI: an entry in ``MIDDLEWARE``, or around ``wsgi.py``.

In the settings::

    MIDDLEWARE = ["drainkit_django.DrainMiddleware", ...]  # first
    INSTALLED_APPS = [..., "drainkit_django"]  # system checks
    DRAINKIT = {"max_seconds": 10.0}  # fields of drainkit.DrainPolicy, and "on_report"

`get_wsgi_application` instead of Django's sees what no entry in ``MIDDLEWARE`` can: what Django
answers outside of it. Both at once drain once.
"""

from drainkit import needs_extra

with needs_extra(__name__, "django"):
    import django as _django  # noqa: F401  # first: without it asgiref is not there either

    from ._middleware import DrainMiddleware
    from ._wsgi import get_wsgi_application

__all__ = ["DrainMiddleware", "get_wsgi_application"]
