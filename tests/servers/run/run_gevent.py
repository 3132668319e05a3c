"""Serve the application on gevent.pywsgi, in a patched process as its guide says.

With ``DRAINKIT_TEST_UNPATCHED=1`` in one that nobody has patched: what blocks then, blocks all.
"""

import os
import sys

from gevent import monkey

if os.environ.get("DRAINKIT_TEST_UNPATCHED") != "1":
    monkey.patch_all()

from gevent.pywsgi import WSGIServer
from run_parts import application

if __name__ == "__main__":
    files = dict(zip(("certfile", "keyfile"), sys.argv[2:], strict=False))
    WSGIServer(("127.0.0.1", int(sys.argv[1])), application, log=None, **files).serve_forever()
