"""The Django application ``"drainkit_django"``: nothing but its system checks."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks

from ._checks import check_drainkit


class DrainkitConfig(AppConfig):
    """Registers the checks under the tag ``drainkit``."""

    name = "drainkit_django"
    verbose_name = "drainkit"

    def ready(self) -> None:
        """Register the checks."""
        checks.register(check_drainkit, "drainkit")
