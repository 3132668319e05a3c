"""Serve the application with Django's runserver."""

import sys

from django.conf import settings
from django.core.management import execute_from_command_line

if __name__ == "__main__":
    settings.configure(
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="only for tests",
        WSGI_APPLICATION="run_parts.application",
        LOGGING={"version": 1, "loggers": {"django.server": {"level": "ERROR"}}},
    )
    address = f"127.0.0.1:{sys.argv[1]}"
    execute_from_command_line(["manage.py", "runserver", "--noreload", "--skip-checks", address])
