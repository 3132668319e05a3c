"""Serve the application on aiohttp, through aiohttp-wsgi."""

import sys

from aiohttp_wsgi import serve
from run_parts import application

if __name__ == "__main__":
    serve(application, host="127.0.0.1", port=int(sys.argv[1]))
