"""Serve the application on bjoern."""

import sys

import bjoern
from run_parts import application

if __name__ == "__main__":
    bjoern.run(application, "127.0.0.1", int(sys.argv[1]))
