"""What stands outside of an application: bodies, the count, and drainkit if its place is here."""

import functools
from collections import Counter

from .setting import OUTERMOST, Place, Setting


class Outside:
    """Wraps applications as one `Setting` says.

    Attributes:
        counts: ``requests`` that came to drainkit, and ``drains`` that it began.
    """

    def __init__(self, setting: Setting, counts: Counter[str]) -> None:
        self.setting = setting
        self.counts = counts
        self.drains_here = setting.place in OUTERMOST
        if setting.place is not None:
            self._count_drains()

    def _count_drains(self):
        from drainkit import Drain

        begin = Drain.begin

        @functools.wraps(begin)
        def counted(drain, *arguments, **options):
            self.counts.update(drains=1)
            return begin(drain, *arguments, **options)

        Drain.begin = counted

    def wsgi(self, app):
        """Return a WSGI application with around it what belongs there."""
        nbytes = self.setting.body_bytes
        inside = app
        if self.drains_here:
            from drainkit_wsgi import DrainMiddleware

            inside = DrainMiddleware(app)

        def application(environ, start_response):
            self.counts.update(requests=1)
            if nbytes:
                from .bodies import give_to_wsgi

                give_to_wsgi(environ, nbytes)
            return inside(environ, start_response)

        return application

    def asgi(self, app):
        """Return an ASGI application with around it what belongs there."""
        nbytes = self.setting.body_bytes
        inside = app
        if self.drains_here:
            from drainkit_asgi import DrainMiddleware

            inside = DrainMiddleware(app)

        async def application(scope, receive, send):
            if scope["type"] == "http":
                self.counts.update(requests=1)
                if nbytes:
                    from .bodies import give_to_asgi

                    receive = give_to_asgi(scope, receive, nbytes)
                receive, send = _as_from_a_server(self.setting.place, receive, send)
            await inside(scope, receive, send)

        return application

    def replace_wsgi_call(self, owner):
        """Let every call of a WSGI application of this class pass through here."""
        call, outside = owner.__call__, self

        @functools.wraps(call)
        def outer(self, environ, start_response):
            return outside.wsgi(functools.partial(call, self))(environ, start_response)

        owner.__call__ = outer

    def replace_asgi_call(self, owner):
        """Let every call of an ASGI application of this class pass through here."""
        call, outside = owner.__call__, self

        # Falcon tells its two kinds of application apart by these very names.
        @functools.wraps(call)
        async def outer(self, scope, receive, send):
            await outside.asgi(functools.partial(call, self))(scope, receive, send)

        owner.__call__ = outer


def _as_from_a_server(place, receive, send):
    """Return functions that drainkit takes for those of a server with another order."""
    if place is Place.OUTERMOST_BETWEEN:
        # Only `send`: so drainkit does not step a `receive` of which it knows how it waits.
        async def sent(message):
            await send(message)

        sent.__module__ = "gunicorn.asgi.protocol"
        return receive, sent
    if place is Place.OUTERMOST_BEHIND:

        async def received():
            return await receive()

        received.__module__ = "granian._granian"
        return received, send
    return receive, send


def after_init(owner, change):
    """Call *change* with each new object of this class and of those that inherit from it."""
    init = owner.__init__

    @functools.wraps(init)
    def outer(self, *arguments, **options):
        init(self, *arguments, **options)
        change(self)

    owner.__init__ = outer
