"""Flask: Werkzeug's test client, and each application as it is made."""

from flask import Flask

from . import around_werkzeug
from .outside import after_init
from .setting import Place


def install(outside):
    """Put drainkit where the setting says."""
    around_werkzeug.install(outside)
    if outside.setting.place is Place.INIT_APP:
        from drainkit_flask import init_app

        after_init(Flask, init_app)
