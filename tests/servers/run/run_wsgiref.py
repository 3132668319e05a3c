"""Serve the application on the standard library's server.

A thread a request, unlike plain ``make_server``: one stuck client would stop the whole test
otherwise.
"""

import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from run_parts import application


class _ThreadedServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    with make_server(
        "127.0.0.1", int(sys.argv[1]), application, _ThreadedServer, _QuietHandler
    ) as server:
        server.serve_forever()
