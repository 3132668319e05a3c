"""Serve ``served_wsgi.application`` on bjoern."""

import sys

import bjoern
from served_wsgi import application

if __name__ == "__main__":
    bjoern.run(application, "127.0.0.1", int(sys.argv[1]))
