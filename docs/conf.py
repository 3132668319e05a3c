from importlib.metadata import version as installed_version

project = "drainkit"
author = "The drainkit developers"
copyright = "2026, The drainkit developers"
release = version = installed_version("drainkit")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"drainkit {release}"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# Dataclasses document their fields under "Attributes:"; autodoc lists the same fields once more.
napoleon_use_ivar = True

# A reference that leads nowhere fails the build. Names of other projects are the exception: their
# indexes live on the network, and the documentation must build without one.
nitpicky = True
nitpick_ignore_regex = [
    (
        r"py:.*",
        r"(_typeshed|anyio|asgiref|asyncio|click|collections|django|enum|flask|http|logging|rich"
        r"|socket|starlette|types|wsgiref)\b.*",
    ),
]
