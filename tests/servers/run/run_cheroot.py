"""Serve the application on cheroot, as ``python -m cheroot`` does; and over TLS."""

import os
import signal
import sys

from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.wsgi import Server
from run_parts import application


def _ended(number: int, frame: object) -> None:
    raise SystemExit


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _ended)
    threads = int(os.environ.get("DRAINKIT_TEST_THREADS", "10"))
    server = Server(("127.0.0.1", int(sys.argv[1])), application, numthreads=threads)
    if files := sys.argv[2:]:
        server.ssl_adapter = BuiltinSSLAdapter(*files)
    server.safe_start()
