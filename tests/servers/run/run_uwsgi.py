"""Serve the application on uWSGI: ``run_uwsgi.py PORT http|http-socket|nginx``.

With ``nginx`` it speaks the uwsgi protocol to an nginx that listens on the port.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

_PATH = os.pathsep.join(
    [str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]
)

_NGINX = """
daemon off; master_process off; pid nginx.pid; error_log stderr warn;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  client_max_body_size 0;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      uwsgi_pass unix:{socket};
      uwsgi_request_buffering off;
      uwsgi_param REQUEST_METHOD $request_method;
      uwsgi_param PATH_INFO $document_uri;
      uwsgi_param REQUEST_URI $request_uri;
      uwsgi_param QUERY_STRING $query_string;
      uwsgi_param CONTENT_LENGTH $content_length;
      uwsgi_param CONTENT_TYPE $content_type;
      uwsgi_param SERVER_PROTOCOL $server_protocol;
      uwsgi_param SERVER_NAME $server_name;
      uwsgi_param SERVER_PORT $server_port;
    }}
  }}
}}
"""


def _program(name: str) -> str:
    program = shutil.which(name, path=_PATH)
    assert program is not None, f"no {name}"
    return program


def _start_nginx(port: str, socket: Path) -> None:
    config = Path("nginx.conf").resolve()
    config.write_text(_NGINX.format(port=port, socket=socket), encoding="utf-8")
    # In the process group of this program: it ends with it.
    subprocess.Popen(
        [_program("nginx"), "-p", str(config.parent), "-e", "stderr", "-c", str(config)]
    )


def _main() -> None:
    port, way = sys.argv[1:]
    listening = {
        "http": ("--http", f"127.0.0.1:{port}", "--http-chunked-input", "--http-keepalive"),
        "http-socket": ("--http-socket", f"127.0.0.1:{port}"),
        "nginx": ("--socket", "uwsgi.sock"),
    }
    if way == "nginx":
        _start_nginx(port, Path("uwsgi.sock").resolve())
    program = _program("uwsgi")
    module = os.environ.get("DRAINKIT_TEST_APP", "served_wsgi")
    os.execv(
        program,
        [
            *(program, *listening[way], "--home", sys.prefix, "--module", module),
            # SIGTERM would mean "reload"; without threads no thread of Python's would run.
            *("--need-app", "--die-on-term", "--master", "--threads", "4", "--disable-logging"),
        ],
    )


if __name__ == "__main__":
    _main()
