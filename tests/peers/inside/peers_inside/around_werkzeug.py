"""Werkzeug: what its test client calls each application with."""

import functools

import werkzeug.test


def install(outside):
    """Put drainkit where the setting says."""
    run = werkzeug.test.run_wsgi_app

    @functools.wraps(run)
    def outer(app, *arguments, **options):
        return run(outside.wsgi(app), *arguments, **options)

    werkzeug.test.run_wsgi_app = outer
