"""Serve the application on Paste's server, with its ten threads."""

import logging
import sys

from paste.httpserver import serve
from run_parts import application

if __name__ == "__main__":
    logging.getLogger("paste.httpserver").setLevel(logging.CRITICAL)
    serve(application, host="127.0.0.1", port=sys.argv[1])
