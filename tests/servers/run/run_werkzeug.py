"""Serve the application on werkzeug's development server, a thread a request."""

import logging
import sys

from run_parts import application
from werkzeug.serving import run_simple

if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    files = tuple(sys.argv[2:4])  # for TLS
    run_simple("127.0.0.1", int(sys.argv[1]), application, threaded=True, ssl_context=files or None)
