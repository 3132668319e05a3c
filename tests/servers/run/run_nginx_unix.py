"""Serve behind nginx over a Unix socket: ``run_nginx_unix.py PORT PROGRAM ARGUMENTS``.

nginx listens on the port; the program is started in this folder, and listens at ``app.sock`` there.
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
    port, *program = sys.argv[1:]
    nginx = shutil.which("nginx", path=_PATH)
    assert nginx is not None, "no nginx"
    config = Path("nginx.conf").resolve()
    config.write_text(_NGINX.format(port=port, socket=Path("app.sock").resolve()), encoding="utf-8")
    # In the process group of this program: it ends with it.
    subprocess.Popen([nginx, "-p", str(config.parent), "-e", "stderr", "-c", str(config)])
    os.execv(program[0], program)


if __name__ == "__main__":
    _main()
