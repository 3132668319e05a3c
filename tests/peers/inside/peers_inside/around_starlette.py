"""Starlette and FastAPI: the transport of their test client, and the applications themselves."""

import functools

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import _TestClientTransport

from .outside import after_init
from .setting import Place


def install(outside):
    """Put drainkit where the setting says."""
    init = _TestClientTransport.__init__

    @functools.wraps(init)
    def outer(self, app, *arguments, **options):
        init(self, outside.asgi(app), *arguments, **options)

    _TestClientTransport.__init__ = outer
    if outside.setting.place is Place.INIT_APP:
        from drainkit_starlette import init_app

        for owner in _classes():
            after_init(owner, init_app)
    elif outside.setting.place is Place.ADD_MIDDLEWARE:
        _add_last()


def _classes():
    yield Starlette
    try:
        from fastapi import FastAPI
    except ImportError:
        return
    yield FastAPI  # its __init__ does not call Starlette's


def _add_last():
    """Add the middleware when the stack is built, as the last one that was added."""
    from drainkit_starlette import DrainMiddleware

    for owner in _classes():
        if "build_middleware_stack" in vars(owner):
            owner.build_middleware_stack = _added(owner.build_middleware_stack, DrainMiddleware)


def _added(build, middleware):
    @functools.wraps(build)
    def outer(self):
        mine = Middleware(middleware)
        self.user_middleware.insert(0, mine)
        try:
            return build(self)
        finally:
            self.user_middleware.remove(mine)

    return outer
