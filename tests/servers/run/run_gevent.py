"""Serve ``served_wsgi.application`` on gevent.pywsgi, in a patched process as its guide says."""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402

from gevent.pywsgi import WSGIServer  # noqa: E402
from served_wsgi import application  # noqa: E402

if __name__ == "__main__":
    files = dict(zip(("certfile", "keyfile"), sys.argv[2:], strict=False))
    WSGIServer(("127.0.0.1", int(sys.argv[1])), application, log=None, **files).serve_forever()
