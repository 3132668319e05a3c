"""A small body for each request that has none, as it would come from a connection."""

import io


class Upload:
    """A ``wsgi.input`` as PEP 3333 describes it, and nothing more.

    Not a BytesIO, which drainkit takes for a request that is wholly in memory and leaves alone.
    """

    def __init__(self, content):
        self._content = io.BytesIO(content)
        self.read = self._content.read
        self.readline = self._content.readline
        self.readlines = self._content.readlines

    def __iter__(self):
        return iter(self._content)


def give_to_wsgi(environ, nbytes):
    """Give a request without a body one; one in memory comes as from a connection."""
    stream = environ.get("wsgi.input")
    length = environ.get("CONTENT_LENGTH")
    if not environ.get("HTTP_TRANSFER_ENCODING") and str(length or 0) == "0":
        environ["CONTENT_LENGTH"] = str(nbytes)
        environ["wsgi.input"] = Upload(b"x" * nbytes)
    elif isinstance(stream, io.BytesIO) or type(stream).__module__ == "django.test.client":
        environ["wsgi.input"] = Upload(stream.read())
    # Test clients say that there is one thread, which nothing may hold (no deadline ends a read).
    environ["wsgi.multithread"] = True


def give_to_asgi(scope, receive, nbytes):
    """Give a request without a body one in two messages; return the ``receive`` for it."""
    # Those of WSGI suites have no anyio.
    from anyio.lowlevel import checkpoint

    headers = list(scope.get("headers", ()))
    names = {name.lower(): value for name, value in headers}
    if b"transfer-encoding" in names or names.get(b"content-length", b"0") != b"0":
        scope["headers"] = headers
        return receive
    others = [(name, value) for name, value in headers if name.lower() != b"content-length"]
    scope["headers"] = [*others, (b"content-length", str(nbytes).encode())]
    half = b"x" * (nbytes // 2)
    pieces = [half, b"x" * (nbytes - len(half))]
    is_first = True

    async def given():
        nonlocal is_first
        if is_first:
            is_first = False
            message = await receive()  # the empty one of a request without a body
            if message["type"] != "http.request":
                pieces.clear()
                return message
        elif pieces:
            await checkpoint()  # the second comes a moment later
        if not pieces:
            return await receive()
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    return given
