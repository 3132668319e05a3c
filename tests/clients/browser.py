"""A page in headless Chromium that uploads, and what came of it."""

import html
import json
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LIMIT_SECONDS = 60.0

# --no-sandbox: CI runs as root. The rest keeps Chromium from looking for hosts of its maker.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    # The page is of another origin than the server that it uploads to.
    "--disable-web-security",
)

PAGE = """<!doctype html><title>uploading</title><pre id="seen"></pre><script>
const target = %s, size = %d;
(async () => {
  let seen;
  try {
    const answer = await fetch(target, {method: "POST", body: new Uint8Array(size)});
    seen = {status: answer.status, bytes: (await answer.arrayBuffer()).byteLength};
  } catch (error) { seen = {error: String(error)}; }
  document.getElementById("seen").textContent = JSON.stringify(seen);
})();
</script>"""


def chromium() -> str | None:
    """Return the program, or None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def _page(content: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = content.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def upload_with_fetch(program: str, target: str, size_bytes: int) -> dict[str, Any]:
    """Upload with ``fetch``; return the status and length of the answer, or the error."""
    content = PAGE % (json.dumps(target), size_bytes)
    with (
        _page(content) as url,
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
    ):
        done = subprocess.run(
            [
                *(program, *FLAGS, f"--user-data-dir={profile}"),
                *("--virtual-time-budget=20000", "--dump-dom", url),
            ],
            capture_output=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
    shown = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout.decode(), re.DOTALL)
    assert shown is not None, done.stderr.decode()[-2000:]
    seen: dict[str, Any] = json.loads(html.unescape(shown[1]) or '{"error": "no answer in time"}')
    return seen
