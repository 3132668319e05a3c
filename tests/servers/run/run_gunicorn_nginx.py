"""Serve the application on gunicorn behind nginx, over a Unix socket: gunicorn's own advice.

``run_gunicorn_nginx.py PORT WORKER THREADS``; nginx listens on the port.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])

_NGINX = """
daemon off; master_process off; pid nginx.pid; error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  client_max_body_size 0;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://unix:{socket};
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_set_header Host $http_host;
    }}
  }}
}}
"""


def _main() -> None:
    port, worker, threads = sys.argv[1:]
    nginx = shutil.which("nginx", path=_PATH)
    assert nginx is not None, "no nginx"
    socket, config = Path("gunicorn.sock").resolve(), Path("nginx.conf").resolve()
    config.write_text(_NGINX.format(port=port, socket=socket), encoding="utf-8")
    # In the process group of this program: it ends with it.
    subprocess.Popen([nginx, "-p", str(config.parent), "-e", "stderr", "-c", str(config)])
    module = os.environ.get("DRAINKIT_TEST_APP", "served_wsgi")
    options = ["--bind", f"unix:{socket}", "--log-level", "warning", "--no-control-socket"]
    os.execv(
        sys.executable,
        [
            *(sys.executable, "-m", "gunicorn", *options),
            *("-k", worker, "--threads", threads, f"{module}:application"),
        ],
    )


if __name__ == "__main__":
    _main()
