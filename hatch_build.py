"""Builds what the package index shows: the links of the project and those of its README.

Rule: the address of the repository stands once, in pyproject.toml, beside the links made of it.
"""

from __future__ import annotations

from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

# What hatch-fancy-pypi-readme writes in front of a path of the repository (see pyproject.toml).
PLACE = "{repository}"


class LinkHook(MetadataHookInterface):
    """Makes ``project.urls``, and completes the README that stands in the metadata."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in the address.

        Args:
            metadata: The table ``project``, after hatch-fancy-pypi-readme.
        """
        repository = self.config["repository"]
        metadata["urls"] = {
            label: f"{repository}{path}" for label, path in self.config["paths"].items()
        }
        readme = metadata["readme"]
        readme["text"] = readme["text"].replace(PLACE, repository)
