import importlib
import os
from importlib.metadata import version as installed_version
from types import FunctionType

project = "drainkit"
author = "The drainkit developers"
copyright = "2026, The drainkit developers"
release = version = installed_version("drainkit")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinxext.opengraph",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"drainkit {release}"
# What is copied is what one types: no prompt, and none of the output below it.
copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True
copybutton_here_doc_delimiter = "END"
copybutton_line_continuation_character = "\\"
# Who hosts the documentation says where; without a place there are no cards for social networks.
ogp_site_url = os.environ.get("READTHEDOCS_CANONICAL_URL", "")
ogp_social_cards = {"enable": bool(ogp_site_url), "line_color": "#2f7fb8"}
ogp_enable_meta_description = True
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# Dataclasses document their fields under "Attributes:"; autodoc lists the same fields once more.
napoleon_use_ivar = True

# Classes live in private modules; the documentation knows them by the names that users import.
PACKAGES = (
    "drainkit",
    "drainkit_wsgi",
    "drainkit_asgi",
    "drainkit_flask",
    "drainkit_django",
    "drainkit_starlette",
    "drainkit_prometheus",
    "drainkit_opentelemetry",
    "drainkit_clients",
    "drainkit_conformance",
    "drainkit_pytest",
    "drainkit_probe",
    "drainkit_cli",
)
for package in map(importlib.import_module, PACKAGES):
    for name in package.__all__:
        thing = getattr(package, name)
        if isinstance(thing, (type, FunctionType)):
            thing.__module__ = package.__name__

# A reference that leads nowhere fails the build. Names of other projects are the exception: their
# indexes live on the network, and the documentation must build without one.
nitpicky = True
nitpick_ignore_regex = [
    # PEP 3333's own types, under short names.
    ("py:class", r"drainkit_wsgi\._types\..*"),
    (
        r"py:.*",
        r"(_typeshed|anyio|asgiref|asyncio|click|collections|datetime|django|enum|flask|http|logging|opentelemetry|os"
        r"|pathlib|prometheus_client|rich"
        r"|socket|ssl|starlette|types|wsgiref)\b.*",
    ),
    (r"py:class", r"Path"),  # of pathlib, as a dataclass's own signature spells it
    (r"py:exc", r"ImproperlyConfigured"),  # Django's, as its users write it
    # type variables: the caller's own class
    (r"py:class", r"drainkit_\w+(\._install)?\.App"),
    (r"py:class", r"drainkit\._configuration\.Application"),
]
