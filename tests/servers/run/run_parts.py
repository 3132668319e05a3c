"""The application that a server is to run: ``DRAINKIT_TEST_APP`` names its module."""

import importlib
import os

MODULE = os.environ.get("DRAINKIT_TEST_APP", "served_wsgi")
application = importlib.import_module(MODULE).application
