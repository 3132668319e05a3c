"""Serve ``served_wsgi.application`` on mod_wsgi: ``run_mod_wsgi.py PORT daemon|embedded``."""

import os
import pwd
import sys
from pathlib import Path


def _without_root() -> tuple[str, ...]:
    """Return what runs a command as root that thinks it is not: Apache would give up rights.

    Its children could read neither a Python below /root nor the folder of this test.
    """
    if os.getuid() != 0:
        return ()
    user = pwd.getpwnam("www-data")
    return ("unshare", "--user", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}")


if __name__ == "__main__":
    port, mode = sys.argv[1:]
    command = [
        *(*_without_root(), str(Path(sys.executable).with_name("mod_wsgi-express"))),
        *("start-server", "served_wsgi", "--application-type", "module"),
        *("--host", "127.0.0.1", "--port", port, "--server-root", str(Path.cwd() / "apache")),
        *("--log-to-terminal", "--limit-request-body", "0", "--chunked-request"),
        *(("--embedded-mode",) if mode == "embedded" else ()),
    ]
    os.execvp(command[0], command)
